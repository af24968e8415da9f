"""What the networks of every node do: the fake and the kernel's, in namespaces of this run."""

import asyncio
import fcntl
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace

from hansa import ports
from hansa.drivers.fake.networks import FakeNetworks
from hansa.drivers.net import ns
from hansa.drivers.net.build import Host
from hansa.drivers.net.driver import NetSettings, RoutedNetworks
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.ports import LocalNic, NodeNetwork, RemoteNic

DEADLINE_S = 60.0
SIOCGSKNS = 0x894C  # Opens the namespace that a tap's fd is of.
PRIVATE, NEIGHBOUR, FAR = "10.0.1.5", "10.0.2.5", "10.0.1.6"
PUBLICS = ("192.0.2.103", "192.0.2.101", "192.0.2.102")  # After the first in order.
NIC = LocalNic(tap="ta0", mac="52:54:00:00:00:05", address=PRIVATE, publics=PUBLICS)
NEXT = LocalNic(tap="ta1", mac="52:54:00:00:00:06", address=NEIGHBOUR)
NET = NodeNetwork(
    key=Key("t/w/a"),
    vni=7,
    cidrs=("10.0.0.0/16",),
    local=(NIC, NEXT),
    remote=(RemoteNic(address=FAR, vtep="198.51.100.12"),),
)
OTHER = replace(
    NET, key=Key("u/w/b"), vni=8, local=(replace(NIC, tap="tb0", publics=()),), remote=()
)
_runs = count()


class Networks(ports.Networks, Protocol):
    async def remove(self) -> None: ...


class Node:
    """A node's namespace, whose uplink leads nowhere, and what it says when asked."""

    def __init__(self) -> None:
        self.name = f"ct{os.getpid()}-{next(_runs)}"
        host = Host(
            prefix=f"{self.name}-",
            uplink="eth0",
            vtep="198.51.100.11",
            node_address="192.0.2.11",
            underlay="198.51.100.0/24",
        )
        self.settings = NetSettings(host=host, netns=self.name)

    def ask(self, *argv: str, vni: int = 0) -> str:
        netns = f"{self.name}-{vni}" if vni else self.name
        enter = ["nsenter", f"--net=/run/netns/{netns}"]
        done = subprocess.run([*enter, *argv], check=True, capture_output=True, text=True)
        return done.stdout

    def inode(self) -> int:
        return Path("/run/netns", self.name).stat().st_ino

    def networks(self) -> RoutedNetworks:
        return RoutedNetworks(self.settings)


