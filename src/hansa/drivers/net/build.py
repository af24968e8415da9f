"""From what a node's networks are to what they are to be, as text that tools read.  Pure.

The order is part of it: translation, then route, then proxy ARP and gratuitous ARP; withdrawn in
reverse, connections forgotten last.  For a packet that comes before its translation pins an entry
without one for as long as it flows.  What is at rest yields no step.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from hansa.drivers.net.shape import Answers, Elements, Inner, Outer, Plan, Step
from hansa.drivers.net.shape import Host as Host  # noqa: PLC0414 - those who build say it
from hansa.drivers.net.tables import TRANSITS, mark_of, marked, network_table, node_table
from hansa.drivers.net.wish import answered, answers, namespace, transit, vtep_mac, wanted
from hansa.ports import NodeNetwork

GATEWAY: Final = "169.254.1.1"
GATEWAY_MAC: Final = "02:00:00:00:00:01"
SLOTS: Final = IPv4Network(TRANSITS).num_addresses // 2
ALIAS_CHARS: Final = 200  # The kernel keeps 255 of a device's alias, and a key has up to 258.

_ROUTER: Final = """ipv4/ip_forward=1
ipv4/conf/all/rp_filter=0
ipv4/conf/default/rp_filter=0
ipv4/conf/default/proxy_arp=1
ipv4/conf/all/send_redirects=0
ipv4/conf/default/send_redirects=0
"""


def gratuitous_arp(mac: bytes, public: str) -> bytes:
    """Return the frame that tells all neighbours who has an address now."""
    packed = IPv4Address(public).packed
    head = b"\xff" * 6 + mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01"
    return head + mac + packed + b"\x00" * 6 + packed


def plan(
    host: Host,
    networks: Sequence[NodeNetwork],
    outer: Outer,
    inners: Mapping[str, Inner],
) -> Plan:
    """Return the steps from what is there to exactly these networks."""
    wishes = {namespace(host, network.vni): network for network in networks}
    kept = {n: each for n, each in inners.items() if n in wishes and wishes[n].key == each.key}
    others = {netns: inner for netns, inner in inners.items() if netns not in kept}
    busy = [netns for netns, inner in others.items() if inner.taps and netns in wishes]
    there, wish = answered(host, outer, inners), answers(host, networks, kept)
    known = {*outer.proxies, *outer.routes, *outer.elements.get("inet up public", {})}
    gone = sorted(public for public in known if there.get(public) != wish.get(public))
    slots = _slots(networks, {wishes[netns].vni: inner.slot for netns, inner in kept.items()})
    return Plan(
        first=(
            *_node(host, networks, outer, gone),
            *(step for netns, inner in others.items() for step in _drop(netns, inner)),
        ),
        parts=tuple(
            (
                *_network(host, network, slots[network.vni], kept.get(netns)),
                *answer(host, [network], kept, there),
            )
            for netns, network in wishes.items()
            if netns not in busy
        ),
        last=tuple(_forget("", [f"-D {flag} {public}" for public in gone for flag in _TO])),
        busy=tuple(wishes[netns].key for netns in busy),
    )


def port(host: Host, network: NodeNetwork, outer: Outer, inner: Inner) -> tuple[Step, ...]:
    """Return the steps that bring one running network to what it is to be: a tap has come."""
    inners = {namespace(host, network.vni): inner}
    there = answered(host, outer, inners)
    return (
        *_network(host, network, inner.slot, inner),
        *answer(host, [network], inners, there),
    )


def answer(
    host: Host,
    networks: Sequence[NodeNetwork],
    inners: Mapping[str, Inner],
    there: Answers,
) -> Iterator[Step]:
    """Yield the steps by which the node begins to answer for what it does not answer for yet."""
    wish = answers(host, networks, inners)
    new = {public: wish[public] for public in wish if there.get(public) != wish[public]}
    if new:
        yield Step("nft", "", f"add element inet up public {{ {', '.join(new)} }}\n")
        lines = [f"route replace {route}" for route, _ in new.values()]
        lines += [f"neigh replace proxy {public} dev {host.uplink}" for public in new]
        yield Step("ip", "", _lines(lines))
        yield Step("announce", "", _lines(new))


def removal(host: Host, outer: Outer, inners: Mapping[str, Inner]) -> tuple[Step, ...]:
    """Return the steps that take all of it away, taps and all."""
    bare = {netns: Inner(links=inner.links) for netns, inner in inners.items()}
    table = "add table inet up\ndelete table inet up\n"
    return (
        *_withdraw(host, outer, sorted({*outer.proxies, *outer.routes})),
        *(step for netns, inner in bare.items() for step in _drop(netns, inner)),
        Step("nft", "", table),
    )


_TO: Final = ("-d", "-q")
_FROM_AND_TO: Final = ("-s", "-d", "-r", "-q")


def _slots(networks: Iterable[NodeNetwork], kept: Mapping[int, int]) -> dict[int, int]:
    """Return each network's slot: that of its number, or where that is taken the next."""
    slots = dict(kept)
    for network in networks:
        taken, slot = set(slots.values()), network.vni % SLOTS
        while network.vni not in slots:
            if slot not in taken:
                slots[network.vni] = slot
            slot = (slot + 1) % SLOTS
    return slots


