"""Disks of a node: qcow2 files over read-only images, each under the epoch it was made in."""

import asyncio
import shutil
from pathlib import Path

from hansa.drivers.images import build, names, parse, tool
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.ports import DiskFile

_GIB = 1 << 30


class QcowDisks:
    """The port `Disks` in one directory."""

    def __init__(self, home: Path, margin_bytes: int = _GIB) -> None:
        """Use `home`; with less than the margin free, no disk is made or grown."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._home, self._margin_bytes = home.resolve(), margin_bytes

    async def make(self, key: Key, epoch: Stamp, size_gb: int, backing: str) -> str:
        """Make it whole or not at all, or grow it; at least as large as what it is over."""
        path, size_bytes = self._path(key, epoch), size_gb * _GIB
        if path.exists():
            if (await self._info(path)).virtual_size < size_bytes:
                self._check_space()
                await tool.run(build.resize(str(path), size_bytes))
            return str(path)
        self._check_space()
        if backing:
            backing = self._real(backing)
            size_bytes = max(size_bytes, (await self._info(Path(backing))).virtual_size)
        key_file = self._home / f"{names.of_key(key)}.key"
        if not key_file.exists():
            await asyncio.to_thread(names.write, key_file, key.encode(), 0o600)
        new = path.with_suffix(".new")
        try:
            await tool.run(build.create(str(new), size_bytes, backing))
            new.chmod(0o600)
            await asyncio.to_thread(names.publish, new, path)
        finally:
            new.unlink(missing_ok=True)
        return str(path)

    async def delete(self, key: Key, epoch: Stamp) -> None:
        """Make it not be there, nor its key if it was the last."""
        self._path(key, epoch).unlink(missing_ok=True)
        if not list(self._home.glob(f"{names.of_key(key)}@*.qcow2")):
            (self._home / f"{names.of_key(key)}.key").unlink(missing_ok=True)

    async def found(self) -> list[DiskFile]:
        """Return all that are there."""
        return [
            DiskFile(
                key=Key((self._home / f"{which[0]}.key").read_text()),
                epoch=which[1],
                path=str(path),
            )
            for path in sorted(self._home.glob("*.qcow2"))
            if (which := names.parsed(path.name))
        ]

    async def audit(self, key: Key, epoch: Stamp) -> dict[str, object]:
        """Return what qemu-img says, also while a guest uses it."""
        path = self._path(key, epoch)
        if not path.exists():
            raise DriverError("disk-missing", f"{key} has no disk of {epoch} here")
        info = await self._info(path)
        return {
            "size_bytes": info.virtual_size,
            "used_bytes": info.actual_size,
            "backing": info.full_backing_filename,
        }

    def free_bytes(self) -> int:
        """Return the space that is left."""
        return shutil.disk_usage(self._home).free

    def _path(self, key: Key, epoch: Stamp) -> Path:
        return self._home / names.of_epoch(key, epoch, ".qcow2")

    def _real(self, path: str) -> str:
        """Return a path that means the same from everywhere."""
        return str(Path(path).resolve())

    def _check_space(self) -> None:
        free_bytes = self.free_bytes()
        if free_bytes < self._margin_bytes:
            raise DriverError("disk-full", f"{free_bytes} bytes are free in {self._home}")

    async def _info(self, path: Path) -> parse.DiskInfo:
        return parse.disk_info(await tool.run(build.info(str(path))))
