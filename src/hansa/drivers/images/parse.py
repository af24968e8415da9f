"""What qemu-img says, and what the head of an image says of itself.  Pure."""

import struct
from typing import Literal

import msgspec

from hansa.errors import DriverError

HEAD_BYTES = 104
_QCOW2 = b"QFI\xfb"
_VERSIONS = 2, 3
_SECTOR = 512
_HAS_DATA_FILE = 1 << 2
# Of formats that are neither; taken as raw, such a disk would only never boot.
_OTHERS = {
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"# Disk Desc": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vhd",
    b"<<< ": "vdi",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is, as far as it may be believed."""

    format: Literal["raw", "qcow2"]
    virtual_bytes: int


class DiskInfo(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What qemu-img says of a disk of ours."""

    virtual_size: int
    actual_size: int
    full_backing_filename: str = ""


def disk_info(output: bytes) -> DiskInfo:
    """Return what `qemu-img info` said."""
    return msgspec.json.decode(output, type=DiskInfo)


def image(head: bytes, size_bytes: int) -> ImageFacts:
    """Return what an image is, from its first bytes; raises DriverError for what we do not take.

    Read here, and not by a tool, so that no file that it names is ever opened.
    """
    return _qcow2(head) if head.startswith(_QCOW2) else _raw(head, size_bytes)


def _raw(head: bytes, size_bytes: int) -> ImageFacts:
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise _refusal("invalid", f"it is {name}: neither raw nor qcow2")
    if size_bytes == 0 or size_bytes % _SECTOR:
        raise _refusal("invalid", f"a raw disk has whole sectors, not {size_bytes} bytes")
    return ImageFacts(format="raw", virtual_bytes=size_bytes)


def _qcow2(head: bytes) -> ImageFacts:
    if len(head) < HEAD_BYTES:
        raise _refusal("invalid", "its head is cut off")
    version, backing_at, _, _, virtual_bytes, crypt = struct.unpack_from(">IQIIQI", head, 4)
    if version not in _VERSIONS:
        raise _refusal("invalid", f"qcow2 of version {version}")
    if backing_at:
        raise _refusal("has-backing", "it needs another file: flatten it (qemu-img convert)")
    if version == _VERSIONS[1] and struct.unpack_from(">Q", head, 72)[0] & _HAS_DATA_FILE:
        raise _refusal("has-data-file", "its content is in another file")
    if crypt:
        raise _refusal("invalid", "it is encrypted")
    return ImageFacts(format="qcow2", virtual_bytes=virtual_bytes)


def failure(said: str) -> DriverError:
    """Return what it means that qemu-img failed, from what it said."""
    if "No space left" in said:
        return DriverError("disk-full", said)
    if "lock" in said:
        return DriverError("disk-busy", said)
    return DriverError("qemu-img", said)


def _refusal(what: str, why: str) -> DriverError:
    return DriverError(f"image-{what}", why, retryable=False)
