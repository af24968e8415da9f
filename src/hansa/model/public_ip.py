"""PublicIp: an address that the outside reaches, translated to a NIC's one to one."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from hansa.model.address import Address, check_address
from hansa.model.envelope import Stateful, Status
from hansa.model.nic import Leased


class PublicIpSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Written by the tenant; without an address the region picks one of its pool."""

    version: Literal["IPv4", "IPv6"]
    address: Address | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        if isinstance(self.address, str):
            check_address(self.address, "address")


class PublicIpStatus(Status, frozen=True, kw_only=True, rename="camel"):
    """What a client sees."""

    ip_address: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class PublicIp(Stateful, frozen=True, kw_only=True):
    """One public address."""

    kind = "public-ip"
    example = b'{"spec":{"version":"IPv4"}}'
    spec: PublicIpSpec
    lease: Leased = Leased()

    @property
    def status(self) -> PublicIpStatus:
        """The view that clients see."""
        address, code = self.lease.address or UNSET, self.lease.code or UNSET
        return PublicIpStatus(**asdict(self.lifecycle), ip_address=address, code=code)