def _node(
    host: Host, networks: Iterable[NodeNetwork], outer: Outer, gone: Sequence[str]
) -> Iterator[Step]:
    """Yield the steps of the node's namespace that come before those of its networks."""
    text = node_table(host)
    is_new = outer.mark != mark_of(text)
    if is_new:
        yield Step("sysctl", "", _node_sysctls(host.uplink))
    yield from _withdraw(host, outer, gone)
    stay = outer.elements.get("inet up public", {}).keys() - gone
    wish = {
        "inet up vteps": {nic.vtep: "" for network in networks for nic in network.remote},
        "inet up public": dict.fromkeys(sorted(stay), ""),
        "inet up ports": {str(port): "" for port in host.tcp_ports},
    }
    base = marked(("inet up",), text) if is_new else ""
    if changed := base + _members({} if is_new else outer.elements, wish):
        yield Step("nft", "", changed)


def _withdraw(host: Host, outer: Outer, gone: Iterable[str]) -> Iterator[Step]:
    lines = [f"neigh del proxy {p} dev {host.uplink}" for p in gone if p in outer.proxies]
    lines += [f"route del {outer.routes[public]}" for public in gone if public in outer.routes]
    if lines:
        yield Step("ip", "", _lines(lines))


def _drop(netns: str, inner: Inner) -> Iterator[Step]:
    """Yield the steps that make a network not be: at once, but for a namespace with taps."""
    if inner.taps:
        default = {key: route for key, route in inner.routes.items() if key == "default"}
        bare = Inner(mark=inner.mark, routes=default)
        yield from _rules(netns, inner, bare)
        yield from _ways(netns, inner, bare)
        return
    # Devices first: the kernel takes those of a namespace away some time later, and its number
    # may be wanted again at once.
    if links := [f"link del dev {link}" for link in ("vx", "uplink") if link in inner.links]:
        yield Step("ip", netns, _lines(links))
    yield Step("ip", "", f"netns del {netns}\n")


def _network(host: Host, network: NodeNetwork, slot: int, seen: Inner | None) -> Iterator[Step]:
    """Yield the steps from a network that is whole, or from none, to what it is to be."""
    netns, vni, (mine, nodes) = namespace(host, network.vni), network.vni, transit(slot)
    want = wanted(network, slot, seen.taps if seen else ())
    if seen is not None:
        yield from _rules(netns, seen, want)
        yield from _ways(netns, seen, want)
        return
    yield Step("ip", "", f"netns add {netns}\n")
    yield Step("sysctl", netns, _ROUTER)
    yield from _rules(netns, Inner(), want)
    # Made there at once, not moved there (the kernel waits in a move); its socket stays here.
    vxlan = f"type vxlan id {vni} local {host.vtep} dstport 4789 nolearning"
    mac = vtep_mac(host.vtep)
    devices = [
        f"link add n-{vni} type veth peer name uplink netns {netns}",
        f"addr add {nodes}/31 dev n-{vni}",
        f"link set dev n-{vni} up",
        f"link add name vx netns {netns} address {mac} mtu {host.mtu} {vxlan}",
    ]
    yield Step("ip", "", _lines(devices))
    yield Step("sysctl", netns, "ipv4/conf/uplink/proxy_arp=0\nipv4/conf/vx/proxy_arp=0\n")
    yield from _ways(netns, Inner(), want, _addresses(mine), _seal(network.key))


def _addresses(mine: str) -> list[str]:
    up = [f"link set dev {link} up" for link in ("lo", "uplink", "vx")]
    return [f"addr add {GATEWAY}/32 dev lo", f"addr add {mine}/31 dev uplink", *up]


