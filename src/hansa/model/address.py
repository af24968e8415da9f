"""Addresses as text: checked when they are read; and those that follow from a name."""

import hashlib
import ipaddress
from typing import Annotated

from msgspec import Meta

Address = Annotated[str, Meta(min_length=2, max_length=39)]


def check_address(text: str, member: str) -> None:
    """Raise ValueError if `text` is no IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{member} is an IP address like 10.0.1.5, not {text}") from None


def check_block(text: str, member: str) -> None:
    """Raise ValueError if `text` is no IPv4 block; one whose host bits are not zero is none."""
    try:
        ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"{member} is a block like 10.0.0.0/16, not {text}") from None


def mac_of(key: str) -> str:
    """Return the MAC of the NIC of this key: the same wherever it goes."""
    digest = hashlib.sha256(key.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, *digest[:4]))


def tap_of(key: str) -> str:
    """Return the name of the tap of the NIC of this key: 11 characters, no dots."""
    return "t" + hashlib.sha256(key.encode()).hexdigest()[:10]
