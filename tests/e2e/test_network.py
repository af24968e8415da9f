"""Two nodes, two tenants with equal blocks, addresses, MACs and ports, and an outside.

A guest is a namespace whose eth0 is joined to the tap that its node opened for it, by a thread
that carries frames between the two, as QEMU does for its guest.
"""

import asyncio
import contextlib
import json
import os
import re
import select
import selectors
import socket
import subprocess
import threading  # noqa: TID251 - frames are carried while a test waits
import time  # noqa: TID251 - a deadline of what real machines do
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import pytest
from msgspec.structs import replace

from hansa.drivers.net import ns
from hansa.drivers.net.build import Host
from hansa.drivers.net.driver import NetSettings, RoutedNetworks
from hansa.model.envelope import Key
from hansa.ports import LocalNic, NodeNetwork, RemoteNic

RUN = f"e{os.getpid()}"
DEADLINE_S = 20.0
QUIET_S = 0.3  # What has not come by then does not come.
OUTSIDE, GATEWAY = "192.0.2.1", "169.254.1.1"
TENANTS = {"a": 100, "b": 200}  # And their VNIs.
PLACES = {1: ("10.0.1.5", "10.0.2.5"), 2: ("10.0.1.6", "10.0.2.6")}
NODES = tuple(PLACES)
BLOCK = "10.0.0.0/16"
ECHO, OTHER_ECHO = 7, 9
TICK_S = 0.001

T = TypeVar("T")
Publics = dict[tuple[str, str], tuple[str, ...]]  # By tenant and address.


class Answer(NamedTuple):
    """Who answered, and whom it saw."""

    who: str
    saw: str


def vtep(node: int) -> str:
    return f"198.51.100.{10 + node}"


def node_address(node: int) -> str:
    return f"192.0.2.{10 + node}"


def public(number: int) -> str:
    return f"192.0.2.{100 + number}"


def mac_of(address: str) -> str:
    return "52:54:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def name(*parts: object) -> str:
    return "-".join((RUN, *map(str, parts)))


def guest(tenant: str, address: str) -> str:
    return name(tenant, address)


