"""Our own groups beside SECA's: hansa.tenant/v1 and hansa.operator/v1."""

import contextlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from hansa.errors import HansaError, TrimmedError
from hansa.model.envelope import Key
from hansa.model.image import Image
from hansa.model.node import Invitation, InvitationSpec
from hansa.model.refusal import Refusal
from hansa.model.region import Region
from hansa.model.registry import BY_KIND, RESOURCES
from hansa.model.stamp import Stamp
from hansa.model.state import Change
from hansa.serve.backend import Backend, Object, Subject
from hansa.serve.content import begin_of, blob, upload
from hansa.serve.http import Reply, Request, json_reply
from hansa.serve.listing import Answers
from hansa.serve.routes import Target

_TENANT: Final = re.compile(r"/providers/hansa\.tenant/v1/tenants/([^/]+)/(.+)")
_OPERATOR: Final = re.compile(r"/providers/hansa\.operator/v1/(.+)")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_UNKNOWN: Final = Refusal(code="route-unknown", message="there is nothing at this path")


class Own:
    """Answers what no noun's route does.  None means that the answer was sent as a stream."""

    JOIN = "/providers/hansa.operator/v1/join"

    def __init__(self, backend: Backend, answers: Answers) -> None:
        """Keep who has the state."""
        self._backend, self._answers = backend, answers

    async def handle(self, request: Request, subject: Subject) -> Reply | Refusal | None:
        """Answer one request."""
        if found := _TENANT.fullmatch(request.path):
            return await self._tenant(request, subject, found[1], found[2].split("/"))
        if found := _OPERATOR.fullmatch(request.path):
            return await self._operator(request, subject, found[1].split("/"))
        return _UNKNOWN

    def discovery(self) -> dict[str, object]:
        """Return SECA's well-known document."""
        regions = self._backend.state.of(Region)
        endpoints = [
            {"provider": each.name, "url": each.url}
            for region in regions.values()
            for each in region.spec.providers
        ]
        return {"version": "v1", "endpoints": endpoints}

    def makes(self, target: Target) -> bool:
        """Tell whether a PUT of this answers with more than the noun."""
        return target.noun.type is Invitation and bool(target.name)

    async def invite(self, target: Target, subject: Subject, request: Request) -> Reply | Refusal:
        """Make an invitation; its token is told this once."""
        thing = Object(provider="hansa.operator/v1", resource=f"invitations/{target.name}")
        if no := self._backend.may(subject, "put", thing):
            return no
        body = await request.body()
        if isinstance(body, Refusal):
            return body
        try:
            said = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            spec = msgspec.json.decode(said.get("spec", msgspec.Raw(b"{}")), type=InvitationSpec)
        except msgspec.ValidationError as error:
            return Refusal(code="field-invalid", message=str(error), pointer="/spec")
        except msgspec.DecodeError as error:
            return Refusal(code="body-not-json", message=str(error))
        line = await self._backend.invite(Key(target.name), spec.zone)
        return line if isinstance(line, Refusal) else json_reply(201, {"token": line})

    async def join(self, request: Request) -> Reply | Refusal:
        """Make a machine a node."""
        body = await request.body()
        if isinstance(body, Refusal):
            return body
        done = await self._backend.join(body)
        return done if isinstance(done, Refusal) else json_reply(201, done)

    async def _tenant(
        self, request: Request, subject: Subject, tenant: str, steps: list[str]
    ) -> Reply | Refusal | None:
        verb = request.method.lower()
        workspace = steps[1] if steps[0] == "workspaces" and len(steps) > 1 else ""
        thing = Object(
            provider="hansa.tenant/v1",
            resource="/".join(steps[2:] if workspace else steps),
            tenant=tenant,
            workspace=workspace,
        )
        if no := self._backend.may(subject, verb, thing):
            return no
        match verb, steps:
            case (("put" | "head"), ["images", name, "content"]):
                return await upload(self._backend, request, Key(f"{tenant}/{name}"))
            case "get", ["watch"]:
                return await self._watch(request, tenant)
            case "get", ["workspaces", _, "instances", name, "explain"]:
                said = self._backend.explain(Key(f"{tenant}/{workspace}/{name}"))
                return said if isinstance(said, Refusal) else json_reply(200, said)
            case "get", ["workspaces", _, "instances", name, "logs"]:
                return await self._log(request, Key(f"{tenant}/{workspace}/{name}"))
            case _:
                return _UNKNOWN

    async def _operator(
        self, request: Request, subject: Subject, steps: list[str]
    ) -> Reply | Refusal | None:
        verb = request.method.lower()
        thing = Object(provider="hansa.operator/v1", resource="/".join(steps))
        if no := self._backend.may(subject, verb, thing):
            return no
        match verb, steps:
            case "get", ["audit"]:
                return json_reply(200, {"items": await self._backend.audit()})
            case "post", ["backup"]:
                return await self._backup(request)
            case "post", ["nodes", name, "lost"]:
                no = await self._backend.lose(Key(name))
                return no or Reply(202, b"", ())
            case "get", ["blobs", digest] if _HEX.fullmatch(digest):
                return await self._blob(request, digest)
            case "get", ["nodes", name, "secrets", digest]:
                found = await self._backend.secret(Key(name), digest)
                if found is None:
                    return Refusal(code="not-found", message="no instance of this node has it")
                return Reply(200, found, ((b"content-type", b"application/octet-stream"),))
            case _:
                return _UNKNOWN

    async def _blob(self, request: Request, digest: str) -> Reply | Refusal | None:
        path = Path(self._backend.blob_dir()) / digest
        if not path.exists():
            return Refusal(code="not-found", message=f"there is no blob {digest}")
        status = 206 if begin_of(request) else 200
        return await _stream(request, status, b"application/octet-stream", blob(request, path))

    async def _log(self, request: Request, key: Key) -> Reply | Refusal:
        said = request.query("tail")
        if said and not said.isdigit():
            return Refusal(code="parameter-invalid", message="tail is a number of bytes")
        text = await self._backend.log(key, int(said or 65_536))
        if isinstance(text, Refusal):
            return text
        return Reply(200, text.encode(), ((b"content-type", b"text/plain; charset=utf-8"),))

    async def _backup(self, request: Request) -> Reply | Refusal | None:
        with tempfile.TemporaryDirectory(dir=self._backend.blob_dir()) as folder:
            path = Path(folder) / "backup.db"
            try:
                await self._backend.backup(str(path))
            except HansaError as error:
                return Refusal(code="busy", message=str(error))
            return await _stream(request, 200, b"application/octet-stream", blob(request, path))

    async def _watch(self, request: Request, tenant: str) -> Reply | Refusal | None:
        since = request.query("since")
        try:
            begin = Stamp(*(int(part) for part in since.split("."))) if since else None
        except (ValueError, TypeError):
            message = f"since is a revision like 1.42, and not {since}"
            return Refusal(code="parameter-invalid", message=message)
        kinds = {kind for kind in request.query("kind").split(",") if kind}
        if not kinds <= BY_KIND.keys():
            message = f"kind is one of {', '.join(sorted(BY_KIND))}"
            return Refusal(code="parameter-invalid", message=message)
        scope = f"{tenant}/{request.query('workspace')}".rstrip("/") + "/"
        return await _stream(request, 200, b"application/x-ndjson", self._news(begin, kinds, scope))

    async def _news(self, begin: Stamp | None, kinds: set[str], scope: str) -> AsyncIterator[bytes]:
        try:
            async for revision, changes in self._backend.changes(begin):
                at = f"{revision.incarnation}.{revision.counter}"
                shown = [
                    self._line(at, change)
                    for change in changes
                    if (not kinds or change.kind in kinds)
                    and (change.key.startswith(scope) or change.kind not in _TENANTS_OWN)
                ]
                yield b"".join(shown) or b'{"revision":"%b"}\n' % at.encode()
        except TrimmedError as error:
            yield msgspec.json.encode({"code": "revision-trimmed", "detail": str(error)}) + b"\n"

    def _line(self, at: str, change: Change) -> bytes:
        head = {"revision": at, "kind": change.kind, "key": change.key}
        if change.new is None:
            self._answers.forget(change.kind, change.key)
            return msgspec.json.encode({**head, "change": "delete"}) + b"\n"
        shown = msgspec.Raw(self._answers.reduced(change.key, change.new))
        return msgspec.json.encode({**head, "change": "put", "object": shown}) + b"\n"


_TENANTS_OWN: Final = frozenset(noun.type.kind for noun in RESOURCES if noun.parent is not None) | {
    Image.kind
}


async def _stream(request: Request, status: int, media: bytes, parts: AsyncIterator[bytes]) -> None:
    """Send what comes as it comes; end when the client has gone."""
    headers = [(b"content-type", media)]
    await request.send({"type": "http.response.start", "status": status, "headers": headers})
    with contextlib.suppress(OSError):
        async for part in parts:
            await request.send({"type": "http.response.body", "body": part, "more_body": True})
    await request.send({"type": "http.response.body", "body": b""})
