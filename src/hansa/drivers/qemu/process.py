"""Processes that outlive us: to start, to find, to watch and to reap them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hansa.drivers.qemu import parse

_TAIL_BYTES = 2000


def spawn(argv: Sequence[str], cwd: Path, log: Path, fds: Sequence[int] = ()) -> int:
    """Return the process that runs `argv`: in a session of its own, with no pipe to us."""
    with log.open("ab") as said:
        child = subprocess.Popen(  # noqa: S603 - argv comes from build.py
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=fds,
            start_new_session=True,
        )
    child.returncode = 0  # It shall outlive us, and we reap it: Popen has no more part in it.
    return child.pid


def identity(pid: int, guests: Path) -> parse.Identity | None:
    """Return which guest a process is, if it is one that runs in a directory of `guests`."""
    try:
        if Path(f"/proc/{pid}/cwd").readlink().parent != guests:
            return None
        return parse.identity(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return None  # It is gone, or a zombie.


def scan(guests: Path) -> dict[int, parse.Identity]:
    """Return all guests that run, by process."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {pid: which for pid in pids if (which := identity(pid, guests))}


async def ended(pidfd: int, timeout_s: float) -> bool:
    """Wait until the process has ended; False if it has not in this time."""
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()
    loop.add_reader(pidfd, is_over.set)
    try:
        await asyncio.wait_for(is_over.wait(), timeout_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True


def kill(pidfd: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to exactly this process, if it is still there."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def reap(pid: int) -> int | None:
    """Return the wait status of a process that ended, if it was our child."""
    try:
        return os.waitpid(pid, os.WNOHANG)[1]
    except ChildProcessError:
        return None


def tail(log: Path) -> str:
    """Return the last of what a process said."""
    try:
        return log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
    except OSError as error:
        return str(error)


def bound(log: Path, limit_bytes: int) -> None:
    """Keep a log from growing: who writes it must append, so that it can be cut under its pen."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > limit_bytes:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
