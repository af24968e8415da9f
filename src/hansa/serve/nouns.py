"""Every noun's routes: list, get, put, delete and its verbs, from one handler each."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from hansa.model.admission import decode_problem, to_delete, to_put
from hansa.model.envelope import Key, Name, Resource
from hansa.model.naming import path
from hansa.model.refusal import Refusal
from hansa.model.state import Proposal
from hansa.serve.backend import Backend, Object, Subject
from hansa.serve.http import JSON, Reply, Request
from hansa.serve.labels import Filter
from hansa.serve.labels import parse as parse_labels
from hansa.serve.listing import LIMIT_DEFAULT, LIMIT_MAX, Answers, page
from hansa.serve.routes import Target
from hansa.serve.view import from_request, said_region, to_answer

Actions = Mapping[tuple[str, str], Callable[[Key, int | None], Proposal]]
SCOPE_MAX: Final = 64
_NAMES: Final = msgspec.json.Decoder(Name)


class Nouns:
    """Answers for all nouns of the registry."""

    def __init__(self, backend: Backend, actions: Actions) -> None:
        """Keep who has the state, and what the verbs propose."""
        self._backend, self._actions = backend, actions
        self.answers = Answers(backend.region)

    async def handle(self, request: Request, target: Target, subject: Subject) -> Reply | Refusal:
        """Answer one request; whether the subject may is decided before anything else is told."""
        noun, method = target.noun, request.method
        allowed = _methods(target)
        if method not in allowed:
            facts: dict[str, str | int] = {"allow": ", ".join(allowed)}
            return Refusal(code="method-not-allowed", message=f"it has no {method}", facts=facts)
        verb = "list" if method == "GET" and not target.name else method.lower()
        if no := self._backend.may(subject, verb, object_of(target)):
            return no
        if method == "GET":
            return self._list(request, target) if not target.name else self._get(target)
        version = _version(request)
        if isinstance(version, Refusal):
            return version
        if method == "PUT":
            return await self._put(request, target, version)
        if method == "DELETE":
            return await self._settle(to_delete(noun.type.kind, target.key, version))
        return await self._settle(self._actions[noun.type.kind, target.verb](target.key, version))

    def _get(self, target: Target) -> Reply | Refusal:
        kind, key = target.noun.type.kind, target.key
        noun = self._backend.state.nouns.get(kind, {}).get(key)
        if noun is None:
            return Refusal(code="not-found", message=f"there is no {kind} {target.name}")
        return Reply(200, self.answers.whole(key, noun))

    def _list(self, request: Request, target: Target) -> Reply | Refusal:
        kind = target.noun.type.kind
        asked = _paging(request)
        if isinstance(asked, Refusal):
            return asked
        limit, after, keep = asked
        nouns = self._backend.state.nouns.get(kind, {})
        found, last = page(self.answers, kind, nouns, target.prefix, after, limit, keep)
        collection = path(kind, below=("tenant", "workspace")).format(**target.scope, name="")
        metadata = {
            "provider": target.noun.provider,
            "resource": collection.strip("/"),
            "verb": "GET",
        }
        if last:
            metadata["skipToken"] = base64.urlsafe_b64encode(last.encode()).decode()
        items = b",".join(found)
        return Reply(200, b'{"items":[%b],"metadata":%b}' % (items, msgspec.json.encode(metadata)))

    async def _put(self, request: Request, target: Target, version: int | None) -> Reply | Refusal:
        body = await request.body()
        if isinstance(body, Refusal):
            return body
        noun = self._read(target, body)
        if isinstance(noun, Refusal):
            return noun
        done = await self._backend.propose(to_put(noun, version))
        if isinstance(done, Refusal):
            return done
        kind, key = noun.kind, target.key
        # Of those that shared the commit, the last one's; it is there, or was deleted since.
        now = done.state.nouns[kind].get(key, noun)
        record = getattr(now, "record", None)
        is_new = record is None or record.resource_version == 1
        return Reply(201 if is_new else 200, to_answer(now, "PUT", self._backend.region), (JSON,))

    def _read(self, target: Target, body: bytes) -> Resource | Refusal:
        if no := _names(target):
            return no
        try:
            region = said_region(body)
            noun = from_request(target.noun.type, target.home, body)
        except msgspec.ValidationError as error:
            return decode_problem(error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Refusal(code="body-not-json", message=str(error))
        if region not in ("", self._backend.region):
            message = f'region "{region}" is not served here'
            fix = f"this is region {self._backend.region}"
            return Refusal(
                code="region-unknown", message=message, pointer="/metadata/region", fix=fix
            )
        return noun

    async def _settle(self, proposal: Proposal) -> Reply | Refusal:
        done = await self._backend.propose(proposal)
        return done if isinstance(done, Refusal) else Reply(202, b"", ())


def object_of(target: Target) -> Object:
    """Return what authorisation is asked about."""
    return Object(
        provider=target.noun.provider,
        resource=target.resource,
        tenant=target.scope.get("tenant", ""),
        workspace=target.scope.get("workspace", ""),
    )


def _methods(target: Target) -> tuple[str, ...]:
    if target.verb:
        return ("POST",)
    if target.name and target.noun.type.writable:
        return ("GET", "PUT", "DELETE")
    return ("GET",)


def _names(target: Target) -> Refusal | None:
    """Refuse names that break the rules: they are routed all the same."""
    for member, name in (*target.scope.items(), ("name", target.name)):
        try:
            _NAMES.decode(msgspec.json.encode(name))
        except msgspec.ValidationError:
            message = (
                f'"{name}" is no name: small letters, digits, - and . between them, 128 at most'
            )
            return Refusal(code="name-invalid", message=message, pointer=f"/metadata/{member}")
    longest = target.name if target.noun.type.kind in ("workspace", "network") else ""
    if any(len(name) > SCOPE_MAX for name in (longest, *target.scope.values())):
        message = f"the name of a {target.noun.type.kind} has at most {SCOPE_MAX} characters"
        return Refusal(code="name-invalid", message=message, pointer="/metadata/name")
    return None


def _version(request: Request) -> int | None | Refusal:
    said = request.header(b"if-unmodified-since")
    if not said:
        return None
    if said.isascii() and said.isdigit():
        return int(said)
    message = f"if-unmodified-since is the resourceVersion, an integer, and not {said}"
    return Refusal(code="parameter-invalid", message=message)


def _paging(request: Request) -> tuple[int, str, Filter | None] | Refusal:
    """Return limit, the name to begin after, and the label filter."""
    try:
        limit = int(request.query("limit") or LIMIT_DEFAULT)
        if not 1 <= limit <= LIMIT_MAX:
            raise ValueError(f"limit is from 1 to {LIMIT_MAX}")  # noqa: TRY301 - one way out
        token = request.query("skipToken")
        after = base64.urlsafe_b64decode(token.encode()).decode() if token else ""
        labels = request.query("labels")
        return limit, after, parse_labels(labels) if labels else None
    except (ValueError, binascii.Error) as error:
        return Refusal(code="parameter-invalid", message=str(error))
