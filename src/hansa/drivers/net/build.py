"""A network to the text that `ip`, `bridge` and `nft` read.  Pure.

The recipe is docs/design/0004-network.md; its order is part of it: translation, then route, then
proxy ARP and gratuitous ARP, and withdrawn in reverse.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hansa.model.envelope import Key
from hansa.ports import LocalNic, NodeNetwork

GATEWAY: Final = "169.254.1.1"
GATEWAY_MAC: Final = "02:00:00:00:00:01"
TRANSIT: Final = ipaddress.IPv4Network("169.254.128.0/17")
SLOTS: Final = TRANSIT.num_addresses // 2
PORT: Final = 4789


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's networks have in common."""

    prefix: str  # Of the namespaces of its networks: /run/netns is one for the machine.
    uplink: str
    vtep: str
    node_address: str
    underlay: str
    mtu: int = 1450


def namespace(host: Host, vni: int) -> str:
    """Return the name of a network's namespace."""
    return f"{host.prefix}{vni}"


def transit(vni: int) -> tuple[str, str]:
    """Return a network's /31: its own address, and the node's."""
    first = TRANSIT[2 * (vni % SLOTS)]
    return str(first), str(first + 1)


def vtep_mac(vtep: str) -> str:
    """Return the MAC of a node's VXLAN devices."""
    return "02:01:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(vtep).packed)


def node_sysctls(host: Host) -> dict[str, str]:
    """Return what the node's namespace is set to: strict towards networks, a router otherwise."""
    return {
        "ipv4/ip_forward": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "1",
        f"ipv4/conf/{host.uplink}/rp_filter": "0",
        "ipv4/conf/all/send_redirects": "0",
        f"ipv4/conf/{host.uplink}/send_redirects": "0",
        f"ipv4/neigh/{host.uplink}/proxy_delay": "0",
    }


def network_sysctls() -> dict[str, str]:
    """Return what a network's namespace is set to before it has devices."""
    return {
        "ipv4/ip_forward": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "0",
        "ipv4/conf/default/proxy_arp": "1",
        "ipv4/conf/all/send_redirects": "0",
        "ipv4/conf/default/send_redirects": "0",
    }


def device_sysctls() -> dict[str, str]:
    """Return what its own devices are set to: only guests are answered for."""
    return {"ipv4/conf/uplink/proxy_arp": "0", "ipv4/conf/vx/proxy_arp": "0"}


def node_table(host: Host) -> str:
    """Return the base chains of the node's namespace, made once."""
    return f"""table inet up {{
 set vteps {{ type ipv4_addr; }}
 set public {{ type ipv4_addr; }}
 chain forward {{
  type filter hook forward priority filter; policy drop;
  iifname "{host.uplink}" oifname "{host.uplink}" drop
  ct state established,related accept
  oifname "n-*" ip daddr @public accept
  iifname "n-*" oifname "{host.uplink}" ip daddr != {{ {host.underlay}, 169.254.0.0/16 }} accept
 }}
 chain input {{
  type filter hook input priority filter; policy accept;
  iifname "n-*" ct state established,related accept
  iifname "n-*" drop
  iifname "{host.uplink}" udp dport {PORT} ip saddr != @vteps drop
 }}
 chain post {{
  type nat hook postrouting priority srcnat;
  ip saddr {TRANSIT} snat to {host.node_address}
 }}
}}
"""


def network_table(network: NodeNetwork) -> str:
    """Return the base chains of a network's namespace, made once, before its devices."""
    inner, (mine, _) = _set(network.cidrs), transit(network.vni)
    return f"""table inet net {{
 set nic4 {{ type ifname . ether_addr . ipv4_addr; }}
 map pub2priv {{ type ipv4_addr : ipv4_addr; }}
 map priv2pub {{ type ipv4_addr : ipv4_addr; }}
 map outof {{ type ifname : verdict; }}
 map into {{ type ifname : verdict; }}
 chain spoof {{
  type filter hook prerouting priority raw; policy drop;
  iifname {{ "lo", "uplink", "vx" }} accept
  iifname . ether saddr . ip saddr @nic4 accept
 }}
 chain input {{
  type filter hook input priority filter; policy drop;
  ct state established,related accept
  icmp type echo-request limit rate 100/second accept
 }}
 chain egress {{
  type filter hook forward priority filter - 1; policy drop;
  iifname "uplink" oifname "uplink" drop
  iifname "vx" ip saddr != {inner} drop
  oifname "vx" ip saddr != {inner} drop
  iifname "vx" oifname "vx" accept
  ct state vmap {{ established : accept, related : accept, invalid : drop }}
  iifname {{ "uplink", "vx" }} accept
  iifname vmap @outof
 }}
 chain ingress {{
  type filter hook forward priority filter; policy drop;
  iifname "vx" oifname "vx" accept
  ct state vmap {{ established : accept, related : accept, invalid : drop }}
  oifname {{ "uplink", "vx" }} accept
  oifname vmap @into
 }}
 chain pre {{
  type nat hook prerouting priority dstnat;
  dnat ip to ip daddr map @pub2priv
 }}
 chain post {{
  type nat hook postrouting priority srcnat;
  oifname "uplink" snat ip to ip saddr map @priv2pub
  oifname "uplink" meta nfproto ipv4 snat ip to {mine}
  ct status dnat snat ip to ip saddr map @priv2pub
 }}
}}
table arp net {{
 set nic {{ type ifname . ether_addr . ipv4_addr; }}
 chain input {{
  type filter hook input priority filter; policy drop;
  iifname "uplink" accept
  iifname . arp saddr ether . arp saddr ip @nic accept
 }}
}}
"""


