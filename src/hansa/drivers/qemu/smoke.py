"""Whether KVM may be used: only where a guest has really booted with it, and in time."""

import asyncio
import os
from pathlib import Path
from typing import Literal

import msgspec

from hansa.drivers.qemu import build

READY = b"hansa-ready"
"""What the tiny image says on its serial port."""


class Accel(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and on what: another boot or another QEMU is tried anew."""

    accel: Literal["tcg", "kvm"]
    why: str
    boot_id: str
    qemu: str


async def pick_accel(
    home: Path, kernel: Path, initrd: Path, cmdline: str, *, limit_s: float = 5.0
) -> Accel:
    """Return what this host is to run guests with; tried once a boot, kept in HOME/accel.json."""
    kept = home / "accel.json"
    boot_id = _text(Path("/proc/sys/kernel/random/boot_id"))
    qemu = (await _run([build.PROGRAM, "--version"], None, 10.0)).decode().splitlines()[0]
    try:
        known = msgspec.json.decode(kept.read_bytes(), type=Accel)
        if (known.boot_id, known.qemu) == (boot_id, qemu):
            return known
    except (OSError, msgspec.MsgspecError):
        pass  # Then it is found out.
    accel: Literal["tcg", "kvm"] = "tcg"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        why = "there is no /dev/kvm that we may use"
    else:
        said = await _run(build.smoke(str(kernel), str(initrd), cmdline), READY, limit_s)
        if READY in said:
            accel, why = "kvm", "a guest booted"
        else:
            why = f"no guest booted within {limit_s:g} s: {said[-200:].decode(errors='replace')!r}"
    found = Accel(accel=accel, why=why, boot_id=boot_id, qemu=qemu)
    new = kept.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(found))
    new.rename(kept)
    return found


def measured_tsc_khz() -> int:
    """Return the clock of this host's processor, or 0 if it does not say."""
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            return round(float(value) * 1000)
    return 0


async def _run(argv: list[str], until: bytes | None, limit_s: float) -> bytes:
    """Return what it said: all, or up to some word, or within some time."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(limit_s):
            while (until is None or until not in said) and (data := await child.stdout.read(4096)):
                said += data
    except TimeoutError:
        pass  # What it said until then has to do.
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()
    return said


def _text(path: Path) -> str:
    return path.read_text().strip()
