"""The region and the node of this machine: what the command line asks of the wiring."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from hansa.cli.failure import CliError

if TYPE_CHECKING:
    from hansa.wiring.settings import NodeSettings

Report = Callable[[str, str], None]


class Process(NamedTuple):
    """One process that `up` starts."""

    name: str
    pid: int
    log: str


class Tiny(NamedTuple):
    """The parts of the image `tiny`, and what it says of itself."""

    kernel: Path
    initrd: Path
    cmdline: str
    machine: str


class Up(NamedTuple):
    """What is up."""

    endpoint: str
    region: str
    token_file: str
    ca_file: str
    has_changed: bool


def home() -> Path:
    """Return where this machine's region and node keep their state."""
    from hansa.wiring.settings import default_home  # noqa: PLC0415 - slow

    return default_home()


def up(*, listen: str, zone: str, name: str, report: Report) -> Up:
    """Start what is not running; settings are used where there are none yet."""
    from hansa.wiring import local, settings  # noqa: PLC0415 - slow

    region = settings.RegionSettings(name=name, zones=(zone,))
    if listen:
        region = replace(region, listen=listen)
    done = local.up(home(), report=report, settings=region, node=_node("node-a"))
    return Up(done.endpoint, done.region, done.token_file, done.ca_file, done.changed)


def down(*, report: Report) -> None:
    """Stop guests, node and region."""
    from hansa.wiring import local  # noqa: PLC0415 - slow

    local.down(home(), report=report)


def join(invitation: str, *, address: str, report: Report) -> None:
    """Make this machine a node, and start it."""
    from hansa.wiring import local  # noqa: PLC0415 - slow

    own = home() / "node"
    local.join(own, invitation, node=_node("", address), report=report)
    local.start(own, "node", ["hansa.wiring.node"], report)


def build_tiny(report: Report) -> Tiny:
    """Build the image `tiny`, or find it built."""
    from hansa.wiring import images  # noqa: PLC0415 - slow

    made = images.build_tiny(home(), report)
    paths = Path(made["kernel"]), Path(made["initrd"])
    return Tiny(*paths, str(made["cmdline"]), str(made["machine"]))


def processes() -> list[Process]:
    """Return those of this machine that are to run; pid 0 is one that does not."""
    from hansa.wiring import local  # noqa: PLC0415 - slow

    base = home()
    found = []
    for folder, name in ((base, "nats"), (base, "region"), (base / "node", "node")):
        if (folder / f"{name}.pid").exists():
            pid = local.running(folder, name)
            found.append(Process(name, pid, str(folder / f"{name}.log")))
    return found


def console_path(key: str) -> Path:
    """Return the socket of a guest's serial port on this machine."""
    from hansa.model.envelope import Key  # noqa: PLC0415 - slow
    from hansa.wiring import local  # noqa: PLC0415 - slow

    path = Path(local.console_path(home() / "node", Key(key)))
    if not path.exists():
        why = "consoles are reached on the node that runs the guest"
        said = f"{key} does not run on this machine"
        raise CliError("not-found", said, where=str(path), why=why, fix="hansa logs prints its log")
    return path


def _node(name: str, address: str = "") -> "NodeSettings":
    from hansa.wiring.settings import NodeSettings  # noqa: PLC0415 - slow

    said = NodeSettings(name=name, region="", endpoint="", nats="", jwt="")
    return replace(said, vtep=address) if address else said


def run_region() -> None:
    """Run the region of this home until it is told to stop."""
    from hansa.wiring.region import run_region as run  # noqa: PLC0415 - slow

    run(home())


def run_node() -> None:
    """Run the agent of this home until it is told to stop."""
    from hansa.wiring.node import run_node as run  # noqa: PLC0415 - slow

    run(home())


def purge() -> None:
    """Delete all that region and node of this home keep; nothing may run."""
    import shutil  # noqa: PLC0415 - seldom needed

    if any(process.pid for process in processes()):
        raise CliError("busy", "something still runs", fix="hansa down, then again")
    base = home()
    if not (base / "region.yaml").exists() and not (base / "node").exists():
        raise CliError("not-found", f"{base} is no home of a region", fix="look at HANSA_HOME")
    shutil.rmtree(base)
