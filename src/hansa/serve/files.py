"""Files as answers: whole or a range of them, read in a thread, sent as they are read."""

import asyncio
import os
from collections.abc import AsyncGenerator
from io import BufferedReader
from pathlib import Path
from typing import Final

from hansa.model.refusal import Refusal
from hansa.serve.http import Headers, Outcome, Request, stream

BYTES: Final = (b"content-type", b"application/octet-stream")
_CHUNK: Final = 1 << 18


async def send_file(request: Request, path: Path, headers: Headers = ()) -> Outcome:
    """Send a file, or the range of it that is asked for."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        return Refusal(code="not-found", message="there is no such content")
    with file:
        size = os.fstat(file.fileno()).st_size
        asked = request.header(b"range")
        found = _range(asked, size)
        if found is None:
            message = f'"{asked[:80]}" is no range of these {size} bytes'
            return Refusal(code="range-invalid", message=message, facts={"size": size})
        begin, end = found
        said = [*headers, BYTES, (b"content-length", b"%d" % (end - begin))]
        if asked:
            said.append((b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, size)))
        await stream(request, 206 if asked else 200, tuple(said), _read(file, begin, end))
    return None


def _range(said: str, size: int) -> tuple[int, int] | None:
    """Return the first byte that is asked for and that after the last; None if it is no range."""
    if not said:
        return 0, size
    unit, _, both = said.partition("=")
    first, dash, last = both.strip().partition("-")
    if unit != "bytes" or not dash or not all(each.isdigit() or not each for each in (first, last)):
        return None
    if first:
        begin, end = int(first), min(int(last) + 1, size) if last else size
    else:
        begin, end = max(0, size - int(last or 0)), size
    return (begin, end) if begin < end else None


async def _read(file: BufferedReader, begin: int, end: int) -> AsyncGenerator[bytes, None]:
    file.seek(begin)
    while begin < end:
        data = await asyncio.to_thread(file.read, min(_CHUNK, end - begin))
        if not data:
            raise OSError("the file became shorter while it was sent")
        begin += len(data)
        yield data
