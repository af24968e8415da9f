"""The networks of a node, brought to what is desired over what is running: nothing is torn down."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from hansa.drivers.net import build, ns, parse
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.ports import LocalNic, NodeNetwork


class NetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says to its networks."""

    host: build.Host
    netns: str = ""  # The node's namespace; "" is the one that this process is in.


class RoutedNetworks:
    """Namespaces with routed ports, by `ip`, `bridge` and `nft` as text."""

    def __init__(self, settings: NetSettings) -> None:
        """Know nothing: what is there is asked of the kernel."""
        self._host, self._netns = settings.host, settings.netns
        self._nics: dict[str, tuple[int, LocalNic]] = {}  # By tap: VNI, and what was applied.

    async def apply(self, networks: Sequence[NodeNetwork]) -> None:
        """Bring the node to exactly this set."""
        await asyncio.to_thread(self._apply, networks)

    async def open_tap(self, network: Key, tap: str) -> int:
        """Make the tap of a NIC that was applied, put it in place, and return its fd."""
        if tap not in self._nics:
            raise DriverError("network-failed", f"tap {tap} of {network} was not applied")
        return await asyncio.to_thread(self._open_tap, tap)

    async def audit(self) -> Mapping[Key, NodeNetwork]:
        """Return what is really there."""
        return await asyncio.to_thread(self._audit)

    async def remove(self) -> None:
        """Take away everything of this node."""
        await asyncio.to_thread(self._remove)

    def _apply(self, networks: Sequence[NodeNetwork]) -> None:
        self._prepare()
        there = self._namespaces()
        wanted = {network.vni: network for network in networks}
        gone = sorted(there.keys() - wanted.keys())
        answered = self._answered()
        self._withdraw(answered, wanted)
        for network in networks:
            if network.vni not in there:
                self._make(network)
            self._fill(network)
        self._nft(self._netns, build.node_elements(networks))
        for network in networks:
            self._answer(network, answered)
        for vni in gone:
            self._drop(vni)
        self._nics = {nic.tap: (vni, nic) for vni, net in wanted.items() for nic in net.local}

    def _prepare(self) -> None:
        """Set the node's namespace up, once."""
        tables = self._run(["nft", "-j", "list", "tables"], self._netns)
        if b'"name": "up"' in tables or b'"name":"up"' in tables:
            return
        ns.set_sysctls(self._netns, build.node_sysctls(self._host))
        self._nft(self._netns, build.node_table(self._host))

    def _make(self, network: NodeNetwork) -> None:
        """Make a network's namespace: rules before devices."""
        name = build.namespace(self._host, network.vni)
        self._run(["ip", "netns", "add", name])
        ns.set_sysctls(name, build.network_sysctls())
        self._nft(name, build.network_table(network))
        in_node, in_network = build.links(self._host, network)
        self._ip(self._netns, in_node)
        ns.set_sysctls(name, build.device_sysctls())
        self._ip(name, in_network)

    def _fill(self, network: NodeNetwork) -> None:
        """Bring NICs and routes of a network to what is wished: translation first."""
        name = build.namespace(self._host, network.vni)
        self._nft(name, build.elements(network))
        known, sent = build.peers(network)
        self._ip(name, known)
        self._ip(name, sent, tool="bridge")
        links = self._run(["ip", "-n", name, "-j", "link"])
        has = parse.host_routes(self._run(["ip", "-n", name, "-j", "route"]))
        self._ip(name, build.routes(network, parse.taps(links), has))

    def _withdraw(self, answered: Mapping[str, str], wanted: Mapping[int, NodeNetwork]) -> None:
        """Stop answering for what is not here any more, and forget its connections."""
        stays = {
            public: f"n-{vni}"
            for vni, network in wanted.items()
            for nic in network.local
            for public in nic.publics
        }
        gone = [public for public, device in answered.items() if stays.get(public) != device]
        if not gone:
            return
        self._ip(self._netns, build.withdrawn(self._host, gone))
        vnis = {int(answered[public].removeprefix("n-")) for public in gone}
        names = [self._netns, *(build.namespace(self._host, vni) for vni in sorted(vnis))]
        for name in names:
            for public in gone:
                for flag in ("-d", "-q"):
                    self._run(["conntrack", "-D", flag, public], name, may_fail=True)

    def _answer(self, network: NodeNetwork, answered: Mapping[str, str]) -> None:
        new = [
            public
            for nic in network.local
            for public in nic.publics
            if answered.get(public) != f"n-{network.vni}"
        ]
        if new:
            self._ip(self._netns, build.answered(self._host, network, new))
            mac = ns.mac_of(self._netns, self._host.uplink)
            frames = {public: build.gratuitous_arp(mac, public) for public in new}
            ns.shout(self._netns, self._host.uplink, frames)

    def _open_tap(self, tap: str) -> int:
        vni, nic = self._nics[tap]
        name = build.namespace(self._host, vni)
        try:
            fd = ns.open_tap(self._netns, tap)
        except OSError as error:
            raise DriverError("network-failed", f"tap {tap} was not made: {error}") from error
        try:
            self._ip(self._netns, f"link set dev {tap} netns {name}\n")
            self._ip(name, build.port(nic))
            ns.set_sysctls(name, {f"ipv4/neigh/{tap}/proxy_delay": "0"})
        except (DriverError, OSError):
            os.close(fd)  # And with it the tap.
            raise
        return fd

    def _drop(self, vni: int) -> None:
        self._run(["ip", "netns", "del", build.namespace(self._host, vni)])
        # The veth goes with its other end, a moment later; the number may be wanted again at once.
        self._run([*self._ip_in(self._netns), "link", "del", f"n-{vni}"], may_fail=True)

    def _namespaces(self) -> dict[int, str]:
        return parse.names(self._run(["ip", "-j", "netns"]), self._host.prefix)

    def _answered(self) -> dict[str, str]:
        routes = self._run([*self._ip_in(self._netns), "-j", "route"])
        proxies = self._run([*self._ip_in(self._netns), "-j", "neigh", "show", "proxy"])
        return parse.publics(routes, proxies)

    def _audit(self) -> dict[Key, NodeNetwork]:
        answered = self._answered()
        found: dict[Key, NodeNetwork] = {}
        for name in self._namespaces().values():
            about = self._run(["ip", "-n", name, "-j", "-d", "link", "show", "vx"])
            key, vni = parse.alias(about)
            found[Key(key)] = parse.network(
                key,
                vni,
                self._run(["ip", "-n", name, "-j", "link"]),
                self._run(["ip", "-n", name, "-j", "route"]),
                self._run(["nft", "-j", "list", "ruleset"], name),
                answered,
            )
        return found

    def _remove(self) -> None:
        for vni in self._namespaces():
            self._drop(vni)
        self._run(["nft", "delete", "table", "inet", "up"], self._netns, may_fail=True)

    def _ip_in(self, name: str) -> list[str]:
        return ["ip", "-n", name] if name else ["ip"]

    def _ip(self, name: str, lines: str, tool: str = "ip") -> None:
        if lines:
            flags = ["-n", name] if name else []
            self._run([tool, *flags, "-batch", "-"], given=lines)

    def _nft(self, name: str, text: str) -> None:
        self._run(["nft", "-f", "-"], name, given=text)

    def _run(
        self, argv: list[str], name: str = "", given: str = "", *, may_fail: bool = False
    ) -> bytes:
        """Run a tool, in a namespace if one is named; return what it says."""
        enter = ["nsenter", f"--net={Path('/run/netns') / name}"] if name else []
        done = subprocess.run(  # noqa: S603 - a tool of ours, told by text that we built
            [*enter, *argv], input=given.encode(), capture_output=True, check=False, timeout=30
        )
        if done.returncode and not may_fail:
            said = done.stderr.decode(errors="replace").strip()
            raise DriverError("network-failed", f"{' '.join(argv)}: {said}\n{given}".strip())
        return done.stdout
