"""Our own groups beside SECA's: hansa.tenant/v1 and hansa.operator/v1."""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec

from hansa.model.envelope import Key
from hansa.model.naming import path, scope
from hansa.model.node import Invitation
from hansa.model.refusal import Refusal
from hansa.model.registry import BY_KIND
from hansa.model.stamp import Stamp
from hansa.serve.backend import Backend, Object, Subject
from hansa.serve.content import METHODS, Uploads
from hansa.serve.files import BYTES, send_file
from hansa.serve.http import (
    Outcome,
    Reply,
    Request,
    bad_parameter,
    json_reply,
    stream,
)
from hansa.serve.nouns import Nouns
from hansa.serve.routes import Target
from hansa.serve.view import to_answer
from hansa.serve.watch import Feed, Wanted

OPERATOR, TENANT = "hansa.operator/v1", "hansa.tenant/v1"
JOIN: Final = f"/providers/{OPERATOR}/join"
UNKNOWN: Final = Refusal(code="route-unknown", message="there is nothing at this path")
TAIL_BYTES: Final = 65_536
_NDJSON: Final = ((b"content-type", b"application/x-ndjson"),)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TENANTS_KINDS: Final = frozenset(kind for kind in BY_KIND if "tenant" in scope(kind))
_STAMP: Final = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)


