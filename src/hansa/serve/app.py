"""The resource server: an ASGI application over a Backend.  The hot path is short on purpose."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hansa.model.refusal import Profile, Refusal
from hansa.ports import Clock
from hansa.serve.backend import Backend, Subject
from hansa.serve.http import Receive, Reply, Request, Scope, SendEvent, answer, json_reply, problem
from hansa.serve.nouns import Actions, Nouns
from hansa.serve.openapi import document
from hansa.serve.own import Own
from hansa.serve.routes import find

App = Callable[[Scope, Receive, SendEvent], Awaitable[None]]
_BEARER: Final = "Bearer "


def make_app(
    backend: Backend, actions: Actions, clock: Clock, *, profile: Profile = "conformance"
) -> App:
    """Return the application that serves a backend's nouns, and our own groups beside them."""
    return _Server(backend, actions, clock, profile)


class _Server:
    def __init__(self, backend: Backend, actions: Actions, clock: Clock, profile: Profile) -> None:
        self._backend, self._clock, self._profile = backend, clock, profile
        self._nouns = Nouns(backend, actions)
        self._own = Own(backend, self._nouns.answers)
        self._log = structlog.get_logger()
        self._openapi = b""

    async def __call__(self, scope: Scope, receive: Receive, send: SendEvent) -> None:
        if scope["type"] == "lifespan":
            return await _live(receive, send)
        if scope["type"] != "http":
            return None
        request = Request(scope, receive, send)
        try:
            reply = await self._reply(request)
        except Exception:  # The one place where a defect becomes an answer.
            self._log.exception("request failed", method=request.method, path=request.path)
            no = Refusal(code="internal", message="a defect of the region; its log has the details")
            reply = no
        if isinstance(reply, Refusal):
            reply = problem(reply, request.path, self._profile)
        if reply is not None:
            await answer(send, reply)
        return None

    async def _reply(self, request: Request) -> Reply | Refusal | None:
        """Return the answer, or None if it was sent as a stream."""
        if (public := self._public(request)) is not None:
            return public
        if request.path == self._own.JOIN and request.method == "POST":
            return await self._own.join(request)
        subject = self._subject(request)
        if isinstance(subject, Refusal):
            return subject
        target = find(request.path)
        if target is not None:
            if request.method == "PUT" and self._own.makes(target):
                return await self._own.invite(target, subject, request)
            return await self._nouns.handle(request, target, subject)
        return await self._own.handle(request, subject)

    def _subject(self, request: Request) -> Subject | Refusal:
        said = request.header(b"authorization")
        if not said.startswith(_BEARER):
            return Refusal(code="token-missing", message="say Authorization: Bearer TOKEN")
        return self._backend.authenticate(said[len(_BEARER) :], self._clock.today())

    def _public(self, request: Request) -> Reply | None:
        """Answer what needs no token."""
        match request.path:
            case "/healthz":
                return json_reply(200, {"status": "ok", "region": self._backend.region})
            case "/.wellknown/secapi":
                return json_reply(200, self._own.discovery())
            case "/openapi.json":
                self._openapi = self._openapi or document(self._backend.region)
                return Reply(200, self._openapi)
            case "/metrics":
                return Reply(200, self._backend.metrics(), ((b"content-type", b"text/plain"),))
            case _:
                return None


async def _live(receive: Receive, send: SendEvent) -> None:
    """Follow the server's start and end: there is nothing to do at either."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
