"""The least of HTTP over ASGI that the resource server needs: requests, answers, problems."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from hansa.model.refusal import CATALOGUE, Profile, Refusal, status_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendEvent = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_MAX: Final = 1 << 20
JSON: Final = (b"content-type", b"application/json")
_PLAIN: Final = frozenset({"", "*/*", "application/json"})
_ACCEPTED: Final = frozenset({"application/json", "application/*", "*/*"})
_HEADER_OF_FACT: Final = {"allow": b"allow", "offset": b"upload-offset"}


class Reply(NamedTuple):
    """One whole answer."""

    status: int
    body: bytes = b""
    headers: Headers = (JSON,)


Outcome = Reply | Refusal | None
"""What a request comes to; None if the answer was sent as a stream."""


class Request:
    """One request: what is not asked for is not parsed."""

    __slots__ = ("_headers", "_query", "is_begun", "method", "path", "receive", "scope", "send")

    def __init__(self, scope: Scope, receive: Receive, send: SendEvent) -> None:
        """Keep what the server gave."""
        self.scope, self.receive, self.send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.is_begun = False
        """Whether its answer has begun, as a stream: too late for another one."""
        self._headers: dict[bytes, bytes] | None = None
        self._query: dict[str, str] | None = None

    def header(self, name: bytes) -> str:
        """Return a header by its lower-case name, or ""."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
        return self._headers.get(name, b"").decode("latin-1")

    def query(self, name: str) -> str:
        """Return a parameter, decoded, or ""."""
        if self._query is None:
            text = self.scope["query_string"].decode("latin-1")
            self._query = dict(parse_qsl(text, keep_blank_values=True))
        return self._query.get(name, "")

    def unacceptable(self) -> Refusal | None:
        """Refuse who does not take JSON."""
        said = self.header(b"accept")
        if said in _PLAIN or any(_media(each) in _ACCEPTED for each in said.split(",")):
            return None
        return Refusal(code="not-acceptable", message=f"the answer is JSON, and not {said[:80]}")

    async def json_body(self) -> bytes | Refusal:
        """Return the whole body, if it may be JSON."""
        said = _media(self.header(b"content-type"))
        if said not in ("", "application/json") and not said.endswith("+json"):
            message = f"the body must be application/json, and is {said[:80]}"
            return Refusal(code="media-type-unsupported", message=message)
        return await self.body()

    async def body(self) -> bytes | Refusal:
        """Return the whole body, if it is not too big."""
        parts, size = [], 0
        while True:
            event = await self.receive()
            part = event.get("body", b"")
            size += len(part)
            if size > BODY_MAX:
                return Refusal(code="body-too-big", message=f"a body has at most {BODY_MAX} bytes")
            parts.append(part)
            if not event.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)


def _media(said: str) -> str:
    """Return a media type without its parameters."""
    return said.partition(";")[0].strip().lower()


def bad_parameter(name: str, message: str) -> Refusal:
    """Return the refusal of a query parameter or a header that cannot be read."""
    return Refusal(code="parameter-invalid", message=message, facts={"parameter": name})


def problem(refusal: Refusal, instance: str, profile: Profile) -> Reply:
    """Return a refusal as SECA's problem body."""
    entry, status = CATALOGUE[refusal.code], status_of(refusal.code, profile)
    told = {member: getattr(refusal, member) for member in ("reasons", "facts", "fix")}
    sources = {"pointer": refusal.pointer[:256], "parameter": refusal.facts.get("parameter")}
    source = {name: said for name, said in sources.items() if said}
    body = {
        "type": f"http://secapi.cloud/errors/{entry.type}",
        "title": entry.title,
        "status": status,
        "instance": instance[:256],
        "detail": refusal.message[:32768],
        **({"sources": [source]} if source else {}),
        "meta": {
            "code": refusal.code,
            "retry": entry.retry,
            **{member: said for member, said in told.items() if said},
        },
    }
    return Reply(status, msgspec.json.encode(body), (JSON, *_headers_of(refusal)))


def _headers_of(refusal: Refusal) -> Iterator[tuple[bytes, bytes]]:
    entry = CATALOGUE[refusal.code]
    if entry.type == "unauthorized":
        yield b"www-authenticate", b"Bearer"
    if entry.retry:
        yield b"retry-after", b"1"
    for fact, header in _HEADER_OF_FACT.items():
        if fact in refusal.facts:
            yield header, str(refusal.facts[fact]).encode()


def json_reply(status: int, said: object, headers: Headers = ()) -> Reply:
    """Return an answer of JSON."""
    return Reply(status, msgspec.json.encode(said), (JSON, *headers))


async def answer(send: SendEvent, reply: Reply) -> None:
    """Send a whole answer."""
    headers = [*reply.headers]
    if not any(name == b"content-length" for name, _ in reply.headers):  # HEAD says its own.
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def stream(
    request: Request, status: int, headers: Headers, chunks: AsyncGenerator[bytes, None]
) -> None:
    """Send what comes as it comes, until it ends or the client goes."""
    request.is_begun = True
    start = {"type": "http.response.start", "status": status, "headers": [*headers]}
    await request.send(start)
    tasks = {
        asyncio.ensure_future(_pump(request.send, chunks)),
        asyncio.ensure_future(_gone(request.receive)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await chunks.aclose()
    for task in done:
        task.result()  # A stream that broke must not look like one that ended.


async def _pump(send: SendEvent, chunks: AsyncGenerator[bytes, None]) -> None:
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