def elements(network: NodeNetwork) -> str:
    """Return one transaction that makes the sets hold exactly these NICs."""
    nics = network.local
    ports = [f'"{nic.tap}" . {nic.mac} . {nic.address}' for nic in nics]
    open_to_all = [f'"{nic.tap}" : accept' for nic in nics]
    inward = [f"{public} : {nic.address}" for nic in nics for public in nic.publics]
    outward = [f"{nic.address} : {nic.publics[0]}" for nic in nics if nic.publics]
    return "".join(
        (
            _refill("inet net nic4", ports, "set"),
            _refill("arp net nic", ports, "set"),
            _refill("inet net outof", open_to_all, "map"),
            _refill("inet net into", open_to_all, "map"),
            _refill("inet net pub2priv", inward, "map"),
            _refill("inet net priv2pub", outward, "map"),
        )
    )


def node_elements(networks: Iterable[NodeNetwork]) -> str:
    """Return one transaction for the node's own sets."""
    there = list(networks)
    vteps = sorted({nic.vtep for network in there for nic in network.remote})
    publics = sorted(
        {public for network in there for nic in network.local for public in nic.publics}
    )
    return _refill("inet up vteps", vteps, "set") + _refill("inet up public", publics, "set")


def links(host: Host, network: NodeNetwork) -> tuple[str, str]:
    """Return the lines for the node's namespace and for the network's, that make its devices."""
    name, (mine, nodes), vni = namespace(host, network.vni), transit(network.vni), network.vni
    in_node = [
        f"link add n-{vni} type veth peer name uplink netns {name}",
        f"addr add {nodes}/31 dev n-{vni}",
        f"link set dev n-{vni} up",
        f"link add vx-{vni} type vxlan id {vni} local {host.vtep} dstport {PORT} nolearning",
        f"link set dev vx-{vni} alias {network.key}",
        f"link set dev vx-{vni} netns {name} name vx address {vtep_mac(host.vtep)} mtu {host.mtu}",
    ]
    in_network = [
        f"addr add {GATEWAY}/32 dev lo",
        f"addr add {mine}/31 dev uplink",
        "link set dev lo up",
        "link set dev uplink up",
        "link set dev vx up",
        f"route add default via {nodes}",
        *(f"route add unreachable {cidr}" for cidr in network.cidrs),
    ]
    return _lines(in_node), _lines(in_network)


def peers(network: NodeNetwork) -> tuple[str, str]:
    """Return the lines for `ip` and for `bridge` by which other nodes are known."""
    vteps = sorted({nic.vtep for nic in network.remote})
    known = [f"neigh replace {v} lladdr {vtep_mac(v)} dev vx nud permanent" for v in vteps]
    sent = [f"fdb replace {vtep_mac(v)} dev vx dst {v} self permanent" for v in vteps]
    return _lines(known), _lines(sent)


def routes(network: NodeNetwork, taps: Iterable[str], has: dict[str, str]) -> str:
    """Return the lines that make the routes to NICs these; `has` is destination to `via` or tap."""
    there = set(taps)
    wanted = {nic.address: nic.tap for nic in network.local if nic.tap in there}
    for nic in network.remote:
        wanted.setdefault(nic.address, nic.vtep)
    local = {nic.address: nic for nic in network.local}
    lines = [f"route del {address}/32" for address in sorted(has.keys() - wanted.keys())]
    for address, where in sorted(wanted.items()):
        if has.get(address) == where:
            continue
        if address in local and local[address].tap == where:
            lines += _port(local[address])
        else:
            lines.append(f"route replace {address}/32 via {where} dev vx onlink")
    return _lines(lines)


def _port(nic: LocalNic) -> list[str]:
    return [
        f"link set dev {nic.tap} address {GATEWAY_MAC} up",
        f"neigh replace {nic.address} lladdr {nic.mac} dev {nic.tap} nud permanent",
        f"route replace {nic.address}/32 dev {nic.tap}",
    ]


def port(nic: LocalNic) -> str:
    """Return the lines that put a new tap in its place."""
    return _lines(_port(nic))


def answered(host: Host, network: NodeNetwork, publics: Sequence[str]) -> str:
    """Return the lines by which the node answers for public addresses."""
    mine, _ = transit(network.vni)
    return _lines(
        line
        for public in publics
        for line in (
            f"route replace {public}/32 via {mine} dev n-{network.vni}",
            f"neigh replace proxy {public} dev {host.uplink}",
        )
    )


def withdrawn(host: Host, publics: Sequence[str]) -> str:
    """Return the lines by which the node no longer answers."""
    return _lines(
        line
        for public in publics
        for line in (f"neigh del proxy {public} dev {host.uplink}", f"route del {public}/32")
    )


def gratuitous_arp(mac: bytes, public: str) -> bytes:
    """Return the frame that tells all neighbours who has an address now."""
    packed = ipaddress.IPv4Address(public).packed
    head = b"\xff" * 6 + mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01"
    return head + mac + packed + b"\x00" * 6 + packed


def key_of(alias: str) -> Key:
    """Return the network that a VXLAN device says it is of."""
    return Key(alias)


def _refill(name: str, members: Sequence[str], what: str) -> str:
    flush = f"flush {what} {name}\n"
    return flush + (f"add element {name} {{ {', '.join(members)} }}\n" if members else "")


def _set(members: Sequence[str]) -> str:
    return "{ " + ", ".join(members) + " }"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
