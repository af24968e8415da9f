"""Content of a node that is only remembered."""

import hashlib
from collections.abc import Mapping

from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp

_GIB = 1 << 30


class FakeBlobs:
    """The port `Blobs` in memory; `source` is the region, and may be changed under it."""

    def __init__(
        self,
        source: dict[str, bytes],
        free_bytes: int = 100 * _GIB,
        margin_bytes: int = _GIB,
    ) -> None:
        """Begin with nothing here."""
        self._source, self._free_bytes, self._margin_bytes = source, free_bytes, margin_bytes
        self._there: set[str] = set()
        self.seeds: dict[tuple[Key, Stamp], dict[str, bytes]] = {}

    async def fetch(self, digest: str, size_bytes: int) -> str:
        """Have it here, if the source has it and it is what it says."""
        if digest not in self._there:
            if self._free_bytes - size_bytes < self._margin_bytes:
                raise DriverError("disk-full", f"{self._free_bytes} bytes are free")
            if len(self._source.get(digest, b"")) < size_bytes:
                raise DriverError("unreachable", f"{digest}: the source has not all of it")
            if hashlib.sha256(self._source[digest]).hexdigest() != digest:
                raise DriverError("digest-mismatch", f"{digest}: what came is something else")
            self._there.add(digest)
        return f"/nowhere/{digest}"

    def path(self, digest: str) -> str | None:
        """Return where it is, if it is here."""
        return f"/nowhere/{digest}" if digest in self._there else None

    def found(self) -> list[str]:
        """Return the digests of all that are here."""
        return sorted(self._there)

    async def seed(self, key: Key, epoch: Stamp, files: Mapping[str, bytes]) -> str:
        """Remember the files."""
        self.seeds[key, epoch] = dict(files)
        return f"/nowhere/{key}@{epoch.incarnation}.{epoch.counter}.iso"

    async def drop_seed(self, key: Key) -> None:
        """Forget those of this key."""
        self.seeds = {which: files for which, files in self.seeds.items() if which[0] != key}