def said(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def batch(netns: str, *lines: str) -> None:
    ns.run(netns, ns.TELLING["ip"], "\n".join(lines) + "\n")


def tried(netns: str, *argv: str) -> str:
    """Return what a command says in a namespace, whether it fails or not."""
    enter = ["nsenter", f"--net=/run/netns/{netns}", *argv]
    return subprocess.run(enter, check=False, capture_output=True, text=True).stdout


def opened(netns: str, *kind: int) -> socket.socket:
    with ns.inside(netns):
        return socket.socket(*kind)


def udp(netns: str, address: str = "", port: int = 0) -> socket.socket:
    sock = opened(netns, socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    sock.settimeout(QUIET_S)
    return sock


class Wires:
    """One thread that carries frames between taps, and answers on sockets."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopping = os.pipe()
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self, one: int, other: int) -> None:
        for fd, to in ((one, other), (other, one)):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, lambda f=fd, t=to: carry(f, t))

    def echo(self, netns: str, port: int) -> None:
        sock = udp(netns, port=port)
        self._selector.register(sock, selectors.EVENT_READ, lambda: answer(sock, netns))

    def close(self) -> None:
        os.close(self._stopping)
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data()


def carry(fd: int, to: int) -> None:
    with contextlib.suppress(OSError):  # A device that is down or gone takes no frames.
        os.write(to, os.read(fd, 70_000))


def answer(sock: socket.socket, who: str) -> None:
    with contextlib.suppress(OSError):
        data, peer = sock.recvfrom(2000)
        sock.sendto(f"{who} {peer[0]}:{peer[1]} ".encode() + data, peer)


def ask(netns: str, to: str, port: int = ECHO, sport: int = 0, src: str = "") -> Answer | None:
    """Ask once; what is to be there is asked by `met`."""
    with udp(netns, src, sport) as sock, contextlib.suppress(OSError):
        sock.sendto(b"x", (to, port))
        who, saw = sock.recv(2000).decode().split()[:2]
        return Answer(who, saw)
    return None


def met(netns: str, to: str, port: int = ECHO, sport: int = 0) -> Answer:
    return until(lambda: ask(netns, to, port, sport))


def until(fact: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while (found := fact()) is None:
        assert time.monotonic() < deadline
    return found


def is_pinged(netns: str, to: str, *options: str) -> bool:
    return " 0% packet loss" in tried(netns, "ping", "-n", "-c1", "-W1", *options, to)


class World:
    """All of it: namespaces, drivers, guests."""

    def __init__(self) -> None:
        self.wires = Wires()
        self.nodes = {node: RoutedNetworks(settings(node)) for node in NODES}

    def build(self) -> None:
        for netns in (name("ul"), name("out"), *(name("n", node) for node in NODES)):
            said("ip", "netns", "add", netns)
            batch(netns, "link set lo up")
        batch(name("ul"), "link add br0 type bridge", "link set br0 up")
        for end in ("out", *(f"n-{node}" for node in NODES)):
            veth = f"link add p-{end} type veth peer name eth0 netns {name(end)}"
            batch(name("ul"), veth, f"link set p-{end} master br0 up")
            batch(name(end), "link set eth0 up")
        batch(name("out"), f"addr add {OUTSIDE}/24 dev eth0")
        for node in NODES:
            mine = (f"{vtep(node)}/24", f"{node_address(node)}/24")
            batch(name("n", node), *(f"addr add {each} dev eth0" for each in mine))
            batch(name("n", node), f"route add default via {OUTSIDE}")
        self.rest()
        for node in NODES:
            for tenant in TENANTS:
                for address in PLACES[node]:
                    self._guest(node, tenant, address)
        self.wires.echo(name("out"), ECHO)

    def _guest(self, node: int, tenant: str, address: str) -> None:
        netns = guest(tenant, address)
        said("ip", "netns", "add", netns)
        tap = asyncio.run(self.nodes[node].open_tap(Key(tenant), tap_of(address)))
        self.wires.join(tap, ns.open_tap(netns, "eth0"))
        batch(netns, "link set lo up")
        dress(netns, address)
        for port in (ECHO, OTHER_ECHO):
            self.wires.echo(netns, port)

    def rest(self, publics: Publics | None = None) -> None:
        """Bring both nodes to four guests a tenant, with these public addresses."""
        for node in NODES:
            self.apply(node, publics or {})

    def apply(self, node: int, publics: Publics) -> None:
        asyncio.run(self.nodes[node].apply(wished(node, publics)))

    def tear_down(self) -> None:
        for networks in self.nodes.values():
            asyncio.run(networks.remove())
        self.wires.close()
        for each in json.loads(said("ip", "-j", "netns") or "[]"):
            if each["name"].startswith(f"{RUN}-"):
                said("ip", "netns", "del", each["name"])


def settings(node: int) -> NetSettings:
    host = Host(
        prefix=name("n", node, ""),
        uplink="eth0",
        vtep=vtep(node),
        node_address=node_address(node),
        underlay="198.51.100.0/24",
    )
    return NetSettings(host=host, netns=name("n", node))


def tap_of(address: str) -> str:
    return "t" + address.replace(".", "x")


def wished(node: int, publics: Publics) -> list[NodeNetwork]:
    far = [RemoteNic(address=a, vtep=vtep(m)) for m in NODES if m != node for a in PLACES[m]]
    return [
        NodeNetwork(
            key=Key(tenant),
            vni=vni,
            cidrs=(BLOCK,),
            local=tuple(
                LocalNic(
                    tap=tap_of(address),
                    mac=mac_of(address),
                    address=address,
                    publics=publics.get((tenant, address), ()),
                )
                for address in PLACES[node]
            ),
            remote=tuple(far),
        )
        for tenant, vni in TENANTS.items()
    ]


def dress(netns: str, address: str, length: int = 32, mtu: int = 1450) -> None:
    """Give a guest's eth0 what its NoCloud says, or a tenant's own idea of it."""
    batch(
        netns,
        "addr flush dev eth0",
        f"link set eth0 address {mac_of(address)} mtu {mtu} up",
        f"addr add {address}/{length} dev eth0",
        f"route replace default via {GATEWAY} dev eth0 onlink",
    )


def links() -> set[str]:
    """Return the links of this process's namespace that could be of nodes; others come and go."""
    found = {each["ifname"] for each in json.loads(said("ip", "-j", "link"))}
    return {link for link in found if re.match(r"n-\d|vx|t10x|p-n|uplink", link)}


@pytest.fixture(scope="module")
def standing() -> Iterator[World]:
    before = links()
    world = World()
    try:
        world.build()
        yield world
    finally:
        world.tear_down()
        assert links() - before == set()
        assert f"{RUN}-" not in said("ip", "netns")


@pytest.fixture
def world(standing: World) -> World:
    standing.rest()
    return standing


class Ticks(NamedTuple):
    """An echo each millisecond of one flow: how many were sent, how many lost, who answered."""

    sent: int
    lost: int
    who: list[str]


def ticking(netns: str, to: str, act: Callable[[Callable[[], list[str]]], None]) -> Ticks:
    """Let one flow go on while `act` runs, which can ask who has answered."""
    stop, who, answered = threading.Event(), list[str](), set[bytes]()
    sent = 0

    def hear(sock: socket.socket, wait_s: float) -> bool:
        if not select.select([sock], [], [], wait_s)[0]:
            return False
        with contextlib.suppress(OSError):
            name_of, _, mark = sock.recv(2000).split()
            answered.add(mark)
            if name_of.decode() not in who[-1:]:
                who.append(name_of.decode())
        return True

    def flow() -> None:
        nonlocal sent
        with udp(netns) as sock:
            sock.connect((to, ECHO))
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    sock.send(b"%d" % sent)
                    sent += 1
                hear(sock, TICK_S)
            while len(answered) < sent and hear(sock, QUIET_S):
                pass

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        act(lambda: who)
    finally:
        stop.set()
        thread.join()
    return Ticks(sent, sent - len(answered), who)


def is_last(who: Callable[[], list[str]], expected: str) -> bool | None:
    return True if who()[-1:] == [expected] else None


def frames(netns: str, act: Callable[[], object]) -> list[bytes]:
    """Return the frames that reach a guest while `act` runs, and until it is quiet."""
    with opened(netns, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.settimeout(QUIET_S)
        act()
        found, deadline = list[bytes](), time.monotonic() + DEADLINE_S
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(sock.recv(2000))
                assert time.monotonic() < deadline, "frames go round and round"
        return found


def is_seen(address: str, found: Sequence[bytes]) -> bool:
    return any(socket.inet_aton(address) in frame for frame in found)


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("to", ["10.0.1.6", "10.0.2.5", "10.0.2.6"])
@pytest.mark.usefixtures("world")
def test_guests_of_a_network_meet_wherever_they_are_and_none_of_another(
    tenant: str, to: str
) -> None:
    expected = Answer(guest(tenant, to), "10.0.1.5:4000")
    assert expected == met(guest(tenant, "10.0.1.5"), to, sport=4000)


@pytest.mark.usefixtures("world")
def test_the_gateway_answers_on_the_link() -> None:
    for node in NODES:
        assert is_pinged(guest("a", PLACES[node][0]), GATEWAY)


@pytest.mark.usefixtures("world")
def test_without_a_public_address_guests_are_seen_as_their_node() -> None:
    saw = {t: met(guest(t, "10.0.1.5"), OUTSIDE, sport=4000).saw for t in TENANTS}
    assert {node_address(1)} == {each.rpartition(":")[0] for each in saw.values()}
    assert saw["a"] != saw["b"]
    assert met(guest("a", "10.0.1.6"), OUTSIDE).saw.startswith(node_address(2) + ":")


@pytest.mark.parametrize(
    "to", [vtep(1), vtep(2), node_address(1), node_address(2), "169.254.128.144", "169.254.128.145"]
)
@pytest.mark.usefixtures("world")
def test_a_guest_does_not_reach_nodes_nor_other_networks_transits(to: str) -> None:
    assert not is_pinged(guest("a", "10.0.1.5"), to)
    assert is_pinged(guest("a", "10.0.1.5"), OUTSIDE)


@pytest.mark.parametrize("to", [vtep(2), "198.51.100.77"])
@pytest.mark.usefixtures("world")
def test_what_a_guest_sends_to_the_underlay_does_not_leave_its_node(to: str) -> None:
    netns, uplink = guest("a", "10.0.1.5"), name("n", 1)
    assert is_seen(OUTSIDE, frames(uplink, lambda: ask(netns, OUTSIDE)))
    sent = socket.inet_aton(node_address(1)) + socket.inet_aton(to)
    assert not any(sent in frame for frame in frames(uplink, lambda: ask(netns, to)))


@pytest.mark.usefixtures("world")
def test_an_address_that_is_nobodys_does_not_leave_its_network() -> None:
    said_so = tried(guest("a", "10.0.1.5"), "ping", "-n", "-c1", "-W1", "10.0.1.77")
    assert "Unreachable" in said_so


@pytest.mark.parametrize(
    ("sender", "inner", "is_let_in"),
    [("n-2", "10.0.1.6", True), ("out", "10.0.1.6", False), ("n-2", OUTSIDE, False)],
)
@pytest.mark.usefixtures("world")
def test_only_nodes_get_into_an_overlay_and_only_with_its_own_addresses(
    sender: str, inner: str, *, is_let_in: bool
) -> None:
    """Someone wraps a datagram for a guest as a node would."""
    head = bytes.fromhex("02 01 c6 33 64 0b 02 01 c6 33 64 0c 08 00")
    wrapped = b"\x08\x00\x00\x00" + (TENANTS["a"] << 8).to_bytes(4) + head + ip_udp(inner)
    batch(name("out"), "addr add 198.51.100.99/24 dev eth0")
    try:
        src = vtep(2) if sender == "n-2" else "198.51.100.99"
        with udp(name(sender), src) as sock:
            send = partial(sock.sendto, wrapped, (vtep(1), 4789))
            assert is_let_in == is_seen(inner, frames(guest("a", "10.0.1.5"), send))
    finally:
        batch(name("out"), "addr del 198.51.100.99/24 dev eth0")


def ip_udp(src: str, to: str = "10.0.1.5") -> bytes:
    """Return a datagram of eight bytes to the discard port."""
    head = bytes.fromhex("45 00 00 24 00 00 40 00 40 11 00 00")
    head += socket.inet_aton(src) + socket.inet_aton(to)
    total = sum(int.from_bytes(head[i : i + 2]) for i in range(0, 20, 2))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    head = head[:10] + checksum.to_bytes(2) + head[12:]
    return head + bytes.fromhex("1f 40 00 09 00 10 00 00") + b"overlaid"


ONE_EACH: Publics = {
    ("a", "10.0.1.5"): (public(1),),
    ("b", "10.0.1.5"): (public(2),),
    ("a", "10.0.1.6"): (public(3),),
    ("a", "10.0.2.5"): (public(4), public(5)),
}


def test_public_addresses_are_translated_one_to_one_both_ways(world: World) -> None:
    world.rest(ONE_EACH)
    for (tenant, address), publics in ONE_EACH.items():
        for sport, each in enumerate(publics, 5000):  # Of one guest, equal tuples would meet.
            expected = Answer(guest(tenant, address), f"{OUTSIDE}:{sport}")
            assert expected == met(name("out"), each, sport=sport)
        answered = met(guest(tenant, address), OUTSIDE, sport=4001)
        assert answered.saw == f"{publics[0]}:4001"


def test_public_addresses_are_reached_from_within(world: World) -> None:
    world.rest(ONE_EACH)
    own = met(guest("a", "10.0.1.5"), public(1))
    assert own.who == guest("a", "10.0.1.5")
    assert own.saw.startswith(f"{public(1)}:")
    for asker, number, address in (
        (guest("a", "10.0.1.5"), 4, "10.0.2.5"),
        (guest("a", "10.0.1.5"), 3, "10.0.1.6"),
        (guest("b", "10.0.1.6"), 1, "10.0.1.5"),
    ):
        assert guest("a", address) == met(asker, public(number)).who


def test_a_public_address_moves_to_the_other_node_under_traffic_and_back(world: World) -> None:
    old, new = guest("a", "10.0.2.5"), guest("a", "10.0.2.6")
    there: Publics = {("a", "10.0.2.6"): (public(4),)}
    here: Publics = {("a", "10.0.2.5"): (public(4),)}
    world.rest(here)
    met(name("out"), public(4))

    def move(who: Callable[[], list[str]]) -> None:
        until(lambda: who() or None)
        for publics, expected, nodes in ((there, new, (1, 2)), (here, old, (2, 1))):
            for node in nodes:  # The other way round both answer for a moment.
                world.apply(node, publics)
            until(partial(is_last, who, expected))

    assert [old, new, old] == ticking(name("out"), public(4), move).who


def test_a_public_address_that_moves_on_its_node_takes_the_running_flow_along(
    world: World,
) -> None:
    first, *others = (("a", "10.0.1.5"), ("a", "10.0.2.5"), ("b", "10.0.1.5"), ("a", "10.0.1.5"))
    world.rest({first: (public(6),)})
    met(name("out"), public(6))

    def move(who: Callable[[], list[str]]) -> None:
        until(lambda: who() or None)
        for tenant, address in others:
            world.rest({(tenant, address): (public(6),)})
            until(partial(is_last, who, guest(tenant, address)))

    ticks = ticking(name("out"), public(6), move)
    assert [guest(*each) for each in (first, *others)] == ticks.who


def test_what_comes_before_its_translation_leaves_no_connection(world: World) -> None:
    world.rest()
    network, transit = name("n", 1, TENANTS["a"]), "169.254.128.200"
    batch(name("n", 1), f"route replace {public(10)}/32 via {transit} dev n-{TENANTS['a']}")
    try:
        with udp(name("n", 1)) as sock:
            seen = frames(network, partial(sock.sendto, b"early", (public(10), ECHO)))
        assert is_seen(public(10), seen)
        assert public(10) not in tried(network, "conntrack", "-L")
    finally:
        batch(name("n", 1), f"route del {public(10)}/32")


def test_a_public_address_that_is_taken_away_is_gone_at_once(world: World) -> None:
    world.rest(ONE_EACH)
    met(name("out"), public(1), sport=5001)
    world.rest()
    assert ask(name("out"), public(1), sport=5001) is None
    answered = met(guest("a", "10.0.1.5"), OUTSIDE, sport=5001)
    assert answered.saw.startswith(node_address(1) + ":")


def test_a_public_address_that_comes_is_told_to_all_three_times(world: World) -> None:
    found = frames(name("out"), lambda: world.rest({("a", "10.0.1.6"): (public(8),)}))
    packed = socket.inet_aton(public(8))
    told = [frame for frame in found if frame[:6] == b"\xff" * 6 and frame[28:32] == packed]
    assert len(told) == 3
    assert {packed} == {frame[38:42] for frame in told}


def test_a_node_relays_nothing_for_an_address_that_it_has_lost(world: World) -> None:
    world.rest()
    (link,) = json.loads(tried(name("n", 1), "ip", "-j", "link", "show", "eth0"))
    stale = f"{public(9)} lladdr {link['address']} dev eth0 nud permanent"
    batch(name("out"), f"neigh replace {stale}")
    try:
        assert ask(name("out"), public(9)) is None
        assert public(9) not in tried(name("n", 1), "conntrack", "-L")
    finally:
        batch(name("out"), f"neigh del {public(9)} dev eth0")


@pytest.mark.usefixtures("world")
def test_what_a_guest_sends_under_another_address_or_mac_is_dropped() -> None:
    netns, target = guest("a", "10.0.2.5"), guest("a", "10.0.1.5")

    def send(src: str) -> Callable[[], object]:
        return lambda: ask(netns, "10.0.1.5", src=src)

    batch(netns, "addr add 10.0.2.99/32 dev eth0")
    try:
        assert is_seen("10.0.2.5", frames(target, send("10.0.2.5")))
        assert not is_seen("10.0.2.99", frames(target, send("10.0.2.99")))
        batch(netns, "link set eth0 address 52:54:00:00:00:99")
        batch(netns, f"route replace default via {GATEWAY} dev eth0 onlink")
        assert not is_seen("10.0.2.5", frames(target, send("10.0.2.5")))
    finally:
        dress(netns, "10.0.2.5")
    met(netns, "10.0.1.5")


@pytest.mark.usefixtures("world")
def test_invented_senders_of_arp_leave_no_neighbour() -> None:
    netns, network = guest("a", "10.0.2.5"), name("n", 1, TENANTS["a"])
    mac = bytes.fromhex(mac_of("10.0.2.5").replace(":", ""))
    before = json.loads(tried(network, "ip", "-j", "neigh"))
    with opened(netns, socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("eth0", 0x806))
        head = b"\xff" * 6 + mac + bytes.fromhex("0806 0001 0800 06 04 0001") + mac
        for number in range(250):
            asked = bytes(6) + socket.inet_aton(GATEWAY)
            sock.send(head + bytes((10, 0, 3, number)) + asked)
    assert is_pinged(netns, GATEWAY)  # What was sent before has been through.
    after = json.loads(tried(network, "ip", "-j", "neigh"))
    invented = {each["dst"] for each in after if each["dst"].startswith("10.0.3.")}
    assert invented == set()
    assert len(after) <= len(before)


@pytest.mark.usefixtures("world")
def test_a_guest_with_its_subnets_length_and_a_larger_mtu_is_served() -> None:
    netns = guest("a", "10.0.2.5")
    dress(netns, "10.0.2.5", length=24, mtu=1500)
    try:
        assert met(netns, "10.0.2.6").who == guest("a", "10.0.2.6")
        assert ask(netns, "10.0.2.77") is None
        too_big = tried(netns, "ping", "-n", "-M", "do", "-s", "1472", "-c1", "-W1", "10.0.2.6")
        assert "mtu = 1450" in too_big
        assert is_pinged(netns, "10.0.2.6", "-M", "do", "-s", "1422")
    finally:
        dress(netns, "10.0.2.5")
        batch(netns, "route flush cache")


def test_what_is_applied_over_the_running_state_loses_nothing(world: World) -> None:
    world.rest(ONE_EACH)
    met(name("out"), public(1))
    more = ONE_EACH | {("b", "10.0.1.6"): (public(7),)}

    def again(who: Callable[[], list[str]]) -> None:
        until(lambda: who() or None)
        for publics in (ONE_EACH, more, ONE_EACH):
            world.rest(publics)
        for node in NODES:  # What another node, and a network that comes and goes, mean to this.
            networks = wished(node, ONE_EACH)
            far = RemoteNic(address="10.0.9.9", vtep="198.51.100.77")
            grown = replace(networks[0], remote=(*networks[0].remote, far))
            third = NodeNetwork(key=Key("c"), vni=300, cidrs=(BLOCK,))
            for wish in ([grown, networks[1], third], networks):
                asyncio.run(RoutedNetworks(settings(node)).apply(wish))

    ticks = ticking(name("out"), public(1), again)
    assert ticks.lost == 0
    assert ticks.sent > 0
    assert [guest("a", "10.0.1.5")] == ticks.who


def test_a_guest_whose_nic_is_withdrawn_neither_sends_nor_hears(world: World) -> None:
    netns, target = guest("a", "10.0.2.5"), guest("a", "10.0.1.6")
    ours = wished(1, {})
    less = replace(ours[0], local=ours[0].local[:1])
    met(target, "10.0.2.5", sport=6000)
    asyncio.run(world.nodes[1].apply([less, ours[1]]))
    assert not is_seen("10.0.2.5", frames(target, lambda: ask(netns, "10.0.1.6")))
    assert not is_seen("10.0.1.6", frames(netns, lambda: ask(target, "10.0.2.5", sport=6000)))
    world.rest()
    assert met(target, "10.0.2.5", sport=6000).who == netns
