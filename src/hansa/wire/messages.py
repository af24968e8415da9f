"""Messages between a region and its nodes.

A version only adds members, each with a default, and unknown members are ignored: so either side
may be one version ahead of the other, and may be upgraded first.
"""

from typing import Literal

import msgspec

from hansa.errors import UnknownVersionError
from hansa.model.envelope import Key
from hansa.model.instance import OnOff, OnPartition
from hansa.model.node import Capacity
from hansa.model.stamp import Stamp
from hansa.ports import NodeNetwork

VERSION = 1


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """Content by its SHA-256 in hex."""

    digest: str
    size_bytes: int


class DiskWish(msgspec.Struct, frozen=True, kw_only=True):
    """One disk that the node is to keep; one that is under a lower epoch is void."""

    key: Key
    epoch: Stamp  # Of the grant under which it was, or is to be, made.
    size_gb: int
    image: Blob | None = None
    is_made: bool = False
    """The region heard that it was made: if it is missing now, it is lost, and not made anew."""


class NicWish(msgspec.Struct, frozen=True, kw_only=True):
    """One NIC of a guest."""

    network: Key
    tap: str
    mac: str
    address: str


class BootWish(msgspec.Struct, frozen=True, kw_only=True):
    """How the guest begins, as its image says."""

    machine: Literal["microvm", "q35"] = "q35"
    firmware: Literal["BIOS", "UEFI"] = "UEFI"
    kernel: Blob | None = None
    initrd: Blob | None = None
    cmdline: str = ""


class GuestWish(msgspec.Struct, frozen=True, kw_only=True):
    """One guest that the node is to have, all references resolved, under a grant's epoch."""

    key: Key
    epoch: Stamp
    power: OnOff
    on_partition: OnPartition = "stay"  # As granted.
    restarts: int = 0
    vcpus: int
    ram_gb: int
    disks: tuple[Key, ...] = ()  # The first is booted from.
    nics: tuple[NicWish, ...] = ()
    boot: BootWish = BootWish()
    user_data: str = ""  # The digest of what the node fetches by HTTPS: a secret is in no message.
    ssh_keys: tuple[str, ...] = ()


class GuestSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One guest that the node has, or of which it has something to tell."""

    key: Key
    epoch: Stamp
    power: OnOff
    restarts: int = 0  # Of the wish that it last followed.
    crashes: int = 0  # In this epoch.
    code: str = ""  # Why it is not as wished: a stable code,
    detail: str = ""  # and for people.


class DiskSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One disk that the node has, or failed to make."""

    key: Key
    epoch: Stamp
    is_made: bool = True
    code: str = ""
    detail: str = ""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    version: int = VERSION


class Heartbeat(_Message, frozen=True, kw_only=True):
    """Node to region: I live, and have read this generation."""

    node: str
    session: str  # Random at each start of the agent.
    number: int
    generation: Stamp


class Pull(_Message, frozen=True, kw_only=True):
    """Node to region: give me what is newer than this."""

    node: str
    generation: Stamp


class Status(_Message, frozen=True, kw_only=True):
    """Node to region: all that I have, having acted on this generation.  The latest wins."""

    node: str
    session: str
    number: int
    generation: Stamp
    guests: tuple[GuestSeen, ...]
    disks: tuple[DiskSeen, ...]
    capacity: Capacity


class Ack(_Message, frozen=True, kw_only=True):
    """Region to node: heard; your lease is this long from when you sent it."""

    session: str
    number: int
    lease_us: int


class Poke(_Message, frozen=True, kw_only=True):
    """Region to node: there is something newer; or, with `status`, say what you have."""

    incarnation: int
    wants_status: bool = False


class Document(_Message, frozen=True, kw_only=True):
    """Region to node: all that you are to have."""

    generation: Stamp
    guests: tuple[GuestWish, ...] = ()
    disks: tuple[DiskWish, ...] = ()
    networks: tuple[NodeNetwork, ...] = ()


class Ask(_Message, frozen=True, kw_only=True):
    """Region to node: tell me what only you can see."""

    ask: str  # Random: the answer carries it.
    what: Literal["audit", "log"]
    key: Key = Key("")
    tail_bytes: int = 65_536


class Answer(_Message, frozen=True, kw_only=True):
    """Node to region: what was asked for; of an audit, its findings as JSON."""

    node: str
    ask: str
    body: str


Message = Heartbeat | Pull | Status | Ack | Poke | Document | Ask | Answer
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
encode = msgspec.json.encode


def decode(data: bytes) -> Message:
    """Return the message in `data`.  Raises UnknownVersionError, or msgspec.DecodeError."""
    message = _DECODER.decode(data)
    if abs(message.version - VERSION) > 1:
        raise UnknownVersionError(f"version {message.version} is too far from {VERSION}")
    return message
