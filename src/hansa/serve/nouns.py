"""Every noun's routes: list, get, put, delete and its verbs, from one handler each."""

import base64
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from hansa.model.admission import decode_problem, to_delete, to_put
from hansa.model.envelope import Key, Name, Resource, Stateful
from hansa.model.refusal import Refusal
from hansa.model.registry import RESOURCES
from hansa.model.state import Proposal
from hansa.serve.backend import Backend, Subject
from hansa.serve.http import Outcome, Reply, Request, bad_parameter
from hansa.serve.listing import LIMIT_DEFAULT, LIMIT_MAX, Answers, Asked, Page
from hansa.serve.routes import Target
from hansa.serve.view import from_request, said_region, to_answer

Actions = Mapping[tuple[str, str], Callable[[Key, int | None], Proposal]]
"""What a verb of a kind proposes, given a key and the version that it must have."""

SCOPE_MAX: Final = 64
_DIGITS_MAX: Final = 19  # Of an int64.
_IS_SCOPE: Final = frozenset({"workspace", "network"})
_NAMES: Final = msgspec.json.Decoder(Name)
_DONE: Final = Reply(202, b"", ())
_MARK: Final = "after:"
"""What a token says first, so that a made-up one is seen."""


class Nouns:
    """Answers for all nouns of the registry."""

    def __init__(self, backend: Backend, actions: Actions) -> None:
        """Keep who has the state, and what the verbs propose."""
        missing = {(n.type.kind, verb) for n in RESOURCES for verb in n.type.verbs} - {*actions}
        assert not missing, f"nobody does {missing}"
        self._backend, self._actions = backend, actions
        self.answers = Answers(backend)

    async def handle(self, request: Request, target: Target, subject: Subject) -> Outcome:
        """Answer one request; whether the subject may is decided before anything else is told."""
        method = request.method
        if method not in (allowed := _methods(target)):
            return _no_method(target, method, allowed)
        verb = "list" if method == "GET" and not target.name else method.lower()
        no = self._backend.may(subject, verb, target.thing) or request.unacceptable()
        if no:
            return no
        if method == "GET":
            return self._get(target) if target.name else self._list(request, target)
        return await self._write(request, target)

    async def written(self, request: Request, target: Target) -> Resource | Refusal:
        """Return the noun that a PUT asks for."""
        body = await request.json_body()
        if isinstance(body, Refusal):
            return body
        if no := _bad_name(target):
            return no
        try:
            region = said_region(body)
            noun = from_request(target.route.noun.type, target.home, body)
        except msgspec.ValidationError as error:
            return decode_problem(error)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return Refusal(code="body-not-json", message=str(error))
        if region not in ("", self._backend.region):
            return Refusal(
                code="region-unknown",
                message=f'region "{region}" is not served here',
                pointer="/metadata/region",
                fix=f"this is region {self._backend.region}",
            )
        return noun

    def _get(self, target: Target) -> Outcome:
        kind, key = target.kind, target.key
        noun = self._backend.state.nouns.get(kind, {}).get(key)
        if noun is None:
            return Refusal(code="not-found", message=f"there is no {kind} {key}")
        return Reply(200, self.answers.whole(key, noun))

    def _list(self, request: Request, target: Target) -> Outcome:
        asked = _asked(request, target.prefix)
        if isinstance(asked, Refusal):
            return asked
        try:
            body = self.answers.page(target.kind, asked, lambda page: self._shown(target, page))
        except ValueError as error:
            return bad_parameter("labels", str(error))
        return Reply(200, body)

    def _shown(self, target: Target, page: Page) -> bytes:
        revision = self._backend.state.revision
        metadata = {
            "provider": target.route.noun.provider,
            "resource": target.resource,
            "verb": "GET",
            "revision": f"{revision.incarnation}.{revision.counter}",  # A watch can go on from it.
        }
        if page.last:
            metadata["skipToken"] = base64.urlsafe_b64encode(
                f"{_MARK}{page.last}".encode()
            ).decode()
        return b'{"items":[%b],"metadata":%b}' % (page.items, msgspec.json.encode(metadata))

    async def _write(self, request: Request, target: Target) -> Outcome:
        version = _version(request)
        if isinstance(version, Refusal):
            return version
        if request.method == "PUT":
            return await self._put(request, target, version)
        if request.method == "DELETE":
            proposal = to_delete(target.kind, target.key, version)
        else:
            proposal = self._actions[target.kind, target.verb](target.key, version)
        done = await self._backend.propose(proposal)
        return done if isinstance(done, Refusal) else _DONE

    async def _put(self, request: Request, target: Target, version: int | None) -> Outcome:
        noun = await self.written(request, target)
        if isinstance(noun, Refusal):
            return noun
        done = await self._backend.propose(to_put(noun, version))
        if isinstance(done, Refusal):
            return done
        # Of those that shared the commit, the last one's; or it was deleted in the same commit.
        now = done.state.nouns[noun.kind].get(target.key, noun)
        is_new = not isinstance(now, Stateful) or now.record.resource_version <= 1
        return Reply(201 if is_new else 200, to_answer(now, "PUT", self._backend.region))


