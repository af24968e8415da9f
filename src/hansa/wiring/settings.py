"""What an operator may set, read once and handed down: region.yaml and node.yaml."""

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from hansa.errors import SettingsError
from hansa.region.keeper import Timers

T = TypeVar("T")


class Sku(msgspec.Struct, frozen=True, kw_only=True):
    """One SKU on offer: `spec` as SECA has it, and its price."""

    spec: dict[str, Any]
    labels: dict[str, str] = {}
    micro_euro_per_hour: int = 0
    default: bool = False


def _compute() -> dict[str, Sku]:
    sizes = {"D2XS": (1, 1, 4200), "DXS": (2, 4, 12100), "DS": (4, 8, 24000)}
    return {
        name: Sku(
            spec={"vCPU": vcpus, "ram": ram_gb},
            labels={"Tier": name},
            micro_euro_per_hour=price,
            default=name == "D2XS",
        )
        for name, (vcpus, ram_gb, price) in sizes.items()
    }


def _storage() -> dict[str, Sku]:
    kinds = {"LD1K": 1000, "RD100": 100, "RD500": 500}
    return {
        name: Sku(
            spec={"iops": iops, "minVolumeSize": 1, "type": "local-durable"},
            default=name == "LD1K",
        )
        for name, iops in kinds.items()
    }


def _network() -> dict[str, Sku]:
    kinds = {"N1K": (1000, 10_000), "N5K": (5000, 40_000), "N10K": (10_000, 80_000)}
    return {
        name: Sku(spec={"bandwidth": mbit, "packets": packets}, default=name == "N1K")
        for name, (mbit, packets) in kinds.items()
    }


class Skus(msgspec.Struct, frozen=True, kw_only=True):
    """The three catalogues."""

    compute: dict[str, Sku] = msgspec.field(default_factory=_compute)
    storage: dict[str, Sku] = msgspec.field(default_factory=_storage)
    network: dict[str, Sku] = msgspec.field(default_factory=_network)


class RegionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One region: written with these defaults at the first start."""

    name: str = "local"
    zones: tuple[str, ...] = ("a",)
    tenants: tuple[str, ...] = ("main",)
    administrators: tuple[str, ...] = ("admin",)
    listen: str = "127.0.0.1"
    port: int = 7443
    nats_port: int = 7422
    nats_url: str = ""  # Of a server of one's own; "" starts one.
    public_pool: str = "198.18.0.0/24"
    public_reserved: tuple[str, ...] = ("198.18.0.1", "198.18.0.254")
    timers: Timers = Timers()
    skus: Skus = Skus()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it, so that no TLS is needed."""
        return self.listen.startswith("127.")

    @property
    def endpoint(self) -> str:
        """Where it is found."""
        return f"{'http' if self.is_loopback else 'https'}://{self.listen}:{self.port}"


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One node: how it speaks to its region, and what it gives."""

    name: str
    region: str
    endpoint: str
    nats: str
    jwt: str
    ca: str = ""  # A file.
    netns: str = ""  # Of its guests; "" is that of the agent.
    prefix: str = ""  # Of the namespaces of its networks; "": its name.
    uplink: str = "eth0"
    vtep: str = "198.51.100.1"
    node_address: str = "198.18.0.254"
    underlay: str = "198.51.100.0/24"
    vcpus: int = 0  # 0: four for each processor.
    ram_gb: int = 0  # 0: what the machine has, less two.
    accel: str = ""  # "": kvm where a smoke test passes, else tcg.


def default_home() -> Path:
    """Return where state lives: HANSA_HOME, else /var/lib/hansa for root, else XDG's data home."""
    if said := os.environ.get("HANSA_HOME"):
        return Path(said)
    if os.geteuid() == 0:
        return Path("/var/lib/hansa")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "hansa"


def load(path: Path, of: type[T]) -> T:
    """Return the settings in a file.  Raises SettingsError that names file and field."""
    try:
        said = yaml.safe_load(path.read_text())
        return msgspec.convert(said or {}, of)
    except FileNotFoundError:
        raise SettingsError(f"{path} is not there") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error


def store(path: Path, settings: object, *, secret: bool = False) -> None:
    """Write settings."""
    text = yaml.safe_dump(msgspec.to_builtins(settings), sort_keys=False, allow_unicode=True)
    write(path, text.encode(), secret=secret)


def write(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Write a file whole or not at all; a secret one is its owner's alone from the start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
