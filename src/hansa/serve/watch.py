"""Watches: one reader of the backend's news, each change encoded once, for all who watch."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, NamedTuple, cast

import msgspec

from hansa.model.envelope import Key
from hansa.model.naming import scope
from hansa.model.registry import BY_KIND
from hansa.model.stamp import Stamp
from hansa.model.state import Change
from hansa.serve.backend import Backend
from hansa.serve.listing import Answers

COALESCE_S: Final = 0.02
"""What happens within it is sent at once: to wake a thousand watchers a change costs a core."""
QUIET_S: Final = 5.0
"""Who was told nothing for so long gets the next sign of life."""
KEPT: Final = 20_000

News = tuple[Stamp, tuple[Change, ...]]
_SCOPES: Final = {kind: scope(kind) for kind in BY_KIND}


class Wanted(NamedTuple):
    """What a watch shows."""

    tenant: str
    kinds: frozenset[str]
    workspace: str = ""
    """What is in it, and itself; "" is all that the tenant has."""


class Line(NamedTuple):
    """One change, for all watchers."""

    revision: Stamp
    kind: str
    place: tuple[str, str]
    """Tenant and workspace; "" where it is in none."""
    data: bytes


class Feed:
    """The last changes as lines, while anyone watches."""

    def __init__(self, backend: Backend, answers: Answers) -> None:
        """Begin with nobody."""
        self._backend, self._answers = backend, answers
        self._lines: deque[Line] = deque()
        self._base = self._last = Stamp()
        """All lines after `base` are kept, and `last` is the newest commit told of."""
        self._fresh = asyncio.Event()
        self._is_ringing = False
        self._watchers = 0
        self._reader: asyncio.Task[None] | None = None
        self._joined: dict[tuple[Stamp, Wanted], bytes] = {}

    async def watch(self, since: Stamp | None, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """Yield lines, forever.  Raises TrimmedError if `since` is too long ago."""
        reader = self._enter()
        at = self._last if since is None else since
        try:
            if at >= self._base:
                yield _beat(at)
            while not reader.done():
                # Long ago, or too slow for us: the backend may still know.
                is_old = at < self._base
                news = self._old(at, wanted) if is_old else self._new(at, wanted, reader)
                async with aclosing(news):
                    async for revision, data in news:
                        at = revision
                        yield data
            reader.result()
        finally:
            self._leave()

    async def _old(self, at: Stamp, wanted: Wanted) -> AsyncGenerator[tuple[Stamp, bytes], None]:
        news = cast("AsyncGenerator[News, None]", self._backend.changes(at))
        async with aclosing(news):
            async for revision, changes in news:
                lines = self._encoded(revision, changes)
                yield revision, _join(lines, wanted) or _beat(revision)
                if revision >= self._base:
                    return

    async def _new(
        self, at: Stamp, wanted: Wanted, reader: asyncio.Task[None]
    ) -> AsyncGenerator[tuple[Stamp, bytes], None]:
        now = asyncio.get_running_loop().time
        told = now()
        while at >= self._base and not reader.done():
            fresh, last = self._fresh, max(at, self._last)
            data = self._after(at, wanted)
            if not data and now() - told >= QUIET_S:
                data = _beat(last)
            at = last
            if data:
                told = now()
                yield at, data
            await fresh.wait()

    def _enter(self) -> asyncio.Task[None]:
        self._watchers += 1
        if self._reader is None or self._reader.done():
            self._lines.clear()
            self._joined.clear()
            self._base = self._last = self._backend.state.revision
            self._reader = asyncio.ensure_future(self._read())
        return self._reader

    def _leave(self) -> None:
        self._watchers -= 1
        if not self._watchers and self._reader:
            self._reader.cancel()
            self._reader = None

    async def _read(self) -> None:
        try:
            async for revision, changes in self._backend.changes(self._last):
                for line in self._encoded(revision, changes):
                    self._lines.append(line)
                while len(self._lines) > KEPT:
                    self._base = self._lines.popleft().revision
                self._last = revision
                self._joined.clear()
                if not self._is_ringing:
                    self._is_ringing = True
                    asyncio.get_running_loop().call_later(COALESCE_S, self._ring)
        finally:
            self._ring()

    def _ring(self) -> None:
        self._is_ringing = False
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    def _after(self, at: Stamp, wanted: Wanted) -> bytes:
        """Return what is new since, joined once for all who want the same."""
        known = self._joined.get((at, wanted))
        if known is None:
            lines = deque[Line]()
            for line in reversed(self._lines):
                if line.revision <= at:
                    break
                lines.appendleft(line)
            known = self._joined[at, wanted] = _join(lines, wanted)
        return known

    def _encoded(self, revision: Stamp, changes: Iterable[Change]) -> list[Line]:
        return [self._line(revision, change) for change in changes]

    def _line(self, revision: Stamp, change: Change) -> Line:
        said: dict[str, object] = {
            "revision": text_of(revision),
            "change": "delete" if change.new is None else "put",
            "kind": change.kind,
            "key": change.key,
        }
        if change.new is not None:
            said["object"] = msgspec.Raw(self._answers.reduced(change.key, change.new))
        data = msgspec.json.encode(said) + b"\n"
        return Line(revision, change.kind, _place(change.kind, change.key), data)


def text_of(revision: Stamp) -> str:
    """Return a revision as clients see it."""
    return f"{revision.incarnation}.{revision.counter}"


def _join(lines: Iterable[Line], wanted: Wanted) -> bytes:
    return b"".join(line.data for line in lines if _is_wanted(line, wanted))


def _is_wanted(line: Line, wanted: Wanted) -> bool:
    tenant, workspace = line.place
    is_there = tenant == wanted.tenant and wanted.workspace in ("", workspace)
    return is_there and line.kind in wanted.kinds


def _place(kind: str, key: Key) -> tuple[str, str]:
    named = dict(zip((*_SCOPES[kind], kind), key.split("/"), strict=False))
    return named.get("tenant", ""), named.get("workspace", "")


def _beat(revision: Stamp) -> bytes:
    return b'{"revision":"%b"}\n' % text_of(revision).encode()
