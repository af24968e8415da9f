"""What files of a key are called: a hash and an epoch; and writing them whole or not at all.

Keys are longer than a file name may be, so the key itself stands in a small file beside.
"""

import hashlib
import os
import re
from pathlib import Path

from hansa.model.envelope import Key
from hansa.model.stamp import Stamp

_NAME = re.compile(r"([0-9a-f]{12})@(\d+)\.(\d+)\.[a-z0-9]+")


def of_key(key: Key) -> str:
    """Return what all files of a key begin with."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def of_epoch(key: Key, epoch: Stamp, suffix: str) -> str:
    """Return the name of the file of a key that was made under an epoch."""
    return f"{of_key(key)}@{epoch.incarnation}.{epoch.counter}{suffix}"


def parsed(name: str) -> tuple[str, Stamp] | None:
    """Return the hash and the epoch in a file's name, if it is one of these."""
    match = _NAME.fullmatch(name)
    return (match[1], Stamp(int(match[2]), int(match[3]))) if match else None


def write(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole, durably, or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    publish(new, path)


def publish(new: Path, path: Path) -> None:
    """Give a file that is whole its name, durably."""
    _sync(new)
    new.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
