"""Running qemu-img."""

import asyncio

from hansa.drivers.images import parse
from hansa.errors import DriverError


async def run(argv: list[str]) -> bytes:
    """Return what a command said; raises DriverError if it failed."""
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise DriverError("tool-missing", f"{argv[0]}: install qemu-utils") from error
    said, complaint = await child.communicate()
    if child.returncode:
        raise parse.failure(complaint.decode(errors="replace").strip())
    return said