def _methods(target: Target) -> tuple[str, ...]:
    if target.verb:
        return ("POST",)
    if target.name and target.route.noun.type.writable:
        return ("GET", "PUT", "DELETE")
    return ("GET",)


def _no_method(target: Target, method: str, allowed: tuple[str, ...]) -> Refusal:
    is_catalogue = target.name and not target.verb and method in ("PUT", "DELETE")
    return Refusal(
        code="not-writable" if is_catalogue else "method-not-allowed",
        message=f"{target.resource} has no {method[:16]}, only {', '.join(allowed)}",
        facts={"allow": ", ".join(allowed)},
    )


def _bad_name(target: Target) -> Refusal | None:
    """Refuse names that break the rules: they are routed all the same."""
    named = [*zip(target.route.members, target.scope, strict=True), ("name", target.name)]
    for member, name in named:
        is_scope = member != "name" or target.kind in _IS_SCOPE
        longest = SCOPE_MAX if is_scope else 128
        try:
            _NAMES.decode(msgspec.json.encode(name))
        except (msgspec.ValidationError, UnicodeError):
            is_bad = True
        else:
            is_bad = len(name) > longest
        if is_bad:
            return Refusal(
                code="name-invalid",
                message=f'"{name}" is no name: 1 to {longest} of a-z, 0-9, "-" and "."',
                pointer=f"/metadata/{member}",
                fix="begin and end each part between dots with a letter or a digit",
            )
    return None


def _version(request: Request) -> int | Refusal | None:
    said = request.header(b"if-unmodified-since")
    if not said:
        return None
    version = _number(said)
    if version is None:
        message = f'it takes a resourceVersion, an integer, and not "{said[:80]}"'
        return bad_parameter("if-unmodified-since", message)
    return version


def _number(said: str) -> int | None:
    is_number = said.isascii() and said.isdigit() and len(said) <= _DIGITS_MAX
    return int(said) if is_number else None


def _asked(request: Request, prefix: str) -> Asked | Refusal:
    """Return what a list is asked for."""
    said = request.query("limit")
    limit = _number(said) if said else LIMIT_DEFAULT
    if limit is None or not 1 <= limit <= LIMIT_MAX:
        return bad_parameter("limit", f"limit is a number from 1 to {LIMIT_MAX}")
    after = _after(request.query("skipToken"))
    if after is None:
        return bad_parameter("skipToken", "this token was not given out here")
    only_leaving = "deleted=only" in request.header(b"accept").replace(" ", "")
    return Asked(prefix, after, limit, request.query("labels"), only_leaving)


def _after(token: str) -> str | None:
    """Return the name in a token; None if it is none of ours."""
    try:
        said = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        return None
    return said.removeprefix(_MARK) if said.startswith(_MARK) else None if said else ""
