"""Content of images: comes in pieces, resumes where it stopped, is verified before it is there."""

import asyncio
import errno
import hashlib
import os
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast, get_args

from msgspec.structs import replace

from hansa.model.envelope import Key
from hansa.model.image import BlobUse, Content, Image
from hansa.model.refusal import Refusal
from hansa.model.state import Action, Proposal, Set, State
from hansa.serve.backend import Backend
from hansa.serve.files import send_file
from hansa.serve.http import Outcome, Reply, Request, bad_parameter, json_reply

METHODS: Final = ("GET", "HEAD", "PUT")
MARGIN_BYTES: Final = 256 << 20
"""Space that an upload leaves free: the region's store may be on the same disk."""
_WRITE_BYTES: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Piece(NamedTuple):
    """Which bytes a request brings."""

    begin: int
    end: int | None
    """The first that it does not bring; None if it does not say, and brings all the rest."""
    total: int | None


class Uploads:
    """Takes content, one piece at a time."""

    def __init__(self, backend: Backend) -> None:
        """Begin with nobody uploading."""
        self._backend = backend
        self._busy: set[Path] = set()

    async def handle(self, request: Request, key: Key) -> Outcome:
        """Answer one request about a part of an image's content."""
        use = request.query("part") or "disk"
        if use not in get_args(BlobUse):
            return bad_parameter("part", f"part is one of {', '.join(get_args(BlobUse))}")
        image = self._backend.state.of(Image).get(key)
        if image is None:
            return Refusal(code="not-found", message=f"there is no image {key}")
        done = image.manifest.blobs.get(use)
        # No name has a "~", so that no two images share a file.
        path = self._folder / "partial" / f"{key.replace('/', '~')}.{use}"
        match request.method:
            case "HEAD":
                return _progress(done, await asyncio.to_thread(_size, path))
            case "GET":
                if done is None:
                    return Refusal(code="not-found", message=f"image {key} has no {use}")
                return await send_file(request, self._folder / done.digest, (_etag(done),))
            case _:
                return await self._put(request, key, cast("BlobUse", use), path)

    @property
    def _folder(self) -> Path:
        return Path(self._backend.blob_dir())

    async def _put(self, request: Request, key: Key, use: BlobUse, path: Path) -> Outcome:
        announced, piece = request.query("sha256"), _piece(request)
        if isinstance(piece, Refusal):
            return piece
        if path in self._busy:
            return Refusal(code="busy", message="another upload of the same content is under way")
        self._busy.add(path)
        try:
            size = await self._take(request, path, piece)
            if isinstance(size, Refusal):
                return size
            if size == (piece.total or size):
                return await self._finish(key, use, path, announced)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return _full(0)
        finally:
            self._busy.discard(path)
        return json_reply(202, {"offset": size}, (_offset(size),))

    async def _take(self, request: Request, path: Path, piece: Piece) -> int | Refusal:
        """Write a piece at its place; return how many bytes there are now."""
        has = await asyncio.to_thread(_size, path)
        if piece.begin not in (0, has):  # At 0 it begins anew.
            return Refusal(
                code="range-invalid",
                message=f"there are {has} bytes of it, and this piece begins at {piece.begin}",
                facts={"offset": has},
                fix=f"begin at byte {has}, or at 0 to start over",
            )
        missing = (piece.total or 0) - piece.begin
        if await asyncio.to_thread(_free, path.parent) < missing + MARGIN_BYTES:
            return _full(missing)
        file = await asyncio.to_thread(path.open, "r+b" if piece.begin else "wb")
        with file:
            file.seek(piece.begin)
            size = await _receive(request, file, piece)
        return size or Refusal(code="image-invalid", message="there is no content in it")

    async def _finish(self, key: Key, use: BlobUse, path: Path, announced: str) -> Outcome:
        """Verify what is there as a whole, and make it part of the image."""
        digest = await asyncio.to_thread(_digest, path)
        if announced and announced != digest:
            await asyncio.to_thread(path.unlink)
            return Refusal(
                code="checksum-mismatch",
                message=f"sha256 announced {announced}, found {digest}",
                facts={"announced": announced, "found": digest},
                fix="nothing was kept; check the sum, then repeat",
            )
        virtual_bytes = 0
        if use == "disk":
            before = await asyncio.to_thread(path.stat)
            looked = await self._backend.inspect_image(str(path))
            if isinstance(looked, Refusal):
                await asyncio.to_thread(path.unlink, missing_ok=True)
                return looked
            virtual_bytes = looked
            after = await asyncio.to_thread(path.stat)
            if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
                digest = await asyncio.to_thread(_digest, path)  # A raw one became a qcow2.
        size_bytes = await asyncio.to_thread(_keep, path, self._folder / digest)
        content = Content(digest=digest, size_bytes=size_bytes, virtual_bytes=virtual_bytes)
        done = await self._backend.propose(_to_hold(key, use, content))
        if isinstance(done, Refusal):
            return done
        return json_reply(200, content, (_etag(content),))


