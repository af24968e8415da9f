"""The least of HTTP over ASGI that the resource server needs: requests, answers, problems."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from hansa.model.refusal import CATALOGUE, Profile, Refusal, status_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendEvent = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_MAX: Final = 1 << 20
JSON: Final = (b"content-type", b"application/json")
Headers = tuple[tuple[bytes, bytes], ...]


class Reply(NamedTuple):
    """One whole answer."""

    status: int
    body: bytes = b""
    headers: Headers = (JSON,)


class Request:
    """One request: what is not asked for is not parsed."""

    __slots__ = ("_headers", "_query", "method", "path", "receive", "scope", "send")

    def __init__(self, scope: Scope, receive: Receive, send: SendEvent) -> None:
        """Keep what the server gave."""
        self.scope, self.receive, self.send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
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


def problem(refusal: Refusal, instance: str, profile: Profile) -> Reply:
    """Return a refusal as SECA's problem body."""
    entry, status = CATALOGUE[refusal.code], status_of(refusal.code, profile)
    said: dict[str, object] = {
        "type": f"http://secapi.cloud/errors/{entry.type}",
        "title": entry.title,
        "status": status,
        "instance": instance[:256],
        "detail": refusal.message,
        "meta": {
            "code": refusal.code,
            "retry": entry.retry,
            **({"fix": refusal.fix} if refusal.fix else {}),
            **({"facts": refusal.facts} if refusal.facts else {}),
            **({"reasons": refusal.reasons} if refusal.reasons else {}),
        },
    }
    if refusal.pointer:
        said["sources"] = [{"pointer": refusal.pointer[:256]}]
    headers: Headers = (JSON,)
    if status == 401:  # noqa: PLR2004 - the status that asks for a token
        headers += ((b"www-authenticate", b"Bearer"),)
    if entry.retry:
        headers += ((b"retry-after", b"1"),)
    if "allow" in refusal.facts:
        headers += ((b"allow", str(refusal.facts["allow"]).encode()),)
    return Reply(status, msgspec.json.encode(said), headers)


async def answer(send: SendEvent, reply: Reply, extra: Headers = ()) -> None:
    """Send a whole answer."""
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [*reply.headers, *extra, length] if reply.body else [*extra, length]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def json_reply(status: int, said: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an answer of JSON."""
    more = tuple((k.lower().encode(), v.encode()) for k, v in (headers or {}).items())
    return Reply(status, msgspec.json.encode(said), (JSON, *more))
