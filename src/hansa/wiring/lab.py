"""The demo's world: a region and nodes on hosts of one machine, real in every part."""

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

from hansa.client.client import Client
from hansa.drivers.images.tiny import build_tiny
from hansa.lab.desk import Desk
from hansa.lab.hosts import PUBLIC, UNDERLAY, Host, gone, made
from hansa.region.keeper import Timers
from hansa.wiring import local
from hansa.wiring.node import hypervisor
from hansa.wiring.settings import NodeSettings, RegionSettings, load

PREFIX = "hl-"
REGION = Host("region", f"{UNDERLAY}.1", f"{PUBLIC}.241")
NODES = {
    "node-a": ("a", Host("node-a", f"{UNDERLAY}.11", f"{PUBLIC}.251")),
    "node-b": ("b", Host("node-b", f"{UNDERLAY}.12", f"{PUBLIC}.252")),
    "node-c": ("a", Host("node-c", f"{UNDERLAY}.13", f"{PUBLIC}.253")),
}
RAM_GB = {"node-c": 2}  # The smaller one: so web and db meet on node-a, and one is to leave it.
TIMERS = Timers(heartbeat_s=3, lease_s=15, kill_s=1, wait_s=17)


class Lab:
    """One region of three nodes.  What it makes carries its prefix, and goes with it."""

    def __init__(self, home: Path, tiny: Path) -> None:
        """Choose where its state is, and where images are built."""
        self.home, self._tiny = home, tiny
        self.timers = TIMERS

    def build(self) -> None:
        """Make the hosts."""
        for line in made(PREFIX, [REGION, *(host for _, host in NODES.values())]):
            _run(line)

    def start(self) -> None:
        """Start the region and all nodes: what runs is left alone."""
        reserved = (f"{PUBLIC}.1", *(host.public for host in (REGION, *_hosts())))
        settings = RegionSettings(
            name="demo",
            zones=("a", "b"),
            listen=REGION.underlay,
            public_pool=f"{PUBLIC}.0/24",
            public_reserved=reserved,
            timers=TIMERS,
        )
        netns = f"{PREFIX}region"
        local.up_region(self.home, report=_quiet, settings=settings, netns=netns)
        for name in NODES:
            self.start_node(name)

    def start_node(self, name: str) -> None:
        """Start a node's agent; the first time, it joins by an invitation."""
        zone, host = NODES[name]
        home = self.home / name
        if not (home / "node.yaml").exists():
            line = local.invite(self.home, name, zone)
            wish = NodeSettings(
                name=name,
                region="",
                endpoint="",
                nats="",
                jwt="",
                prefix=f"{PREFIX}{name[-1]}",
                vtep=host.underlay,
                node_address=host.public,
                underlay=f"{UNDERLAY}.0/24",
                vcpus=4,
                ram_gb=RAM_GB.get(name, 4),
            )
            local.join(home, line, node=wish, report=_quiet)
        local.start(home, "node", ["hansa.wiring.node"], _quiet, netns=f"{PREFIX}{name}")

    def client(self) -> Desk:
        """Return a client with the administrator's token."""
        token = (self.home / "keys/admin.token").read_text()
        endpoint = load(self.home / "region.yaml", RegionSettings).endpoint
        client = Client(endpoint, token, ca=str(self.home / "keys/ca.pem"))
        return Desk(client, "main", "demo")

    def image(self) -> dict[str, str | Path]:
        """Build the image: paths of its parts, and what its kernel is told."""
        made_of = build_tiny(self._tiny)
        return {
            "kernel": made_of.kernel,
            "initrd": made_of.initrd,
            "cmdline": made_of.cmdline,
        }

    def kill_control(self) -> None:
        """Kill the region server, NATS and all agents at once."""
        for home, name in ((self.home, "region"), (self.home, "nats"), *self._agents()):
            local.kill(home, name, signal.SIGKILL)

    def kill_node(self, name: str) -> None:
        """Kill a whole node: agent, leash and guests."""
        home = self.home / name
        local.kill(home, "node", signal.SIGKILL)
        for path in Path("/proc").glob("[0-9]*"):
            # All that lives in its namespace: as if the machine had lost its power.
            if _same(path / "ns/net", Path(f"/run/netns/{PREFIX}{name}")):
                with contextlib.suppress(ProcessLookupError):  # It went by itself.
                    os.kill(int(path.name), signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """Return QEMU's pid of every guest."""
        return asyncio.run(self._pids())

    async def _pids(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in NODES:
            there = hypervisor(
                self.home / name, load(self.home / name / "node.yaml", NodeSettings), "tcg"
            )
            found |= {guest.key: guest.pid for guest in await there.found()}
            await there.close()
        return found

    def clear(self) -> None:
        """Take everything away, whatever state it is in."""
        for home, name in ((self.home, "region"), (self.home, "nats"), *self._agents()):
            local.kill(home, name, signal.SIGKILL)
        for name in NODES:
            if (self.home / name / "node.yaml").exists():
                self.kill_node(name)
        names = [line.split()[0] for line in _run("ip netns list").splitlines() if line]
        for line in gone(PREFIX, names):
            _run(line, may_fail=True)

    def _agents(self) -> list[tuple[Path, str]]:
        return [(self.home / name, "node") for name in NODES]


def _hosts() -> list[Host]:
    return [host for _, host in NODES.values()]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_ino == other.stat().st_ino
    except OSError:
        return False


def _quiet(_name: str, _what: str) -> None:
    """Say nothing: the story does."""


def _run(line: str, *, may_fail: bool = False) -> str:
    done = subprocess.run(  # noqa: S603 - commands that lab/hosts.py built
        shlex.split(line), capture_output=True, text=True, check=False
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"{line}: {done.stderr.strip()}")
    return done.stdout
