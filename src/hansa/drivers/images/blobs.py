"""Content of a node by its SHA-256: fetched in parts, verified, then read-only; and seeds."""

import asyncio
import hashlib
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from hansa.drivers.images import names, seed
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp

_GIB = 1 << 30
_DIGEST_CHARS = 64
_PART = ".part"


class Fetcher(Protocol):
    """Where blobs come from."""

    def fetch_range(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        """Yield the content from `offset` on; raises DriverError `unreachable`."""
        ...


class BlobCache:
    """The port `Blobs` in one directory."""

    def __init__(self, home: Path, fetcher: Fetcher, margin_bytes: int = _GIB) -> None:
        """Use `home`; a blob that would leave less than the margin free is not fetched."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._home, self._fetcher, self._margin_bytes = home.resolve(), fetcher, margin_bytes
        self._seeds = self._home / "seeds"
        self._seeds.mkdir(exist_ok=True, mode=0o700)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def fetch(self, digest: str, size_bytes: int) -> str:
        """Have it here, resuming what was begun, and return its path."""
        async with self._locks[digest]:
            there = self.path(digest)
            if there is None:
                there = await self._fetch(digest, size_bytes)
            return there

    def path(self, digest: str) -> str | None:
        """Return where it is, if it is here."""
        path = self._home / digest
        return str(path) if path.exists() else None

    def found(self) -> list[str]:
        """Return the digests of all that are here."""
        return sorted(
            entry.name
            for entry in self._home.iterdir()
            if len(entry.name) == _DIGEST_CHARS and not entry.suffix
        )

    async def seed(self, key: Key, epoch: Stamp, files: Mapping[str, bytes]) -> str:
        """Write a NoCloud image of these files; return its path, mode 0600."""
        path = self._seeds / names.of_epoch(key, epoch, ".iso")
        await asyncio.to_thread(lambda: names.write(path, seed.pack(files), 0o600))
        return str(path)

    async def drop_seed(self, key: Key) -> None:
        """Make none of this key be there."""
        for path in self._seeds.glob(f"{names.of_key(key)}@*"):
            path.unlink()

    async def _fetch(self, digest: str, size_bytes: int) -> str:
        part = self._home / f"{digest}{_PART}"
        part.touch(mode=0o600)
        so_far = part.stat().st_size
        free_bytes = shutil.disk_usage(self._home).free
        if free_bytes - (size_bytes - so_far) < self._margin_bytes:
            raise DriverError("disk-full", f"{free_bytes} bytes are free in {self._home}")
        with part.open("r+b") as file:
            hashed = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            if so_far < size_bytes:
                async for chunk in self._fetcher.fetch_range(digest, so_far):
                    await asyncio.to_thread(file.write, chunk)
                    hashed.update(chunk)
                    so_far += len(chunk)
                    if so_far > size_bytes:
                        break
        if so_far < size_bytes:
            raise DriverError("unreachable", f"{digest}: it ended at {so_far} of {size_bytes}")
        if hashed.hexdigest() != digest:
            part.unlink()
            raise DriverError("digest-mismatch", f"{digest}: what came is {hashed.hexdigest()}")
        part.chmod(0o400)
        path = self._home / digest
        await asyncio.to_thread(names.publish, part, path)
        return str(path)
