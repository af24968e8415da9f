"""The networks of a node, brought to what is desired over what is running: nothing is torn down."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Mapping, Sequence

import msgspec

from hansa.drivers.net import build, ns, parse
from hansa.drivers.net.shape import Host, Inner, Outer, Step
from hansa.drivers.net.wish import namespace
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.ports import NodeNetwork

_TRIES = 3


class NetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says to its networks."""

    host: Host
    netns: str = ""  # Name of the node's namespace; "" is the one that the process is in.


class RoutedNetworks:
    """The port `Networks`: a namespace a network, a routed port a NIC.

    All it knows is what was wished last; what is there is asked of the kernel each time.
    """

    def __init__(self, settings: NetSettings) -> None:
        """Begin with no wish."""
        self._host, self._netns = settings.host, settings.netns
        self._wished: dict[Key, NodeNetwork] = {}
        self._turn = threading.Lock()  # Of threads: one whose caller was cancelled goes on.

    async def apply(self, networks: Sequence[NodeNetwork]) -> None:
        """Bring the node to exactly this set."""
        await asyncio.to_thread(self._apply, tuple(networks))

    async def open_tap(self, network: Key, tap: str) -> int:
        """Make the tap of a NIC that was applied, put it in place, and return its fd."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_tap, network, tap))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)  # The tap goes with its fd.
            raise

    async def audit(self) -> Mapping[Key, NodeNetwork]:
        """Return what is really there."""
        return await asyncio.to_thread(self._audit)

    async def remove(self) -> None:
        """Take away all that is there of these networks, and the node's table."""
        await asyncio.to_thread(self._remove)

    def _apply(self, networks: tuple[NodeNetwork, ...]) -> None:
        with self._turn:
            self._wished = {network.key: network for network in networks}
            # What goes by itself, like a tap with its guest, may go between looking and doing.
            tries = _TRIES
            while errors := self._once(networks):
                tries -= 1
                if not tries:
                    raise errors[0]

    def _once(self, networks: tuple[NodeNetwork, ...]) -> list[DriverError]:
        """Look, plan and do; a network that fails holds up no other."""
        try:
            plan = build.plan(self._host, networks, *self._look())
            self._run(plan.first)
        except DriverError as error:
            return [error]
        errors = [
            DriverError("network-busy", f"{key}: its number is held by guests of another network")
            for key in plan.busy
        ]
        for steps in (*plan.parts, plan.last):
            try:
                self._run(steps)
            except DriverError as error:
                errors.append(error)
        return errors

    def _open_tap(self, key: Key, tap: str) -> int:
        with self._turn:
            network = self._wished.get(key)
            if network is None or tap not in {nic.tap for nic in network.local}:
                raise DriverError("network-failed", f"{tap} of {key} was not applied")
            netns = namespace(self._host, network.vni)
            try:
                fd = ns.open_tap(self._netns, tap)
            except OSError as error:
                raise DriverError("network-failed", f"{tap} of {key}: {error}") from error
            try:
                self._run([Step("ip", "", f"link set dev {tap} netns {netns}\n")])
                inner = self._inner(netns)
                self._run(build.port(self._host, network, self._outer(), inner))
            except DriverError:
                os.close(fd)
                raise
            return fd

    def _audit(self) -> dict[Key, NodeNetwork]:
        with self._turn:
            return parse.networks(self._host, *self._look())

    def _remove(self) -> None:
        with self._turn:
            self._wished = {}
            outer, inners = self._look()
            self._run(build.removal(self._host, outer, inners))

    def _look(self) -> tuple[Outer, dict[str, Inner]]:
        found = ns.names(self._host.prefix)
        return self._outer(), {netns: self._inner(netns) for netns in found}

    def _outer(self) -> Outer:
        asked = "route show\nneigh show proxy\n"
        said, nft = self._ask("ip", "", asked), self._ask("nft", "")
        return parse.outer(said, nft, self._host.uplink)

    def _inner(self, netns: str) -> Inner:
        said = self._ask("ip", netns, "link show\nroute show\nneigh show nud permanent\n")
        fdb = self._ask("bridge", netns, "fdb show\n")
        return parse.inner(said, fdb, self._ask("nft", netns))

    def _ask(self, tool: str, netns: str, text: str = "") -> bytes:
        return ns.run(netns or self._netns, ns.ASKING[tool], text)

    def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            netns = step.netns or self._netns
            match step.tool:
                case "sysctl":
                    ns.write_sysctls(netns, step.text)
                case "announce":
                    frame = build.gratuitous_arp
                    ns.announce(netns, self._host.uplink, step.text.split(), frame)
                case tool:
                    ns.run(netns, ns.TELLING[tool], step.text)


def _close(opening: asyncio.Future[int]) -> None:
    with contextlib.suppress(DriverError):
        os.close(opening.result())