def shell(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def standing() -> Iterator[Node]:
    node = Node()
    shell("ip", "netns", "add", node.name)
    try:
        node.ask("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wall")
        node.ask("ip", "addr", "add", "198.51.100.11/24", "dev", "eth0")
        node.ask("ip", "link", "set", "wall", "up")
        node.ask("ip", "link", "set", "eth0", "up")
        yield node
    finally:
        asyncio.run(node.networks().remove())
        shell("ip", "netns", "del", node.name)
        assert node.name not in shell("ip", "netns")


@pytest.fixture
def node() -> Iterator[Node]:
    with standing() as made:
        yield made


@pytest.fixture(params=["fake", "kernel"])
def networks(request: pytest.FixtureRequest) -> Iterator[Networks]:
    if request.param == "fake":
        yield FakeNetworks()
        return
    with standing() as made:
        yield made.networks()


Story = Callable[[list[int]], Awaitable[None]]


def run(story: Story) -> None:
    """Tell a story that keeps the taps it opens in a list."""
    fds: list[int] = []

    async def told() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await story(fds)

    try:
        asyncio.run(told())
    finally:
        for fd in fds:
            os.close(fd)


async def up(networks: Networks, wished: Sequence[NodeNetwork], fds: list[int]) -> None:
    """Apply, and open all taps."""
    await networks.apply(wished)
    for network in wished:
        fds += [await networks.open_tap(network.key, nic.tap) for nic in network.local]


def test_at_first_there_are_none(networks: Networks) -> None:
    async def story(_: list[int]) -> None:
        assert await networks.audit() == {}
        await networks.apply([])
        assert await networks.audit() == {}

    run(story)


def test_what_was_asked_for_is_there_once_the_taps_are(networks: Networks) -> None:
    async def story(fds: list[int]) -> None:
        await networks.apply([NET, OTHER])
        bare = {each.key: replace(each, local=()) for each in (NET, OTHER)}
        assert bare == await networks.audit()
        fds.append(await networks.open_tap(NET.key, NIC.tap))
        with_one = bare | {NET.key: replace(NET, local=(NIC,))}
        assert with_one == await networks.audit()
        fds.append(await networks.open_tap(NET.key, NEXT.tap))
        fds.append(await networks.open_tap(OTHER.key, "tb0"))
        all_of_it = {NET.key: NET, OTHER.key: OTHER}
        assert all_of_it == await networks.audit()
        await networks.apply([NET, OTHER])
        assert all_of_it == await networks.audit()

    run(story)


NIC_ONE = replace(NIC, publics=PUBLICS[:1])
BASE = replace(NET, local=(NIC_ONE, NEXT))


@pytest.mark.parametrize(
    "after",
    [
        replace(BASE, local=(NIC_ONE,)),
        replace(BASE, local=()),
        replace(BASE, remote=()),
        replace(BASE, local=(), remote=()),
        replace(BASE, local=(replace(NIC_ONE, publics=()), NEXT)),
        replace(BASE, local=(replace(NIC_ONE, publics=("192.0.2.109",)), NEXT)),
        replace(BASE, local=(replace(NIC_ONE, publics=("192.0.2.109", *PUBLICS[:1])), NEXT)),
        replace(BASE, local=(replace(NIC_ONE, publics=()), replace(NEXT, publics=PUBLICS[:1]))),
        replace(BASE, local=(replace(NIC_ONE, address="10.0.3.3"), NEXT)),
        replace(BASE, local=(replace(NIC_ONE, mac="52:54:00:00:00:99"), NEXT)),
        replace(
            BASE,
            local=(replace(NIC_ONE, address=NEIGHBOUR), replace(NEXT, address=PRIVATE)),
        ),
        replace(BASE, remote=(RemoteNic(address=FAR, vtep="198.51.100.13"),)),
        replace(BASE, remote=(*BASE.remote, RemoteNic(address="10.0.1.9", vtep="198.51.100.12"))),
        replace(
            BASE, local=(NIC_ONE,), remote=(RemoteNic(address=NEIGHBOUR, vtep="198.51.100.12"),)
        ),
        replace(BASE, cidrs=("10.0.0.0/17",)),
        replace(BASE, cidrs=("10.0.0.0/16", "10.1.0.0/16", "10.1.2.0/24", "172.16.0.1/32")),
    ],
    ids=[
        "a NIC less",
        "no NIC",
        "no remote NIC",
        "none at all",
        "no public address",
        "another public address",
        "one before the other",
        "a public address moved",
        "another address",
        "another MAC",
        "addresses swapped",
        "a remote NIC moved",
        "a remote NIC more",
        "a NIC moved away",
        "a smaller block",
        "more blocks",
    ],
)
def test_a_change_takes_effect_and_can_be_taken_back(
    networks: Networks, after: NodeNetwork
) -> None:
    async def story(fds: list[int]) -> None:
        await up(networks, [BASE], fds)
        is_less = len(after.local) < len(BASE.local)  # Then its guest is to end.
        for wish in (after,) if is_less else (after, BASE, after):
            await networks.apply([wish])
            there = (await networks.audit())[BASE.key]
            by_address = sorted(wish.local, key=lambda nic: nic.address)
            assert by_address == sorted(there.local, key=lambda nic: nic.address)
            assert replace(wish, local=()) == replace(there, local=())

    run(story)


def test_a_public_address_moves_to_another_network(networks: Networks) -> None:
    async def story(fds: list[int]) -> None:
        await up(networks, [BASE, OTHER], fds)
        lost = replace(BASE, local=(replace(NIC, publics=()), NEXT))
        won = replace(OTHER, local=(replace(OTHER.local[0], publics=PUBLICS[:1]),))
        for wished in ([lost, won], [BASE, OTHER], [won, lost]):
            await networks.apply(wished)
            assert {each.key: each for each in wished} == await networks.audit()

    run(story)


def test_a_tap_of_what_was_not_applied_is_refused(networks: Networks) -> None:
    async def story(_: list[int]) -> None:
        await networks.apply([NET])
        for key, tap in ((NET.key, "tz"), (OTHER.key, "tb0")):
            with pytest.raises(DriverError) as refused:
                await networks.open_tap(key, tap)
            assert refused.value.code == "network-failed"

    run(story)


def test_a_tap_is_passed_on_only_on_purpose(networks: Networks) -> None:
    async def story(fds: list[int]) -> None:
        await up(networks, [NET], fds)
        assert all(not os.get_inheritable(fd) for fd in fds)

    run(story)


def test_what_is_not_named_is_gone_and_its_number_is_free(networks: Networks) -> None:
    async def story(_: list[int]) -> None:
        for key in ("t/w/first", "t/w/second", "t/w/first"):
            named = replace(NET, key=Key(key), local=())
            await networks.apply([named])
            assert {named.key: named} == await networks.audit()
        await networks.apply([])
        assert await networks.audit() == {}

    run(story)


def test_all_is_removed(networks: Networks) -> None:
    async def story(fds: list[int]) -> None:
        await up(networks, [NET, OTHER], fds)
        await networks.remove()
        assert await networks.audit() == {}
        await networks.remove()

    run(story)


# What only a kernel does.


def test_a_new_agent_needs_no_memory(node: Node) -> None:
    async def story(fds: list[int]) -> None:
        long = replace(BASE, key=Key("/".join("abc"[i] * n for i, n in enumerate((64, 64, 128)))))
        await up(node.networks(), [long], fds)
        assert {long.key: long} == await node.networks().audit()

    run(story)


def test_at_rest_the_kernel_is_only_asked(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Sequence[str]] = []
    real = ns.run

    def recorded(name: str, argv: Sequence[str], text: str) -> bytes:
        calls.append(argv)
        return real(name, argv, text)

    async def story(fds: list[int]) -> None:
        await up(node.networks(), [NET, OTHER], fds)
        monkeypatch.setattr(ns, "run", recorded)
        await node.networks().apply([NET, OTHER])
        assert calls
        assert [argv for argv in calls if argv not in ns.ASKING.values()] == []

    run(story)


@pytest.mark.parametrize(
    "argv",
    [
        ("ip", "route", "del", f"{PRIVATE}/32"),
        ("ip", "route", "del", f"{FAR}/32"),
        ("ip", "route", "del", "unreachable", "10.0.0.0/16"),
        ("ip", "route", "replace", f"{PRIVATE}/32", "dev", "ta1"),
        ("ip", "neigh", "del", PRIVATE, "dev", "ta0"),
        ("ip", "neigh", "del", "198.51.100.12", "dev", "vx"),
        ("ip", "link", "set", "ta0", "down"),
        ("ip", "link", "set", "ta0", "address", "02:00:00:00:00:02"),
        ("bridge", "fdb", "del", "02:01:c6:33:64:0c", "dev", "vx", "dst", "198.51.100.12"),
        ("nft", "flush", "set", "inet", "net", "nic4"),
        ("nft", "flush", "set", "arp", "net", "nic"),
        ("nft", "flush", "set", "inet", "net", "inside"),
        ("nft", "flush", "map", "inet", "net", "outof"),
        ("nft", "flush", "map", "inet", "net", "into"),
        ("nft", "flush", "map", "inet", "net", "pub2priv"),
        ("nft", "flush", "ruleset"),
    ],
    ids=" ".join,
)
def test_what_is_lost_is_seen_and_made_good(node: Node, argv: tuple[str, ...]) -> None:
    async def story(fds: list[int]) -> None:
        networks = node.networks()
        await up(networks, [BASE], fds)
        node.ask(*argv, vni=BASE.vni)
        assert {BASE.key: BASE} != await networks.audit()
        await networks.apply([BASE])
        assert {BASE.key: BASE} == await networks.audit()

    run(story)


@pytest.mark.parametrize(
    "argv",
    [
        ("ip", "route", "del", f"{PUBLICS[0]}/32"),
        ("ip", "neigh", "del", "proxy", PUBLICS[0], "dev", "eth0"),
        ("nft", "flush", "set", "inet", "up", "public"),
        ("nft", "flush", "ruleset"),
    ],
    ids=" ".join,
)
def test_a_public_address_that_is_lost_is_answered_for_again(
    node: Node, argv: tuple[str, ...]
) -> None:
    async def story(fds: list[int]) -> None:
        networks = node.networks()
        await up(networks, [BASE], fds)
        node.ask(*argv)
        unanswered = replace(BASE, local=(replace(NIC, publics=()), NEXT))
        assert {BASE.key: unanswered} == await networks.audit()
        await networks.apply([BASE])
        assert {BASE.key: BASE} == await networks.audit()

    run(story)


def test_a_public_address_that_is_withdrawn_leaves_no_route_and_no_proxy(node: Node) -> None:
    async def story(fds: list[int]) -> None:
        networks = node.networks()
        await up(networks, [NET], fds)
        asked = (("ip", "route"), ("ip", "neigh", "show", "proxy"))
        assert all(each in node.ask(*argv) for argv in asked for each in PUBLICS)
        await networks.apply([replace(NET, local=(replace(NIC, publics=()), NEXT))])
        assert not any(each in node.ask(*argv) for argv in asked for each in PUBLICS)

    run(story)


def test_a_network_that_was_half_made_is_made_anew(node: Node) -> None:
    async def story(_: list[int]) -> None:
        networks, bare = node.networks(), replace(NET, local=())
        await networks.apply([bare])
        node.ask("ip", "link", "set", "dev", "vx", "alias", "", vni=NET.vni)
        assert await networks.audit() == {}
        await networks.apply([bare])
        assert {NET.key: bare} == await networks.audit()
        shell("ip", "netns", "del", f"{node.name}-{NET.vni}")
        await networks.apply([bare])
        assert {NET.key: bare} == await networks.audit()

    run(story)


def test_a_network_with_a_tap_in_it_loses_its_rules_at_once_and_goes_with_the_tap(
    node: Node,
) -> None:
    async def story(fds: list[int]) -> None:
        networks = node.networks()
        await up(networks, [BASE], fds)
        await networks.apply([])
        empty = NodeNetwork(key=NET.key, vni=NET.vni, cidrs=())
        assert {NET.key: empty} == await networks.audit()
        successor = replace(NET, key=Key("v/w/c"), local=())
        with pytest.raises(DriverError) as busy:
            await networks.apply([OTHER, successor])
        assert busy.value.code == "network-busy"
        assert {NET.key, OTHER.key} == (await networks.audit()).keys()
        while fds:
            os.close(fds.pop())
        await networks.apply([successor])
        assert {successor.key: successor} == await networks.audit()

    run(story)


def test_a_guest_keeps_its_tap_when_its_network_is_taken_away_and_wished_again(
    node: Node,
) -> None:
    async def story(fds: list[int]) -> None:
        networks = node.networks()
        await up(networks, [BASE], fds)
        await networks.apply([])
        await networks.apply([BASE])
        assert {BASE.key: BASE} == await networks.audit()

    run(story)


def test_networks_of_equal_slots_do_not_meet(node: Node) -> None:
    async def story(fds: list[int]) -> None:
        far = replace(OTHER, vni=NET.vni + 16384)
        await up(node.networks(), [BASE, far], fds)
        assert {BASE.key: BASE, far.key: far} == await node.networks().audit()
        await node.networks().apply([far])
        assert far == (await node.networks().audit())[far.key]

    run(story)


def test_a_network_that_fails_says_why_and_holds_up_no_other(node: Node) -> None:
    async def story(_: list[int]) -> None:
        squatter = ("vni", "type", "vxlan", "id", str(NET.vni), "dstport", "4789")
        node.ask("ip", "link", "add", *squatter, "local", "198.51.100.11")
        networks, other = node.networks(), replace(OTHER, local=())
        with pytest.raises(DriverError) as refused:
            await networks.apply([replace(NET, local=()), other])
        assert refused.value.code == "network-failed"
        assert "exists" in str(refused.value)
        assert {other.key: other} == await networks.audit()
        node.ask("ip", "link", "del", "vni")
        await networks.apply([replace(NET, local=()), other])
        assert {NET.key, OTHER.key} == (await networks.audit()).keys()

    run(story)


def test_a_taps_fd_pins_the_nodes_namespace_and_no_networks(node: Node) -> None:
    async def story(fds: list[int]) -> None:
        await up(node.networks(), [NET], fds)
        for fd in fds:
            pinned = fcntl.ioctl(fd, SIOCGSKNS)
            try:
                assert node.inode() == os.fstat(pinned).st_ino
            finally:
                os.close(pinned)
        await node.networks().remove()
        bare = replace(NET, local=())
        await node.networks().apply([bare])
        assert {NET.key: bare} == await node.networks().audit()

    run(story)


def test_what_cannot_be_opened_leaves_no_tap(node: Node) -> None:
    async def story(fds: list[int]) -> None:
        networks = node.networks()
        await up(networks, [BASE], fds)
        before = open_files()
        with pytest.raises(DriverError) as refused:
            await networks.open_tap(NET.key, NIC.tap)  # It is there.
        assert refused.value.code == "network-failed"
        assert before == open_files()
        assert NIC.tap not in node.ask("ip", "link")

    run(story)
