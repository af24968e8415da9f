"""Doing things in another network namespace: a thread goes there, and comes back."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TAP = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_ARP = 0x0806
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Put this thread into a namespace; what is opened there stays there.  "" stays here."""
    if not name:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _enter(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def set_sysctls(name: str, values: Mapping[str, str]) -> None:
    """Write under /proc/sys/net of a namespace."""
    with inside(name):
        for path, value in values.items():
            Path("/proc/sys/net", path).write_text(value)


def open_tap(name: str, tap: str) -> int:
    """Make a tap in a namespace, which its fd pins from now on; return the fd."""
    with inside(name):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", tap.encode(), _TAP))
    except OSError:
        os.close(fd)
        raise
    return fd


def shout(name: str, device: str, frame_of: Mapping[str, bytes]) -> None:
    """Send frames, three times each: one may be lost."""
    with inside(name), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((device, _ARP))
        for frame in [*frame_of.values()] * 3:
            sock.send(frame)


def mac_of(name: str, device: str) -> bytes:
    """Return the MAC of a device."""
    with inside(name), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((device, _ARP))
        mac: bytes = sock.getsockname()[4]
        return mac
