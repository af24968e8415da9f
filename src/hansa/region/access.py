"""Who asks, and whether they may: the one function that every request passes."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from hansa.model.envelope import Key
from hansa.model.node import Node
from hansa.model.refusal import Refusal
from hansa.model.state import State
from hansa.serve.backend import Object, Subject
from hansa.trust.tokens import SKEW_S, BadTokenError, check

REGION_KEY: Final = "region"
_NODE: Final = "node:"
_CACHE_MAX: Final = 10_000


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says of it; roles and assignments come beside it."""

    region: str
    key: bytes  # The raw public key of the region's tokens.
    administrators: tuple[str, ...]


class Gate:
    """Checks tokens, remembering those that it has checked until they end."""

    def __init__(self, access: Access, state: Callable[[], State]) -> None:
        """Keep the keys; the keys of nodes are in the state."""
        self._access, self._state = access, state
        self._known: dict[str, tuple[int, Subject, bytes | None]] = {}

    def authenticate(self, token: str, now: datetime) -> Subject | Refusal:
        """Return whom a token speaks for."""
        now_s = int(now.timestamp())
        known = self._known.get(token)
        if known and (known[1].node is None or self._node_key(known[1].node) == known[2]):
            until_s, subject, _ = known
            return subject if now_s < until_s + SKEW_S else _ended(subject.name, now_s - until_s)
        try:
            header, claims = check(token, self._key_of)
        except BadTokenError as error:
            return Refusal(code="token-invalid", message=str(error))
        if now_s >= claims.exp + SKEW_S:
            return _ended(claims.sub, now_s - claims.exp)
        node = Key(header.kid.removeprefix(_NODE)) if header.kid.startswith(_NODE) else None
        subject = Subject(
            name=claims.sub,
            tenants=claims.scope.tenants,
            regions=claims.scope.regions,
            workspaces=claims.scope.workspaces,
            node=node,
            is_administrator=node is None and claims.sub in self._access.administrators,
        )
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[token] = claims.exp, subject, self._node_key(node) if node else None
        return subject

    def may(self, subject: Subject, verb: str, thing: Object) -> Refusal | None:
        """Return why a subject may not do this to that."""
        if subject.node is not None:
            return None if _is_its_own(subject.node, verb, thing) else _no(subject, verb, thing)
        for allowed, asked in (
            (subject.tenants, thing.tenant),
            (subject.regions, self._access.region),
            (subject.workspaces, thing.workspace),
        ):
            if allowed and asked not in allowed:
                return _no(subject, verb, thing)
        return None if subject.is_administrator else _no(subject, verb, thing)

    def _key_of(self, kid: str) -> bytes | None:
        if kid == REGION_KEY:
            return self._access.key
        return self._node_key(Key(kid.removeprefix(_NODE))) if kid.startswith(_NODE) else None

    def _node_key(self, name: Key) -> bytes | None:
        node = self._state().of(Node).get(name)
        return bytes.fromhex(node.identity.key) if node and node.identity.key else None


def _is_its_own(node: Key, verb: str, thing: Object) -> bool:
    """Tell whether a node's agent asks for bulk of its own: blobs, and its guests' secrets."""
    own = ("blobs/", f"nodes/{node}/secrets/")
    return (
        verb == "get" and thing.provider == "hansa.operator/v1" and thing.resource.startswith(own)
    )


def _no(subject: Subject, verb: str, thing: Object) -> Refusal:
    where = f"{thing.provider} {thing.resource}"
    message = f'"{subject.name}" may not {verb} {where}'
    return Refusal(code="not-allowed", message=message)


def _ended(name: str, ago_s: int) -> Refusal:
    message = f'the token of "{name}" ended {ago_s} s ago'
    return Refusal(code="token-expired", message=message, facts={"subject": name})
