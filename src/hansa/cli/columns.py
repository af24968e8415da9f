"""Which columns a noun has, and what stands in them.  Pure: what it refers to comes in as facts."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from hansa.cli.table import Head
from hansa.cli.units import age, measured

Document = dict[str, Any]
Lookup = Callable[[str], Sequence[Document]]


class Facts(NamedTuple):
    """What else is there: all nouns of a kind where the shown ones live, and the time."""

    lookup: Lookup
    now: datetime

    def named(self, kind: str, reference: object) -> Document:
        """Return what a reference means, by its name; {} if it is not there."""
        name = last(reference)
        found = (each for each in self.lookup(kind) if each["metadata"]["name"] == name)
        return next(found, {}) if name else {}


Cell = Callable[[Document, Facts], object]


class Column(NamedTuple):
    """One column."""

    head: Head
    of: Cell


def last(reference: object) -> str:
    """Return the name at the end of a reference, or ""."""
    said = reference.get("resource", "") if isinstance(reference, dict) else ""
    return str(said).rpartition("/")[2]


def at(document: Document, path: str) -> Any:  # noqa: ANN401 - a value of JSON
    """Return a member by its path with dots, None if it is absent."""
    value: Any = document
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _of(name: str, path: str, rank: int = 5, *, is_right: bool = False) -> Column:
    return Column(Head(name, rank, is_right), lambda document, _: at(document, path))


def _ref(name: str, path: str, rank: int = 5) -> Column:
    return Column(Head(name, rank), lambda document, _: last(at(document, path)))


def _made(name: str, of: Cell, rank: int = 5) -> Column:
    return Column(Head(name, rank), of)


def _gb(name: str, path: str) -> Column:
    return Column(Head(name), lambda document, _: f"{at(document, path)} GB")


def _nic_of(document: Document, facts: Facts) -> Document:
    return facts.named("nic", at(document, "spec.primaryNicRef"))


def _address_of(document: Document, _: Facts) -> str:
    return ", ".join(at(document, "status.addresses") or ())


def _public_of(nic: Document, facts: Facts) -> str:
    found = [facts.named("public-ip", each) for each in at(nic, "spec.publicIpRefs") or ()]
    return ", ".join(str(at(each, "status.ipAddress") or "") for each in found if each)


def _image_of(document: Document, facts: Facts) -> str:
    disk = facts.named("block-storage", at(document, "spec.bootVolume.deviceRef"))
    return last(at(disk, "spec.sourceImageRef"))


def _attached(document: Document, facts: Facts) -> str:
    name, found = document["metadata"]["name"], []
    for instance in facts.lookup("instance"):
        spec = instance["spec"]
        volumes = (spec.get("bootVolume") or {}, *(spec.get("dataVolumes") or ()))
        if name in [last(volume.get("deviceRef")) for volume in volumes]:
            found.append(instance["metadata"]["name"])
    return ", ".join(found)


def _user_of_nic(document: Document, facts: Facts) -> str:
    name, found = document["metadata"]["name"], []
    for instance in facts.lookup("instance"):
        spec = instance["spec"]
        nics = (spec.get("primaryNicRef"), *(spec.get("additionalNicRefs") or ()))
        if name in [last(nic) for nic in nics]:
            found.append(instance["metadata"]["name"])
    return ", ".join(found)


def _nic_with(document: Document, facts: Facts) -> Document:
    name = document["metadata"]["name"]
    for nic in facts.lookup("nic"):
        if name in [last(each) for each in at(nic, "spec.publicIpRefs") or ()]:
            return nic
    return {}


def _instance_with(document: Document, facts: Facts) -> str:
    nic = _nic_with(document, facts)
    return _user_of_nic(nic, facts) if nic else ""


def _node_with(document: Document, facts: Facts) -> str:
    name = _instance_with(document, facts)
    return at(facts.named("instance", {"resource": name}), "status.node") or ""


def _subnet_path(document: Document, _: Facts) -> str:
    said = str((at(document, "spec.subnetRef") or {}).get("resource", "")).split("/")
    return "/".join(said[-3::2]) if "subnets" in said[-2:] else said[-1]


def _nics_in(document: Document, facts: Facts) -> int:
    name = document["metadata"]["name"]
    return sum(_subnet_path(nic, facts).startswith(f"{name}/") for nic in facts.lookup("nic"))


def _nics_on(document: Document, facts: Facts) -> int:
    subnet = f"{at(document, 'metadata.network')}/{document['metadata']['name']}"
    return sum(_subnet_path(nic, facts) == subnet for nic in facts.lookup("nic"))


def _free(document: Document, facts: Facts) -> str:
    """Return how many addresses a subnet still has; the first and the last are nobody's."""
    length = str(at(document, "spec.cidr.ipv4") or "").partition("/")[2]
    if not length.isdigit():
        return "-"
    return str((1 << (32 - int(length))) - 2 - _nics_on(document, facts))


def _size_of_image(document: Document, _: Facts) -> str:
    blobs = at(document, "status.content") or {}
    return measured(sum(blob.get("sizeBytes", 0) for blob in blobs.values()))


