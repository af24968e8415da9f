"""The resource server: an ASGI application over a Backend.  The hot path is short on purpose."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hansa.errors import HansaError
from hansa.model.node import Invitation
from hansa.model.refusal import CATALOGUE, Profile, Refusal
from hansa.model.region import Region
from hansa.model.registry import RESOURCES
from hansa.ports import Clock
from hansa.serve.backend import Backend, Subject
from hansa.serve.http import (
    Outcome,
    Receive,
    Reply,
    Request,
    Scope,
    SendEvent,
    answer,
    json_reply,
    problem,
)
from hansa.serve.nouns import Actions, Nouns
from hansa.serve.openapi import document
from hansa.serve.own import JOIN, TENANT, Own
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
        self._own = Own(backend, self._nouns)
        self._log = structlog.get_logger()
        self._openapi = b""

    async def __call__(self, scope: Scope, receive: Receive, send: SendEvent) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # There is none: that is a 403.
            return
        request = Request(scope, receive, send)
        try:
            outcome = await self._outcome(request)
        except Exception as error:
            if request.is_begun:
                raise
            outcome = self._failed(request, error)
        if isinstance(outcome, Refusal):
            outcome = problem(outcome, request.path, self._profile)
        if outcome is not None:
            await answer(send, outcome)

    async def _outcome(self, request: Request) -> Outcome:
        if (public := await self._public(request)) is not None:
            return public
        subject = self._subject(request)
        if isinstance(subject, Refusal):
            return subject
        target = find(request.path)
        if target is None:
            return await self._own.handle(request, subject)
        if target.kind == Invitation.kind and target.name and request.method == "PUT":
            return await self._own.invite(target, subject, request)
        return await self._nouns.handle(request, target, subject)

    def _subject(self, request: Request) -> Subject | Refusal:
        said = request.header(b"authorization")
        if not said.startswith(_BEARER):
            return Refusal(code="token-missing", message="say Authorization: Bearer TOKEN")
        return self._backend.authenticate(said[len(_BEARER) :], self._clock.today())

    async def _public(self, request: Request) -> Outcome:
        """Answer what needs no token; None if it needs one."""
        match request.path:
            case "/healthz":
                return json_reply(200, {"status": "ok", "region": self._backend.region})
            case "/.wellknown/secapi":
                return json_reply(200, self._discovery(request))
            case "/openapi.json":
                self._openapi = self._openapi or document(self._backend.region)
                return Reply(200, self._openapi)
            case path if path == JOIN:
                return await self._own.join(request)
            case _:
                return None

    def _discovery(self, request: Request) -> dict[str, object]:
        """Return SECA's well-known document: what the region says, and else where we were asked."""
        known = {
            each.name: each.url
            for region in self._backend.state.of(Region).values()
            for each in region.spec.providers
        }
        base = f"{request.scope['scheme']}://{request.header(b'host')}/providers"
        names = dict.fromkeys(noun.provider for noun in RESOURCES) | {TENANT: None}
        ours = (each.partition("/")[0] for each in names)
        endpoints = {name: f"{base}/{name}" for name in ours} | known
        shown = [{"provider": name, "url": url} for name, url in endpoints.items()]
        return {"version": "v1", "endpoints": shown}

    def _failed(self, request: Request, error: Exception) -> Refusal:
        """Return what went wrong as a refusal: what is outside may be told, a defect is logged."""
        if isinstance(error, HansaError) and (error.code in CATALOGUE or error.retryable):
            self._log.warning("request failed", path=request.path, code=error.code, why=str(error))
            code = error.code if error.code in CATALOGUE else "busy"
            return Refusal(code=code, message=str(error))
        self._log.error("request failed", method=request.method, path=request.path, exc_info=error)
        return Refusal(code="internal", message="a defect of the region; its log says more")


async def _live(receive: Receive, send: SendEvent) -> None:
    """Follow the server's start and end: there is nothing to do at either."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
