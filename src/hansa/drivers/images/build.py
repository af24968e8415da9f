"""What the makers of images and disks are told, byte for byte.  Pure."""

import struct
from collections.abc import Mapping, Sequence

_SIGNED = b"~Module signature appended~\n"
_SIGNATURE_HEAD_BYTES = 8  # Before the length.
_DIRECTORY, _FILE, _LINK = 0o40755, 0o100755, 0o120777


def cpio(directories: Sequence[str], files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """Return an archive (newc) that a kernel takes as its first root; all is root's and runs."""
    entries = [
        *((name, _DIRECTORY, b"") for name in directories),
        *((name, _FILE, data) for name, data in files.items()),
        *((name, _LINK, target.encode()) for name, target in links.items()),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(_member(number, *entry) for number, entry in enumerate(entries, 1))


def _member(number: int, name: str, mode: int, data: bytes) -> bytes:
    """Return one entry: fields in hex, name and content, each filled up to four bytes."""
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def unsigned(module: bytes) -> bytes:
    """Return a kernel module without its signature, which takes long to verify in emulation."""
    if not module.endswith(_SIGNED):
        return module
    length_at = len(module) - len(_SIGNED) - 4
    (length,) = struct.unpack_from(">I", module, length_at)
    return module[: length_at - _SIGNATURE_HEAD_BYTES - length]


def syslinux(cmdline: str) -> str:
    """Return the boot menu of a disk that has one thing to boot."""
    return (
        "DEFAULT tiny\nPROMPT 0\nLABEL tiny\n  KERNEL vmlinuz\n  INITRD initrd\n"
        f"  APPEND console=ttyS0 {cmdline}\n"
    )


def create(path: str, size_bytes: int, backing: str) -> list[str]:
    """Return the command that makes a qcow2, over another if there is one."""
    over = ["-b", backing, "-F", "qcow2"] if backing else []
    return ["qemu-img", "create", "-q", "-f", "qcow2", *over, path, str(size_bytes)]


def resize(path: str, size_bytes: int) -> list[str]:
    """Return the command that grows a qcow2."""
    return ["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size_bytes)]


def info(path: str) -> list[str]:
    """Return the command that describes one of our own disks, also while a guest writes on it."""
    return ["qemu-img", "info", "--output=json", "-U", "-f", "qcow2", path]


def convert(path: str, to: str) -> list[str]:
    """Return the command that makes a qcow2 of a raw image."""
    return ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", path, to]


def inspect(path: str) -> list[str]:
    """Return the command that describes a stranger's qcow2, on a short rein."""
    rein = ["prlimit", "--as=1073741824", "--cpu=10"]
    return [*rein, "qemu-img", "info", "--output=json", "-f", "qcow2", path]
