"""What a node's networks look like as data: settings, what is there or wished, steps between."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Elements = Mapping[str, Mapping[str, str]]
"""Members of nft's sets by set, like `inet net nic4`; of maps with their value, else ""."""

Answers = Mapping[str, tuple[str, str]]
"""The route to a public address, and the NIC's address, by public address."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's networks have in common."""

    prefix: str  # Of its networks' namespaces: /run/netns is one for the machine.
    uplink: str
    vtep: str
    node_address: str  # What those without a public address are seen as.
    underlay: str  # The block of the nodes' VTEPs: no guest gets there.
    mtu: int = 1450
    tcp_ports: tuple[int, ...] = (22,)  # Of the node itself, open to the outside.


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    """A network's namespace, as it is or as it is to be."""

    key: str = ""  # Said last when it is made: one without it is not whole.
    mark: str = ""  # Of the base chains that it has.
    slot: int = -1  # Which /31 leads to the node.
    links: frozenset[str] = frozenset()
    taps: Mapping[str, bool] = {}  # Whether each is up, with the gateway's MAC.
    elements: Elements = {}
    routes: Mapping[str, str] = {}  # By destination, as `ip route replace` reads them.
    neighbours: Mapping[str, str] = {}  # MACs by `ADDRESS dev DEVICE`, permanent ones.
    fdb: Mapping[str, str] = {}  # VTEPs by MAC.


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    """The node's namespace."""

    mark: str = ""
    elements: Elements = {}
    routes: Mapping[str, str] = {}  # By public address.
    proxies: frozenset[str] = frozenset()


class Step(msgspec.Struct, frozen=True):
    """One call of a tool, in a network's namespace or ("") in the node's."""

    tool: Literal["ip", "bridge", "nft", "sysctl", "conntrack", "announce"]
    netns: str
    text: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What brings a node to what is wished: in order, but networks do not wait for each other."""

    first: tuple[Step, ...] = ()
    parts: tuple[tuple[Step, ...], ...] = ()  # One a network.
    last: tuple[Step, ...] = ()
    busy: tuple[str, ...] = ()  # Networks whose number is held by taps of another one.