def _to_hold(key: Key, use: BlobUse, content: Content) -> Proposal:
    def propose(state: State, _at: datetime) -> list[Action] | Refusal:
        image = state.of(Image).get(key)
        if image is None:
            return Refusal(code="not-found", message=f"image {key} was deleted meanwhile")
        blobs = {**image.manifest.blobs, use: content}
        return [Set(kind=Image.kind, key=key, part=replace(image.manifest, blobs=blobs))]

    return propose


def _piece(request: Request) -> Piece | Refusal:
    said, length = request.header(b"content-range"), request.header(b"content-length")
    announced = request.query("sha256")
    if announced and not _SHA256.fullmatch(announced):
        return bad_parameter("sha256", "sha256 is 64 digits of hex, a-f in lower case")
    if not said:
        whole = int(length) if length.isdigit() else None
        return Piece(0, whole, whole)
    found = _RANGE.fullmatch(said)
    if found is None:
        return bad_parameter("content-range", "say Content-Range: bytes FIRST-LAST/TOTAL")
    first, last, total = (int(each) for each in found.groups())
    if not first <= last < total:
        message = f"the range {first}-{last} does not fit into {total} bytes"
        return Refusal(code="range-invalid", message=message)
    return Piece(first, last + 1, total)


async def _receive(request: Request, file: BinaryIO, piece: Piece) -> int | Refusal:
    """Write a body as it comes; what came before it broke off is kept."""
    at, waiting, is_last, is_cut = piece.begin, bytearray(), False, False
    while not is_last:
        event = await request.receive()
        is_cut = event["type"] == "http.disconnect"
        is_last = not event.get("more_body")  # Nor has a disconnect any.
        waiting += event.get("body", b"")
        if piece.end is not None and at + len(waiting) > piece.end:
            message = f"the body is longer than its range, which ends before {piece.end}"
            return Refusal(code="range-invalid", message=message, facts={"offset": at})
        if is_last or len(waiting) >= _WRITE_BYTES:
            await asyncio.to_thread(_write, file, bytes(waiting))
            at += len(waiting)
            waiting.clear()
    if is_cut or at != (piece.end or at):
        return Refusal(
            code="range-invalid",
            message=f"the body ended at byte {at}",
            facts={"offset": at},
            fix=f"send the rest from byte {at}",
        )
    return at


def _write(file: BinaryIO, data: bytes) -> None:
    if shutil.disk_usage(file.name).free < MARGIN_BYTES:
        raise OSError(errno.ENOSPC, "no room is left")
    file.write(data)
    file.flush()


def _progress(done: Content | None, size: int) -> Reply:
    if size or done is None:
        return Reply(200, b"", (_offset(size),))
    length = (b"content-length", b"%d" % done.size_bytes)
    return Reply(200, b"", (_offset(done.size_bytes), _etag(done), length))


def _offset(size: int) -> tuple[bytes, bytes]:
    return b"upload-offset", b"%d" % size


def _etag(content: Content) -> tuple[bytes, bytes]:
    return b"etag", f'"{content.digest}"'.encode()


def _full(missing: int) -> Refusal:
    said = f", and this needs {missing >> 20} MiB more" if missing else ""
    message = f"the region's disk is full{said}"
    return Refusal(code="store-full", message=message, fix="make room, then send the rest")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _free(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(path: Path, final: Path) -> int:
    """Make it durable under its digest; return its size."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    path.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size
