"""Disks of a node that are only remembered."""

from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.ports import DiskFile

_GIB = 1 << 30
_USED_BYTES = 196_616  # What an empty qcow2 takes.


class FakeDisks:
    """The port `Disks` in memory."""

    def __init__(self, free_bytes: int = 100 * _GIB, margin_bytes: int = _GIB) -> None:
        """Begin with no disk, and this much space."""
        self._free_bytes, self._margin_bytes = free_bytes, margin_bytes
        self._there: dict[tuple[Key, Stamp], tuple[int, str]] = {}

    async def make(self, key: Key, epoch: Stamp, size_gb: int, backing: str) -> str:
        """Remember it, or that it grew."""
        was_bytes, was_over = self._there.get((key, epoch), (0, backing))
        if was_bytes < size_gb * _GIB:
            if self._free_bytes < self._margin_bytes:
                raise DriverError("disk-full", f"{self._free_bytes} bytes are free")
            self._there[key, epoch] = size_gb * _GIB, was_over
        return self._path(key, epoch)

    async def delete(self, key: Key, epoch: Stamp) -> None:
        """Forget it."""
        self._there.pop((key, epoch), None)

    async def found(self) -> list[DiskFile]:
        """Return all that are there."""
        return [
            DiskFile(key=key, epoch=epoch, path=self._path(key, epoch))
            for key, epoch in self._there
        ]

    async def audit(self, key: Key, epoch: Stamp) -> dict[str, object]:
        """Return what qemu-img would say."""
        if (key, epoch) not in self._there:
            raise DriverError("disk-missing", f"{key} has no disk of {epoch} here")
        size_bytes, backing = self._there[key, epoch]
        return {"size_bytes": size_bytes, "used_bytes": _USED_BYTES, "backing": backing}

    def free_bytes(self) -> int:
        """Return the space that is left."""
        return self._free_bytes

    def _path(self, key: Key, epoch: Stamp) -> str:
        return f"/nowhere/{key}@{epoch.incarnation}.{epoch.counter}.qcow2"