def _seal(key: str) -> list[str]:
    """Return the lines that say whose it is: what says so is whole."""
    head, tail = key[:ALIAS_CHARS], key[ALIAS_CHARS:]
    rest = [f"link set dev uplink alias {tail}"] if tail else []
    return [*rest, f"link set dev vx alias {head}"]


def _rules(netns: str, seen: Inner, want: Inner) -> Iterator[Step]:
    """Yield one transaction: nothing is let through, or held back, in between."""
    is_new = seen.mark != want.mark
    base = ""
    if is_new:
        base = marked(("inet net", "arp net"), network_table(transit(want.slot)[0]))
    if text := base + _members({} if is_new else seen.elements, want.elements):
        yield Step("nft", netns, text)


def _ways(
    netns: str,
    seen: Inner,
    want: Inner,
    setup: Sequence[str] = (),
    seal: Sequence[str] = (),
) -> Iterator[Step]:
    """Yield the steps to taps, neighbours, routes; and those that forget what ended."""
    new = [tap for tap in want.taps if not seen.taps.get(tap)]
    if new:
        sysctls = [f"ipv4/neigh/{tap}/proxy_delay=0" for tap in new]
        yield Step("sysctl", netns, _lines(sysctls))
    fdb_gone, fdb_new = _changes(seen.fdb, want.fdb)
    bridge = [f"fdb del {mac} dev vx dst {seen.fdb[mac]} self" for mac in fdb_gone]
    bridge += [f"fdb replace {m} dev vx dst {want.fdb[m]} self permanent" for m in fdb_new]
    if bridge:
        yield Step("bridge", netns, _lines(bridge))
    routes_gone, routes_new = _changes(seen.routes, want.routes)
    lost, met = _changes(seen.neighbours, want.neighbours)
    lines = [
        *setup,
        *(f"route del {seen.routes[to]}" for to in routes_gone if to not in want.routes),
        *(f"neigh del {where}" for where in lost if where not in want.neighbours),
        *(f"link set dev {tap} address {GATEWAY_MAC} up" for tap in new),
        *(_neighbour(where, want.neighbours[where]) for where in met),
        *(f"route replace {want.routes[to]}" for to in routes_new),
        *seal,
    ]
    if lines:
        yield Step("ip", netns, _lines(lines))
    yield from _forget(netns, _ended(seen.elements, want.elements))


def _neighbour(where: str, mac: str) -> str:
    address, _, device = where.partition(" ")
    return f"neigh replace {address} lladdr {mac} {device} nud permanent"


def _ended(seen: Elements, want: Elements) -> Iterator[str]:
    """Yield the connections of translations that ended, and of NICs that are not here any more."""
    pairs, _ = _changes(seen.get("inet net pub2priv", {}), want.get("inet net pub2priv", {}))
    yield from (f"-D {flag} {public}" for public in pairs for flag in _TO)
    here, stay = (
        {member.rpartition(" ")[2] for member in each.get("inet net nic4", {})}
        for each in (seen, want)
    )
    yield from (f"-D {flag} {nic}" for nic in sorted(here - stay) for flag in _FROM_AND_TO)


def _forget(netns: str, lines: Iterable[str]) -> Iterator[Step]:
    if text := _lines(lines):
        yield Step("conntrack", netns, text)


def _node_sysctls(uplink: str) -> str:
    """Return what makes it a router, and strict towards networks: n-* come to be by default."""
    lines = [
        "ipv4/ip_forward=1",
        "ipv4/conf/all/rp_filter=0",
        "ipv4/conf/default/rp_filter=1",
        f"ipv4/conf/{uplink}/rp_filter=0",
        "ipv4/conf/all/send_redirects=0",
        f"ipv4/conf/{uplink}/send_redirects=0",
        f"ipv4/neigh/{uplink}/proxy_delay=0",
    ]
    return _lines(lines)


def _members(seen: Elements, want: Elements) -> str:
    """Return the changes of sets and maps; of a key with another value, it goes first."""
    text = ""
    for name in sorted({*seen, *want}):
        gone, new = _changes(seen.get(name, {}), want.get(name, {}))
        members = [f"{k} : {want[name][k]}" if want[name][k] else k for k in new]
        text += f"delete element {name} {{ {', '.join(gone)} }}\n" if gone else ""
        text += f"add element {name} {{ {', '.join(members)} }}\n" if members else ""
    return text


def _changes(seen: Mapping[str, str], want: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the keys of what is not wanted (so), and of what is not there (so)."""
    gone = [key for key in seen if want.get(key) != seen[key]]
    return gone, [key for key in want if seen.get(key) != want[key]]


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
