"""The base chains of nft, made once: to replace them is not gapless, so changes are to their sets.

A chain without rules carries the digest of the text, so that a later text is told from it.
"""

from hashlib import sha256
from typing import Final

from hansa.drivers.net.shape import Host

TRANSITS: Final = "169.254.128.0/17"


def mark_of(text: str) -> str:
    """Return the name of the chain that says which text was loaded."""
    return "is-" + sha256(text.encode()).hexdigest()[:12]


def marked(family_tables: tuple[str, ...], text: str) -> str:
    """Return the transaction that makes these tables anew, with their mark."""
    anew = "".join(f"add table {each}\ndelete table {each}\n" for each in family_tables)
    return f"{anew}{text}add chain {family_tables[0]} {mark_of(text)}\n"


def node_table(host: Host) -> str:
    """Return the chains of the node's namespace.

    First of all, a node that has lost an address does not relay it back to where it came from.
    """
    uplink = host.uplink
    return f"""table inet up {{
 set vteps {{ type ipv4_addr; }}
 set public {{ type ipv4_addr; }}
 set ports {{ type inet_service; }}
 chain forward {{
  type filter hook forward priority filter; policy drop;
  iifname "{uplink}" oifname "{uplink}" drop
  ct state established,related accept
  oifname "n-*" ip daddr @public accept
  iifname "n-*" oifname "{uplink}" ip daddr != {{ {host.underlay}, 169.254.0.0/16 }} accept
 }}
 chain input {{
  type filter hook input priority filter; policy drop;
  ct state established,related accept
  iifname != "{uplink}" iifname != "n-*" accept
  iifname "{uplink}" ip saddr @vteps ip daddr {host.vtep} accept
  iifname "{uplink}" tcp dport @ports accept
 }}
 chain post {{
  type nat hook postrouting priority srcnat;
  ip saddr {TRANSITS} snat to {host.node_address}
 }}
}}
"""


def network_table(transit: str) -> str:
    """Return the chains of a network's namespace; what has no element in their sets is dropped.

    In egress the relays come before any verdict of conntrack: the packets of a NIC that has just
    left are half a connection.  Ingress is a base chain too: an accept in egress does not skip it.
    """
    return (
        _FILTERS
        + f""" chain pre {{
  type nat hook prerouting priority dstnat;
  dnat ip to ip daddr map @pub2priv
 }}
 chain post {{
  type nat hook postrouting priority srcnat;
  oifname "uplink" snat ip to ip saddr map @priv2pub
  oifname "uplink" meta nfproto ipv4 snat ip to {transit}
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
    )


_FILTERS = """table inet net {
 set inside { type ipv4_addr; flags interval; }
 set nic4 { type ifname . ether_addr . ipv4_addr; }
 map pub2priv { type ipv4_addr : ipv4_addr; }
 map priv2pub { type ipv4_addr : ipv4_addr; }
 map outof { type ifname : verdict; }
 map into { type ifname : verdict; }
 chain spoof {
  type filter hook prerouting priority raw; policy drop;
  iifname { "lo", "uplink", "vx" } accept
  iifname . ether saddr . ip saddr @nic4 accept
 }
 chain input {
  type filter hook input priority filter; policy drop;
  ct state established,related accept
  icmp type echo-request limit rate 100/second accept
 }
 chain egress {
  type filter hook forward priority filter - 1; policy drop;
  iifname "uplink" oifname "uplink" drop
  iifname "vx" ip saddr != @inside drop
  oifname "vx" ip saddr != @inside drop
  iifname "vx" oifname "vx" accept
  ct state vmap { established : accept, related : accept, invalid : drop }
  iifname { "uplink", "vx" } accept
  iifname vmap @outof
 }
 chain ingress {
  type filter hook forward priority filter; policy drop;
  iifname "vx" oifname "vx" accept
  ct state vmap { established : accept, related : accept, invalid : drop }
  oifname { "uplink", "vx" } accept
  oifname vmap @into
 }
"""
