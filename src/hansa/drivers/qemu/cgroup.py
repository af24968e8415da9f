"""A guest's limits: one cgroup (version 2), or one in each of two hierarchies (version 1)."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

from hansa.drivers.qemu import build
from hansa.ports import Machine

ROOT = Path("/sys/fs/cgroup")
_TRIES = 50


def name(home: Path) -> str:
    """Return the name of a guest's cgroups, which nodes on one machine do not share."""
    return f"hansa-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


def paths(name: str, root: Path = ROOT) -> list[Path]:
    """Return the directories of a guest's cgroups."""
    if (root / "cgroup.controllers").exists():
        return [root / name]
    return [root / "memory" / name, root / "cpu" / name]


def make(machine: Machine, name: str, root: Path = ROOT) -> list[Path]:
    """Return the cgroups in which the guest is limited; none where this host lets us make none."""
    made = paths(name, root)
    is_v2 = len(made) == 1
    try:
        if is_v2:
            (root / "cgroup.subtree_control").write_text("+cpu +memory")
        for path in made:
            path.mkdir(exist_ok=True)
        limits = build.limits_v2(machine) if is_v2 else build.limits_v1(machine)
        for place, limit in limits.items():
            controller, _, file = place.rpartition("/")
            (root / controller / name / file).write_text(limit)
    except OSError:
        drop(name, root)
        return []
    return made


def join(cgroups: list[Path], pid: int) -> None:
    """Put a process into them, before it has used anything."""
    for path in cgroups:
        (path / "cgroup.procs").write_text(str(pid))


async def remove(name: str) -> None:
    """Remove what a guest that ended leaves; the kernel may need a moment to let go of it."""
    for _ in range(_TRIES):
        if drop(name):
            return
        await asyncio.sleep(0.02)


def drop(name: str, root: Path = ROOT) -> bool:
    """Remove them if nobody is in them; return whether none is left."""
    there = paths(name, root)
    for path in there:
        with contextlib.suppress(OSError):
            path.rmdir()
    return not any(path.exists() for path in there)
