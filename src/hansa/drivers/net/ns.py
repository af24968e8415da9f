"""Doing things in another network namespace: a thread goes there, and comes back."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hansa.errors import DriverError

TELLING: Final[Mapping[str, list[str]]] = {
    "ip": ["ip", "-batch", "-"],
    "bridge": ["bridge", "-batch", "-"],
    "nft": ["nft", "-f", "-"],
    "conntrack": ["conntrack", "-R", "-"],
}
ASKING: Final[Mapping[str, list[str]]] = {
    "ip": ["ip", "-j", "-d", "-batch", "-"],
    "bridge": ["bridge", "-j", "-batch", "-"],
    "nft": ["nft", "-j", "list", "ruleset"],
}

_HOME = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TAP = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_ARP = 0x0806
_TIMES = 3  # One frame may be lost.
_TOOL_S = 30.0
_libc = ctypes.CDLL(None, use_errno=True)


def names(prefix: str) -> list[str]:
    """Return the namespaces of networks: what is named by our prefix and a number."""
    try:
        found = sorted(path.name for path in _HOME.iterdir())
    except FileNotFoundError:  # Of a machine that never had one.
        return []
    return [n for n in found if n.startswith(prefix) and n.removeprefix(prefix).isdigit()]


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Put this thread into a namespace; what is opened there stays there.  "" stays here."""
    if not name:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter_named(name)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def run(name: str, argv: Sequence[str], text: str) -> bytes:
    """Run a tool inside, telling it this; return what it says.  Raises DriverError."""
    try:
        with inside(name):
            done = subprocess.run(  # noqa: S603 - a tool of ours, told by text that we built
                argv, input=text.encode(), capture_output=True, check=False, timeout=_TOOL_S
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError("network-failed", f"{argv[0]} in {name}: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise DriverError("network-failed", f"{argv[0]} in {name}: {said}\n{text}")
    return done.stdout


def write_sysctls(name: str, text: str) -> None:
    """Write `path=value` a line under /proc/sys/net; names of devices may have dots."""
    try:
        with inside(name):
            for line in text.split():
                path, _, value = line.partition("=")
                Path("/proc/sys/net", path).write_text(value)
    except OSError as error:
        raise DriverError("network-failed", f"sysctl in {name}: {error}") from error


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


def announce(
    name: str, device: str, addresses: Sequence[str], frame: Callable[[bytes, str], bytes]
) -> None:
    """Tell a device's neighbours that these addresses are here now."""
    try:
        with inside(name), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((device, _ARP))
            mac = sock.getsockname()[4]
            for address in [*addresses] * _TIMES:
                sock.send(frame(mac, address))
    except OSError as error:
        raise DriverError("network-failed", f"{device} in {name}: {error}") from error


def _enter_named(name: str) -> None:
    there = os.open(_HOME / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(there)
    finally:
        os.close(there)


def _enter(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
