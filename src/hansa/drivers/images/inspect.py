"""Looking at an image that a stranger sent, before any tool opens it; and making it ours."""

import asyncio
from pathlib import Path

from hansa.drivers.images import build, parse, tool
from hansa.errors import DriverError


async def inspect_image(path: Path) -> parse.ImageFacts:
    """Return what it is; raises DriverError image-invalid, image-has-backing or -data-file."""
    facts = await asyncio.to_thread(_look, path)
    if facts.format == "qcow2":
        try:
            info = parse.disk_info(await tool.run(build.inspect(str(path))))
        except DriverError as error:
            raise DriverError("image-invalid", str(error), retryable=False) from error
        if info.full_backing_filename:
            raise DriverError("image-has-backing", info.full_backing_filename, retryable=False)
    return facts


async def prepare(path: Path) -> Path:
    """Return a qcow2 of it: itself, or one made beside it, `PATH.qcow2`."""
    facts = await inspect_image(path)
    if facts.format == "qcow2":
        return path
    made = path.with_name(f"{path.name}.qcow2")
    try:
        await tool.run(build.convert(str(path), str(made)))
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    return made


def _look(path: Path) -> parse.ImageFacts:
    with path.open("rb") as file:
        return parse.image(file.read(parse.HEAD_BYTES), path.stat().st_size)
