"""Addresses of a block: which is free, which is inside.  Pure; what is given back is free.

The first and the last of a block are reserved, .1 is not: the gateway is elsewhere.
"""

import ipaddress
from collections.abc import Collection

_SMALL = 31
"""From this prefix length on a block has no network and no broadcast address."""


def free_address(block: str, taken: Collection[str]) -> str | None:
    """Return the first free host of an IPv4 block, or None if all are taken."""
    network = ipaddress.IPv4Network(block)
    first, last = int(network.network_address), int(network.broadcast_address)
    edge = 0 if network.prefixlen >= _SMALL else 1
    for number in range(first + edge, last - edge + 1):
        text = str(ipaddress.IPv4Address(number))
        if text not in taken:
            return text
    return None


def inside(block: str, address: str) -> bool:
    """Tell whether an IPv4 address can be a host's in a block; what is none is not."""
    try:
        number = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    network = ipaddress.IPv4Network(block)
    edges = (network.network_address, network.broadcast_address)
    return number in network and (network.prefixlen >= _SMALL or number not in edges)
