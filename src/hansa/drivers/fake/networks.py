"""The networks of a node, only remembered."""

import os
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.ports import NodeNetwork


class FakeNetworks:
    """The port `Networks` in memory.

    A tap is an fd that leads nowhere; it lives as long as its NIC is wished, whoever holds it.
    """

    def __init__(self) -> None:
        """Begin with no network."""
        self._networks: dict[Key, NodeNetwork] = {}
        self._taps: set[tuple[Key, str]] = set()

    async def apply(self, networks: Sequence[NodeNetwork]) -> None:
        """Have exactly this set."""
        self._networks = {network.key: network for network in networks}
        self._taps &= {(each.key, nic.tap) for each in networks for nic in each.local}

    async def open_tap(self, network: Key, tap: str) -> int:
        """Make the tap of a NIC that was applied."""
        known = self._networks.get(network)
        if known is None or tap not in {nic.tap for nic in known.local}:
            raise DriverError("network-failed", f"{tap} of {network} was not applied")
        self._taps.add((network, tap))
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    async def audit(self) -> Mapping[Key, NodeNetwork]:
        """Return what is there: only NICs whose tap is."""
        return {
            key: replace(
                network, local=tuple(n for n in network.local if (key, n.tap) in self._taps)
            )
            for key, network in self._networks.items()
        }

    async def remove(self) -> None:
        """Have none."""
        await self.apply([])
