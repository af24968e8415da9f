"""Every NIC and public address has the address that takes effect, every network its number."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

import msgspec

from hansa.model.envelope import Key
from hansa.model.naming import resolve
from hansa.model.network import Network, Overlay
from hansa.model.nic import Leased, Nic
from hansa.model.public_ip import PublicIp
from hansa.model.state import Action, Commit, Set, State
from hansa.model.subnet import Subnet
from hansa.overlay.ipam import free_address, inside

_KINDS = (Nic.kind, PublicIp.kind, Network.kind, Subnet.kind)


class Pool(NamedTuple):
    """The public addresses that a region gives out, and those of the block that it does not."""

    block: str
    reserved: frozenset[str] = frozenset()


class Leases(msgspec.Struct, frozen=True):
    """The fold: whether anything that matters here changed since the last plan came to rest."""

    is_settled: bool = False

    @classmethod
    def of(cls, _state: State) -> Self:
        """Rebuild it: nothing is known to be settled."""
        return cls()

    def after(self, commit: Commit) -> Self:
        """Return it after a commit."""
        if any(change.kind in _KINDS for change in commit.changes):
            return type(self)(is_settled=False)
        return type(self)(is_settled=True)


def plan(state: State, leases: Leases, pool: Pool, _now_us: int) -> list[Action]:
    """Return the leases that are missing or no longer as declared."""
    if leases.is_settled:
        return []
    return [*_networks(state), *_nics(state), *_public(state, pool)]


def _networks(state: State) -> Iterator[Action]:
    taken = {network.overlay.vni for network in state.of(Network).values()}
    free = (number for number in range(1, 1 << 24) if number not in taken)
    for key, network in state.of(Network).items():
        if not network.overlay.vni:
            yield Set(kind=Network.kind, key=key, part=Overlay(vni=next(free)))


def _nics(state: State) -> Iterator[Action]:
    taken: dict[Key, set[str]] = {}
    homes: dict[Key, Key | None] = {}
    for key, nic in state.of(Nic).items():
        homes[key] = resolve(Subnet.kind, nic.spec.subnet_ref, nic.metadata)
        if homes[key]:
            addresses = {nic.lease.address, nic.wanted_address} - {""}
            taken.setdefault(_network_of(homes[key]), set()).update(addresses)
    for key, nic in state.of(Nic).items():
        lease = _lease(nic, state.of(Subnet).get(homes[key] or Key("")), taken, homes[key])
        if lease != nic.lease:
            taken.setdefault(_network_of(homes[key]), set()).add(lease.address)
            yield Set(kind=Nic.kind, key=key, part=lease)


def _network_of(subnet: Key | None) -> Key:
    return Key((subnet or "").rpartition("/")[0])


def _lease(
    nic: Nic, subnet: Subnet | None, taken: Mapping[Key, set[str]], home: Key | None
) -> Leased:
    if subnet is None or not subnet.block:
        return Leased(code="reference-unknown")
    if wanted := nic.wanted_address:
        is_inside = inside(subnet.block, wanted)
        return Leased(address=wanted) if is_inside else Leased(code="address-outside")
    if nic.lease.address and inside(subnet.block, nic.lease.address):
        return nic.lease
    free = free_address(subnet.block, taken[_network_of(home)])
    return Leased(address=free) if free else Leased(code="addresses-exhausted")


def _public(state: State, pool: Pool) -> Iterator[Action]:
    taken = {
        each
        for ip in state.of(PublicIp).values()
        for each in (ip.lease.address, ip.spec.address or "")
    }
    for key, ip in state.of(PublicIp).items():
        lease = ip.lease
        if isinstance(ip.spec.address, str):
            lease = Leased(address=ip.spec.address)
        elif not lease.address and ip.spec.version == "IPv4":
            free = free_address(pool.block, taken | pool.reserved)
            lease = Leased(address=free) if free else Leased(code="addresses-exhausted")
            taken.add(lease.address)
        if lease != ip.lease:
            yield Set(kind=PublicIp.kind, key=key, part=lease)