class Own:
    """Answers what no noun's route does."""

    def __init__(self, backend: Backend, nouns: Nouns) -> None:
        """Keep who has the state."""
        self._backend, self._nouns = backend, nouns
        self._uploads, self._feed = Uploads(backend), Feed(backend, nouns.answers)

    async def handle(self, request: Request, subject: Subject) -> Outcome:
        """Answer one request."""
        match request.path.split("/")[1:]:
            case ["metrics"]:
                return self._metrics(request, subject)
            case ["providers", "hansa.tenant", "v1", "tenants", tenant, *steps]:
                return await self._tenant(request, subject, tenant, steps)
            case ["providers", "hansa.operator", "v1", *steps]:
                return await self._operator(request, subject, steps)
            case _:
                return UNKNOWN

    async def invite(self, target: Target, subject: Subject, request: Request) -> Outcome:
        """Make an invitation; what its node must say is told this once."""
        if no := self._backend.may(subject, "put", target.thing):
            return no
        noun = await self._nouns.written(request, target)
        if isinstance(noun, Refusal):
            return noun
        assert isinstance(noun, Invitation)
        token = await self._backend.invite(target.key, noun.spec.zone)
        if isinstance(token, Refusal):
            return token
        made = self._backend.state.of(Invitation).get(target.key, noun)
        shown = msgspec.json.decode(to_answer(made, "PUT", self._backend.region))
        return json_reply(201, shown | {"token": token})

    async def join(self, request: Request) -> Outcome:
        """Make a machine a node: its invitation is all that it has."""
        if request.method != "POST":
            return _no_method(request, "POST")
        body = await request.json_body()
        if isinstance(body, Refusal):
            return body
        done = await self._backend.join(body)
        return done if isinstance(done, Refusal) else json_reply(201, done)

    def _metrics(self, request: Request, subject: Subject) -> Outcome:
        if no := self._refuse(request, subject, Object(provider=OPERATOR, resource="metrics")):
            return no
        text = (b"content-type", b"text/plain; version=0.0.4")
        return Reply(200, self._backend.metrics(), (text,))

    def _refuse(
        self, request: Request, subject: Subject, thing: Object, *methods: str
    ) -> Refusal | None:
        """Return why a request is not answered: its method, or its subject."""
        methods = methods or ("GET",)
        if request.method not in methods:
            return _no_method(request, *methods)
        verb = "get" if request.method == "HEAD" else request.method.lower()
        return self._backend.may(subject, verb, thing)

    async def _tenant(
        self, request: Request, subject: Subject, tenant: str, steps: list[str]
    ) -> Outcome:
        match steps:
            case ["images", name, "content"]:
                thing = _of_noun("image", f"images/{name}", tenant)
                no = self._refuse(request, subject, thing, *METHODS)
                return no or await self._uploads.handle(request, Key(f"{tenant}/{name}"))
            case ["watch"]:
                if request.method != "GET":
                    return _no_method(request, "GET")
                return await self._watch(request, subject, tenant)
            case ["workspaces", workspace, "instances", name, ("explain" | "logs") as what]:
                thing = _of_noun("instance", f"instances/{name}", tenant, workspace)
                no = self._refuse(request, subject, thing)
                key = Key(f"{tenant}/{workspace}/{name}")
                return no or await (self._explain if what == "explain" else self._log)(request, key)
            case _:
                return UNKNOWN

    async def _operator(self, request: Request, subject: Subject, steps: list[str]) -> Outcome:
        work = {"audit": self._audit, "backup": self._backup, "blobs": self._blob}
        thing = Object(provider=OPERATOR, resource="/".join(steps))
        match steps:
            case ["audit"] | ["blobs", _]:
                no = self._refuse(request, subject, thing)
                return no or await work[steps[0]](request, steps[-1])
            case ["backup"]:
                no = self._refuse(request, subject, thing, "POST")
                return no or await self._backup(request, "")
            case ["nodes", name, "lost"]:
                thing = Object(provider=OPERATOR, resource=f"nodes/{name}")
                no = self._refuse(request, subject, thing, "POST")
                return no or await self._backend.lose(Key(name)) or Reply(202, b"", ())
            case ["nodes", name, "secrets", digest]:
                no = self._refuse(request, subject, thing)
                return no or await self._secret(Key(name), digest)
            case _:
                return UNKNOWN

    async def _explain(self, _: Request, key: Key) -> Outcome:
        said = self._backend.explain(key)
        return said if isinstance(said, Refusal) else json_reply(200, said)

    async def _log(self, request: Request, key: Key) -> Outcome:
        tail = request.query("tail")
        if tail and not (tail.isascii() and tail.isdigit() and len(tail) < len("1000000000")):
            return bad_parameter("tail", "tail is a number of bytes")
        text = await self._backend.log(key, int(tail or TAIL_BYTES))
        if isinstance(text, Refusal):
            return text
        return Reply(200, text.encode(), ((b"content-type", b"text/plain; charset=utf-8"),))

    async def _audit(self, _: Request, __: str) -> Outcome:
        return json_reply(200, {"items": await self._backend.audit()})

    async def _backup(self, request: Request, _: str) -> Outcome:
        folder = Path(self._backend.blob_dir()) / "partial"
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        # It holds secrets: only we may look into the directory.
        with tempfile.TemporaryDirectory(prefix="backup-", dir=folder) as own:
            path = Path(own) / "backup"
            await self._backend.backup(str(path))
            return await send_file(request, path)

    async def _blob(self, request: Request, digest: str) -> Outcome:
        if not _SHA256.fullmatch(digest):
            return bad_parameter("digest", "a blob is named by 64 digits of hex")
        return await send_file(request, Path(self._backend.blob_dir()) / digest)

    async def _secret(self, node: Key, digest: str) -> Outcome:
        found = await self._backend.secret(node, digest)
        if found is None:
            return Refusal(code="not-found", message=f"no instance of node {node} has it")
        return Reply(200, found, (BYTES,))

    async def _watch(self, request: Request, subject: Subject, tenant: str) -> Outcome:
        said = request.query("since")
        found = _STAMP.fullmatch(said)
        since = Stamp(int(found[1]), int(found[2])) if found else None
        if said and (since is None or since > self._backend.state.revision):
            return bad_parameter("since", "since is a revision that there was, like 1.42")
        wanted = self._wanted(request, subject, tenant)
        if isinstance(wanted, Refusal):
            return wanted
        async with aclosing(self._feed.watch(since, wanted)) as lines:
            # What is wrong is wrong at once, while the status is still to be said.
            first = await anext(lines)
            await stream(request, 200, _NDJSON, _with(first, lines))
        return None

    def _wanted(self, request: Request, subject: Subject, tenant: str) -> Wanted | Refusal:
        """Return what is to be shown: of the kinds asked for, or of all that the subject may."""
        workspace, kinds = request.query("workspace"), request.query("kind")
        asked = frozenset(kinds.split(",")) if kinds else _TENANTS_KINDS
        if not asked <= _TENANTS_KINDS:
            return bad_parameter("kind", f"kind is some of {', '.join(sorted(_TENANTS_KINDS))}")
        refused = {
            kind: no
            for kind in sorted(asked)
            if (no := self._backend.may(subject, "list", _all_of(kind, tenant, workspace)))
        }
        if refused and (kinds or len(refused) == len(asked)):
            return next(iter(refused.values()))
        return Wanted(tenant, asked.difference(refused), workspace)


async def _with(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for each in rest:
        yield each


def _of_noun(kind: str, resource: str, tenant: str, workspace: str = "") -> Object:
    """Return what stands for a part of a noun: who may read the noun may read that."""
    provider = BY_KIND[kind].provider
    return Object(provider=provider, resource=resource, tenant=tenant, workspace=workspace)


def _all_of(kind: str, tenant: str, workspace: str) -> Object:
    every = dict.fromkeys(scope(kind), "*") | {"name": ""}
    resource = path(kind, below=("tenant", "workspace")).format(**every).strip("/")
    return _of_noun(kind, resource, tenant, workspace)


def _no_method(request: Request, *allowed: str) -> Refusal:
    return Refusal(
        code="method-not-allowed",
        message=f"it has no {request.method[:16]}",
        facts={"allow": ", ".join(allowed)},
    )
