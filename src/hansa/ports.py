"""The outside world, on one page: everything the shells may ask of it, and what it reports.

Lengths of time are microseconds; sizes are GiB where the name says `gb` (as SECA's), else bytes.
Every method may raise `DriverError` with a stable code; what is repeated is harmless.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

from hansa.model.envelope import Key
from hansa.model.stamp import Stamp


class Clock(Protocol):
    """Time, as whole microseconds of a clock that nobody sets, and as the date."""

    def now_us(self) -> int:
        """Return the microseconds since this clock's epoch; it runs on through suspend."""
        ...

    def today(self) -> datetime:
        """Return the instant in UTC."""
        ...


class Row(NamedTuple):
    """One stored noun as of a revision; `data` is None where it was deleted."""

    kind: str
    key: str
    revision: Stamp
    schema: int
    data: bytes | None


class Store(Protocol):
    """The rows and the change log of one region.  Blocking: the shell calls it in one thread."""

    def load(self) -> tuple[Stamp, list[Row]]:
        """Return the revision and all live rows; (1, 0) and nothing of a new store."""
        ...

    def commit(self, expected: Stamp, revision: Stamp, rows: Sequence[Row]) -> None:
        """Write rows and log entry at once, durable on return.

        Raises StaleRevisionError if the store is not at `expected`, and StoreFullError if there
        was no space: then nothing has changed.  After any other error what is on disk is unknown,
        and the caller must start anew from `load`.
        """
        ...

    def changes(self, since: Stamp, limit: int) -> list[Row]:
        """Return what changed after `since`, oldest first, whole commits only, about `limit` rows.

        Raises TrimmedError if the log does not reach back that far.
        """
        ...

    def trim(self, keep: int) -> None:
        """Forget all but the last `keep` commits of the log."""
        ...

    def backup(self, path: str) -> None:
        """Write a whole and consistent copy into one new file; raises if it exists."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class Plug(msgspec.Struct, frozen=True, kw_only=True):
    """One NIC of a machine, as the hypervisor sees it."""

    tap: str
    mac: str
    mtu: int = 1450


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine begins: by a kernel, if there is one, else from its first disk."""

    machine: Literal["microvm", "q35"] = "q35"
    firmware: Literal["BIOS", "UEFI"] = "UEFI"
    kernel: str = ""  # A path on the node, as are the next.
    initrd: str = ""
    cmdline: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What of an instance a hypervisor has to know, all references resolved."""

    key: Key
    epoch: Stamp
    life: int = 0  # How often it was begun anew under this epoch, by restart or after a crash.
    vcpus: int
    ram_gb: int
    disks: tuple[str, ...]  # Paths on the node; the first is booted from.
    seed: str = ""  # Path of its NoCloud image, if it has one.
    plugs: tuple[Plug, ...] = ()
    boot: Boot = Boot()
    is_fenced: bool = False  # Then it is a child of the leash.


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that is there, found by looking: at the process table and at QMP."""

    key: Key
    epoch: Stamp
    life: int
    pid: int
    is_fenced: bool = False


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that is gone: by itself (`shutdown`), by us, by the leash, or it crashed."""

    key: Key
    epoch: Stamp
    life: int
    reason: Literal["shutdown", "stopped", "fenced", "crashed"]
    detail: str = ""


class Hypervisor(Protocol):
    """Runs machines on one node; a guest outlives the process that started it."""

    async def start(self, machine: Machine, taps: Mapping[str, int]) -> Running:
        """Make it stand and let it run; `taps` are open fds by tap name, closed afterwards here.

        Returns when QMP says that it runs.  A guest of this very key, epoch and life that runs
        already is returned as it is.  Raises DriverError, and then nothing is left of it.
        """
        ...

    async def stop(self, key: Key, grace_us: int) -> None:
        """Make no guest of this key run: ask it by ACPI, after `grace_us` kill it, and reap it."""
        ...

    async def found(self) -> list[Running]:
        """Return all guests of this node that run, also those that a former process started."""
        ...

    async def exits(self) -> list[Exit]:
        """Wait until a guest is gone, and return all that went since the last call."""
        ...

    async def renew(self, deadline_us: int) -> int:
        """Let fenced guests live until then (CLOCK_BOOTTIME); return the deadline that holds.

        0 asks only.  The leash never shortens it.
        """
        ...

    async def audit(self, key: Key) -> dict[str, object]:
        """Return what QMP says: `status`, `vcpus`, `ram_bytes`, `disks` (paths), `macs`."""
        ...

    def files(self, key: Key) -> dict[str, str]:
        """Return paths by use: `serial_log` (a file), `console` (a unix socket)."""
        ...

    async def close(self) -> None:
        """Let go of the guests, which run on."""
        ...


class DiskFile(msgspec.Struct, frozen=True, kw_only=True):
    """A disk on a node, found by looking: the epoch it was made under is in its name."""

    key: Key
    epoch: Stamp
    path: str = ""


class Disks(Protocol):
    """Writable disks of one node: qcow2 overlays over read-only images."""

    async def make(self, key: Key, epoch: Stamp, size_gb: int, backing: str) -> str:
        """Make it whole or not at all, over a blob's path or "" for an empty one; return its path.

        One that is there is grown if it is smaller, and otherwise left alone.  Raises DriverError
        `disk-full` if the node has not the space for it.
        """
        ...

    async def delete(self, key: Key, epoch: Stamp) -> None:
        """Make it not be there."""
        ...

    async def found(self) -> list[DiskFile]:
        """Return all that are there."""
        ...

    async def audit(self, key: Key, epoch: Stamp) -> dict[str, object]:
        """Return what qemu-img says: `size_bytes`, `used_bytes`, `backing` (a path or "")."""
        ...

    def free_bytes(self) -> int:
        """Return the space that is left."""
        ...


class Blobs(Protocol):
    """Read-only content by SHA-256 (hex), verified before it is there."""

    async def fetch(self, digest: str, size_bytes: int) -> str:
        """Have it here, resuming what was begun, and return its path.

        Raises DriverError `digest-mismatch`, `disk-full` or `unreachable`.
        """
        ...

    def path(self, digest: str) -> str | None:
        """Return where it is, if it is here."""
        ...

    def found(self) -> list[str]:
        """Return the digests of all that are here."""
        ...

    async def seed(self, key: Key, epoch: Stamp, files: Mapping[str, bytes]) -> str:
        """Write a NoCloud image (label cidata) of these files; return its path, mode 0600."""
        ...

    async def drop_seed(self, key: Key) -> None:
        """Make none of this key be there."""
        ...


class LocalNic(msgspec.Struct, frozen=True, kw_only=True):
    """A NIC of a guest of this node."""

    tap: str  # Unique on the node, 15 characters at most.
    mac: str
    address: str
    publics: tuple[str, ...] = ()  # Translated 1:1; the first is that of what it sends.


class RemoteNic(msgspec.Struct, frozen=True, kw_only=True):
    """A NIC of a guest elsewhere."""

    address: str
    vtep: str


class NodeNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """All that one node must know of one network: a whole desired set."""

    key: Key
    vni: int
    cidrs: tuple[str, ...]  # IPv4.
    local: tuple[LocalNic, ...] = ()
    remote: tuple[RemoteNic, ...] = ()


class Networks(Protocol):
    """The networks of one node, each a namespace with routed ports (facts: network.md)."""

    async def apply(self, networks: Sequence[NodeNetwork]) -> None:
        """Bring the node to exactly this set; running guests keep their taps.

        NICs whose tap is not there yet get their rules only.  What is not named is removed:
        rules and routes at once, a namespace when no tap is left in it.
        """
        ...

    async def open_tap(self, network: Key, tap: str) -> int:
        """Make the tap of a NIC that was applied, put it in place, and return its fd."""
        ...

    async def audit(self) -> Mapping[Key, NodeNetwork]:
        """Return what is really there, read back from the kernel; only NICs whose tap is there."""
        ...


class Telegraph(Protocol):
    """Messages by subject, that may be lost, late, doubled: NATS."""

    async def send(self, subject: str, data: bytes) -> None:
        """Send it, or lose it."""
        ...

    async def receive(self) -> tuple[str, bytes]:
        """Wait for the next message of what is subscribed to; return its subject and data."""
        ...