def _digest(document: Document, _: Facts) -> str:
    blobs = at(document, "status.content") or {}
    blob = blobs.get("disk") or blobs.get("kernel") or {}
    return f"{blob['digest'][:12]}…" if blob else "-"


def _price(document: Document, _: Facts) -> str:
    said = (document.get("extensions") or {}).get("hansa.eu/micro-euro-per-hour", "")
    return f"{int(said) / 1_000_000:.4f}" if said.isdigit() else "-"


def _age(document: Document, facts: Facts) -> str:
    return age(at(document, "metadata.createdAt"), facts.now)


_NAME, _STATE = _of("NAME", "metadata.name", 9), _of("STATE", "status.state", 8)
_AGE = _made("AGE", _age, 3)
_SUBNET_NAME = _made(
    "NAME", lambda d, _: f"{d['metadata'].get('network')}/{d['metadata']['name']}", 9
)
_SKU: Final = (
    _NAME,
    _of("KIND", "metadata.kind", 7),
    _of("VCPU", "spec.vCPU", is_right=True),
    _of("RAM", "spec.ram", is_right=True),
    _of("IOPS", "spec.iops", is_right=True),
    _of("MBIT", "spec.bandwidth", is_right=True),
    _made("EUR/H", _price),
)
_ADDRESS = _made("ADDRESS", lambda d, f: _address_of(_nic_of(d, f), f), 6)

DEFAULT: Final[dict[str, tuple[Column, ...]]] = {
    "instance": (
        _NAME, _STATE, _of("POWER", "status.powerState", 8), _of("ZONE", "spec.zone", 4),
        _of("NODE", "status.node", 6), _ref("SKU", "spec.skuRef", 2), _ADDRESS,
        _made("PUBLIC", lambda d, f: _public_of(_nic_of(d, f), f), 7), _AGE,
    ),
    "node": (
        _NAME, _of("HEALTH", "status.verdict", 8), _of("ZONE", "spec.zone"),
        _of("VCPU", "status.vcpus", is_right=True), _gb("MEM", "status.ramGB"),
        _gb("DISK", "status.diskGB"), _of("ACCEL", "status.accel"),
        _of("VERSION", "status.agent", 2), _AGE,
    ),
    "invitation": (_NAME, _STATE, _of("ZONE", "spec.zone"), _AGE),
    "block-storage": (
        _NAME, _STATE, _gb("SIZE", "spec.sizeGB"), _ref("SKU", "spec.skuRef"),
        _ref("IMAGE", "spec.sourceImageRef"), _made("ATTACHED", _attached), _AGE,
    ),
    "image": (
        _NAME, _STATE, _made("SIZE", _size_of_image), _of("ARCH", "spec.cpuArchitecture"),
        _of("BOOT", "spec.boot"), _made("DIGEST", _digest), _AGE,
    ),
    "network": (
        _NAME, _STATE, _of("CIDR", "spec.cidr.ipv4"), _made("NICS", _nics_in), _AGE,
    ),
    "subnet": (
        _SUBNET_NAME, _STATE, _of("CIDR", "spec.cidr.ipv4"), _of("ZONE", "spec.zone"),
        _made("FREE", _free), _AGE,
    ),
    "nic": (
        _NAME, _STATE, _made("ADDRESS", _address_of), _made("SUBNET", _subnet_path),
        _made("PUBLIC", _public_of), _made("INSTANCE", _user_of_nic), _AGE,
    ),
    "public-ip": (
        _NAME, _STATE, _of("ADDRESS", "status.ipAddress"), _made("INSTANCE", _instance_with),
        _made("NODE", _node_with), _AGE,
    ),
    "region": (
        _NAME, _made("ZONES", lambda d, _: " ".join(at(d, "spec.availableZones") or ())),
        _made("PROVIDERS", lambda d, _: str(len(at(d, "spec.providers") or ()))),
        _made("ENDPOINT", lambda d, _: _base_url(d)),
    ),
    "workspace": (_NAME, _STATE, _AGE),
    "instance-sku": _SKU,
    "storage-sku": _SKU,
    "network-sku": _SKU,
}  # fmt: skip
"""Of each noun of the registry."""

MORE: Final[dict[str, tuple[Column, ...]]] = {
    "instance": (
        _made("IMAGE", _image_of),
        _made("EPOCH", lambda d, _: ".".join(map(str, at(d, "status.epoch") or ()))),
        _of("GROUP", "spec.antiAffinityGroup"),
        _of("PARTITION", "status.onPartition"),
        _of("CRASHES", "status.crashes"),
        _of("CODE", "status.code"),
    ),
    "nic": (_of("MAC", "status.macAddress"),),
    "block-storage": (_of("NODE", "status.node"), _of("CODE", "status.code")),
}


def cell(column: Column, document: Document, facts: Facts) -> str:
    """Return what stands in a column; absent is a dash."""
    value = column.of(document, facts)
    return "-" if value is None or value == "" else str(value)


def _base_url(document: Document) -> str:
    urls = [each.get("url", "") for each in at(document, "spec.providers") or ()]
    return str(urls[0]).partition("/providers")[0] if urls else ""
