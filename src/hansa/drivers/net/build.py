"""From what a node's networks are to what they are to be, as the text that tools read.  Pure.

The order is part of it: translation, then route, then proxy ARP and gratuitous ARP, withdrawn in
reverse, connections forgotten last: a packet that comes before its translation pins an entry
without one for as long as it flows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Final

from hansa.drivers.net.shape import GATEWAY_MAC, Elements, Inner, NetSettings, Outer, Plan, Step
from hansa.drivers.net.tables import TRANSITS, mark_of, marked, network_table, node_table
from hansa.ports import LocalNic, NodeNetwork

GATEWAY: Final = "169.254.1.1"
SLOTS: Final = IPv4Network(TRANSITS).num_addresses // 2
ALIAS_BYTES: Final = 200  # The kernel keeps 255 of a device's alias; a key has up to 258.

SYSCTLS: Final = (
    "ipv4/ip_forward=1",
    "ipv4/conf/all/rp_filter=0",
    "ipv4/conf/default/rp_filter=0",
    "ipv4/conf/default/proxy_arp=1",
    "ipv4/conf/all/send_redirects=0",
    "ipv4/conf/default/send_redirects=0",
)


def namespace(settings: NetSettings, vni: int) -> str:
    """Return the name of a network's namespace."""
    return f"{settings.prefix}{vni}"


def number(settings: NetSettings, netns: str) -> int:
    """Return the VNI of the network whose namespace this is."""
    return int(netns.removeprefix(settings.prefix))


def transit(slot: int) -> tuple[str, str]:
    """Return the two ends of the /31 between a network and the node: the network's first."""
    first = IPv4Network(TRANSITS)[2 * slot]
    return str(first), str(first + 1)


def vtep_mac(vtep: str) -> str:
    """Return the MAC of all VXLAN devices of a node."""
    return "02:01:" + ":".join(f"{byte:02x}" for byte in IPv4Address(vtep).packed)


def wanted(network: NodeNetwork, slot: int, taps: Iterable[str]) -> Inner:
    """Return what a network's namespace is to be, with the taps that are there."""
    mine, nodes = transit(slot)
    placed = [nic for nic in network.local if nic.tap in taps]
    vteps = sorted({nic.vtep for nic in network.remote})
    routes = {_host(cidr): f"unreachable {cidr}" for cidr in network.cidrs}
    for far in network.remote:
        routes[f"{far.address}/32"] = f"{far.address}/32 via {far.vtep} dev vx onlink"
    for nic in placed:
        routes[f"{nic.address}/32"] = f"{nic.address}/32 dev {nic.tap}"
    neighbours = {f"{vtep} dev vx": vtep_mac(vtep) for vtep in vteps}
    neighbours |= {f"{nic.address} dev {nic.tap}": nic.mac for nic in placed}
    return Inner(
        key=network.key,
        mark=mark_of(network_table(mine)),
        slot=slot,
        taps={nic.tap: True for nic in placed},
        elements=_elements(network),
        routes={"default": f"default via {nodes} dev uplink"} | routes,
        neighbours=neighbours,
        fdb={vtep_mac(vtep): vtep for vtep in vteps},
    )


def plan(
    settings: NetSettings,
    networks: Sequence[NodeNetwork],
    outer: Outer,
    inners: Mapping[str, Inner],
) -> Plan:
    """Return the steps to exactly these networks from what is there."""
    wishes = {namespace(settings, network.vni): network for network in networks}
    others = {
        netns: inner
        for netns, inner in inners.items()
        if netns not in wishes or inner.key != wishes[netns].key
    }
    busy = [netns for netns, inner in others.items() if inner.taps and netns in wishes]
    slots = _slots(wishes, {n: inner for n, inner in inners.items() if n not in others}, settings)
    answers = {
        public: _answer(settings, netns, slots[netns], public, nic)
        for netns, network in wishes.items()
        for public, nic in _placed(network, inners.get(netns, Inner()))
        if netns not in busy
    }
    gone = _gone(outer, inners, answers)
    stay = {
        netns: inner if netns not in others else Inner(links=frozenset(), slot=slots[netns])
        for netns, inner in inners.items()
        if netns in wishes
    }
    return Plan(
        first=(
            *_node(settings, networks, outer, gone),
            *(step for netns, inner in others.items() for step in _drop(settings, netns, inner)),
        ),
        parts=tuple(
            network_steps(settings, network, slots[netns], outer, stay.get(netns), gone)
            for netns, network in wishes.items()
            if netns not in busy
        ),
        last=_forget("", gone),
        busy=tuple(wishes[netns].key for netns in busy),
    )
