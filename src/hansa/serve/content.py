"""Content of images: comes in pieces, resumes where it stopped, is verified before it is there."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, cast

from msgspec.structs import replace

from hansa.model.envelope import Key
from hansa.model.image import BlobUse, Content, Image
from hansa.model.refusal import Refusal
from hansa.model.state import Action, Proposal, Set, State
from hansa.serve.backend import Backend
from hansa.serve.http import Reply, Request, json_reply

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_USES: Final = ("disk", "kernel", "initrd")
MARGIN_BYTES: Final = 256 << 20
"""Space that an upload leaves free."""
_CHUNK: Final = 1 << 20


class Piece(NamedTuple):
    """Which bytes of how many a request brings."""

    begin: int
    end: int  # The first that it does not bring.
    total: int


async def upload(backend: Backend, request: Request, key: Key) -> Reply | Refusal:
    """Take a piece of a blob; the last one makes it part of the image."""
    use = request.query("part") or "disk"
    if use not in _USES:
        message = f"part is disk, kernel or initrd, and not {use}"
        return Refusal(code="parameter-invalid", message=message)
    if key not in backend.state.of(Image):
        return Refusal(code="not-found", message=f"there is no image {key}")
    partial = _partial(backend, key, use)
    if request.method == "HEAD":
        return _progress(backend, key, use, partial)
    piece = _piece(request)
    if isinstance(piece, Refusal):
        return piece
    has = partial.stat().st_size if partial.exists() else 0
    if piece.begin == 0:
        has = 0  # From the start again: what was there is given up.
    if piece.begin != has:
        return _out_of_place(piece, has)
    free = shutil.disk_usage(partial.parent).free
    if free < piece.total - has + MARGIN_BYTES:
        message = (
            f"the region has {free >> 20} MiB free, and this needs {piece.total >> 20} MiB more"
        )
        return Refusal(code="store-full", message=message, fix="make room, then repeat")
    if not await _append(request, partial, piece):
        size = partial.stat().st_size
        return Refusal(
            code="range-invalid",
            message=f"the body ended at byte {size}",
            facts={"offset": size},
            fix="send the rest from there",
        )
    if piece.end < piece.total:
        return json_reply(202, {"offset": piece.end}, {"Upload-Offset": str(piece.end)})
    return await _finish(backend, request, key, cast("BlobUse", use), partial)


def _partial(backend: Backend, key: Key, use: str) -> Path:
    folder = Path(backend.blob_dir()) / "partial"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key.replace('/', '~')}.{use}"


def _progress(backend: Backend, key: Key, use: str, partial: Path) -> Reply:
    done = backend.state.of(Image)[key].manifest.blobs.get(cast("BlobUse", use))
    if partial.exists() or done is None:
        size = partial.stat().st_size if partial.exists() else 0
        return Reply(200, b"", ((b"upload-offset", str(size).encode()),))
    head = (b"upload-offset", str(done.size_bytes).encode())
    return Reply(200, b"", (head, (b"etag", f'"{done.digest}"'.encode())))


def _piece(request: Request) -> Piece | Refusal:
    said, length = request.header(b"content-range"), request.header(b"content-length")
    if not said and length.isdigit():
        return Piece(0, int(length), int(length))
    found = _RANGE.fullmatch(said)
    if found is None:
        message = "say Content-Range: bytes FIRST-LAST/TOTAL, or Content-Length of the whole"
        return Refusal(code="parameter-invalid", message=message)
    first, last, total = (int(each) for each in found.groups())
    if not first <= last < total:
        message = f"the range {first}-{last} does not fit into {total} bytes"
        return Refusal(code="range-invalid", message=message)
    return Piece(first, last + 1, total)


def _out_of_place(piece: Piece, has: int) -> Refusal:
    message = f"there are {has} bytes of it, and this piece begins at {piece.begin}"
    return Refusal(
        code="range-invalid",
        message=message,
        facts={"offset": has},
        fix=f"begin at byte {has}, or at 0 to start over",
    )


async def _append(request: Request, partial: Path, piece: Piece) -> bool:
    """Write the body at its place; tell whether it was whole."""
    at = piece.begin
    with partial.open("r+b" if at else "wb") as file:
        file.seek(at)
        while True:
            event = await request.receive()
            body = event.get("body", b"")
            if event["type"] == "http.disconnect" or at + len(body) > piece.end:
                return False
            await asyncio.to_thread(file.write, body)
            at += len(body)
            if not event.get("more_body"):
                return at == piece.end


async def _finish(
    backend: Backend, request: Request, key: Key, use: BlobUse, partial: Path
) -> Reply | Refusal:
    digest = await asyncio.to_thread(_sha256, partial)
    announced = request.query("sha256").lower()
    if announced and announced != digest:
        partial.unlink()
        return Refusal(
            code="checksum-mismatch",
            message=f"sha256 announced {announced}, found {digest}",
            facts={"announced": announced, "found": digest},
            fix="nothing was kept; check the sum, then repeat",
        )
    virtual_bytes = 0
    if use == "disk":
        looked = await backend.inspect_image(str(partial))
        if isinstance(looked, Refusal):
            partial.unlink(missing_ok=True)
            return looked
        virtual_bytes = looked
        digest = await asyncio.to_thread(_sha256, partial)  # A raw one became another file.
    size_bytes = partial.stat().st_size
    await asyncio.to_thread(_keep, partial, Path(backend.blob_dir()) / digest)
    content = Content(digest=digest, size_bytes=size_bytes, virtual_bytes=virtual_bytes)
    done = await backend.propose(_to_hold(key, use, content))
    if isinstance(done, Refusal):
        return done
    return json_reply(200, {"digest": digest, "sizeBytes": size_bytes})


def _to_hold(key: Key, use: BlobUse, content: Content) -> Proposal:
    def propose(state: State, _at: datetime) -> list[Action] | Refusal:
        image = state.of(Image).get(key)
        if image is None:
            return Refusal(code="not-found", message=f"image {key} was deleted meanwhile")
        blobs = {**image.manifest.blobs, use: content}
        return [Set(kind=Image.kind, key=key, part=replace(image.manifest, blobs=blobs))]

    return propose


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(partial: Path, final: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def blob(request: Request, path: Path) -> AsyncIterator[bytes]:
    """Yield a file from where the request's Range begins."""
    with path.open("rb") as file:
        file.seek(begin_of(request))
        while data := await asyncio.to_thread(file.read, _CHUNK):
            yield data


def begin_of(request: Request) -> int:
    """Return the first byte that is asked for; other ranges than `bytes=N-` are not needed."""
    with contextlib.suppress(ValueError):
        return int(request.header(b"range").removeprefix("bytes=").rstrip("-") or 0)
    return 0
