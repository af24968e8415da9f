"""What a node's networks are to be, and what of it is answered for.  Pure."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from hansa.drivers.net.shape import Answers, Elements, Host, Inner, Outer
from hansa.drivers.net.tables import TRANSITS, mark_of, network_table
from hansa.ports import NodeNetwork


def namespace(host: Host, vni: int) -> str:
    """Return the name of a network's namespace."""
    return f"{host.prefix}{vni}"


def transit(slot: int) -> tuple[str, str]:
    """Return the two ends of the /31 between a network and the node: the network's first."""
    first = IPv4Network(TRANSITS)[2 * slot]
    return str(first), str(first + 1)


def vtep_mac(vtep: str) -> str:
    """Return the MAC of all VXLAN devices of a node."""
    return "02:01:" + ":".join(f"{byte:02x}" for byte in IPv4Address(vtep).packed)


def blocks(cidrs: Iterable[str]) -> list[str]:
    """Return the fewest blocks that hold the same: members of an interval must not overlap."""
    whole = collapse_addresses(IPv4Network(cidr) for cidr in cidrs)
    return [str(block).removesuffix("/32") for block in whole]


def wanted(network: NodeNetwork, slot: int, taps: Iterable[str]) -> Inner:
    """Return what a network's namespace is to be; NICs without a tap have their rules only."""
    mine, nodes = transit(slot)
    placed = [nic for nic in network.local if nic.tap in taps]
    vteps = sorted({nic.vtep for nic in network.remote})
    routes = {"default": f"default via {nodes} dev uplink"}
    routes |= {cidr: f"unreachable {cidr}" for cidr in network.cidrs}
    for far in network.remote:
        routes[f"{far.address}/32"] = f"{far.address}/32 via {far.vtep} dev vx onlink"
    routes |= {f"{nic.address}/32": f"{nic.address}/32 dev {nic.tap}" for nic in placed}
    neighbours = {f"{vtep} dev vx": vtep_mac(vtep) for vtep in vteps}
    neighbours |= {f"{nic.address} dev {nic.tap}": nic.mac for nic in placed}
    return Inner(
        key=network.key,
        mark=mark_of(network_table(mine)),
        slot=slot,
        taps={nic.tap: True for nic in placed},
        elements=_elements(network),
        routes=routes,
        neighbours=neighbours,
        fdb={vtep_mac(vtep): vtep for vtep in vteps},
    )


def answers(host: Host, networks: Iterable[NodeNetwork], inners: Mapping[str, Inner]) -> Answers:
    """Return what the node is to answer for: public addresses of NICs whose tap is there."""
    found: dict[str, tuple[str, str]] = {}
    for network in networks:
        inner = inners.get(namespace(host, network.vni))
        if inner is not None and inner.key == network.key:
            for nic in network.local:
                route = f"via {transit(inner.slot)[0]} dev n-{network.vni}"
                there = nic.publics if nic.tap in inner.taps else ()
                found |= {public: (f"{public}/32 {route}", nic.address) for public in there}
    return found


def answered(host: Host, outer: Outer, inners: Mapping[str, Inner]) -> Answers:
    """Return what the node answers for: what has route, proxy, translation and leave to pass."""
    found: dict[str, tuple[str, str]] = {}
    for public, route in outer.routes.items():
        netns = host.prefix + route.rpartition(" n-")[2]
        pairs = inners.get(netns, Inner()).elements.get("inet net pub2priv", {})
        is_let_in = public in outer.elements.get("inet up public", {})
        if is_let_in and public in outer.proxies and public in pairs:
            found[public] = route, pairs[public]
    return found


def _elements(network: NodeNetwork) -> Elements:
    ports = {f'"{nic.tap}" . {nic.mac} . {nic.address}': "" for nic in network.local}
    accepts = {f'"{nic.tap}"': "accept" for nic in network.local}
    named = [nic for nic in network.local if nic.publics]
    return {
        "inet net inside": dict.fromkeys(blocks(network.cidrs), ""),
        "inet net nic4": ports,
        "arp net nic": ports,
        "inet net outof": accepts,
        "inet net into": accepts,
        "inet net pub2priv": {public: nic.address for nic in named for public in nic.publics},
        "inet net priv2pub": {nic.address: nic.publics[0] for nic in named},
    }
