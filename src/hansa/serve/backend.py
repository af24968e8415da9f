"""What the resource server needs of whoever has the state: a region, later a league's home."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from hansa.model.envelope import Key
from hansa.model.refusal import Refusal
from hansa.model.stamp import Stamp
from hansa.model.state import Change, Commit, Proposal, State


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as its token says; empty lists narrow nothing."""

    name: str
    tenants: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    node: Key | None = None
    """It is this node's agent, which signed the token with its own key."""
    is_administrator: bool = False


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: empty where it has none."""

    provider: str
    resource: str  # `instances` of a collection, `instances/vm1` of one.
    tenant: str = ""
    workspace: str = ""


class Backend(Protocol):
    """The state, its one writer, and its news."""

    region: str
    """The name that stands in metadata.region."""

    @property
    def state(self) -> State:
        """Return the state as of the last durable commit."""
        ...

    async def propose(self, proposal: Proposal) -> Commit | Refusal:
        """Have it decided upon the latest state; return when its commit is durable.

        The Commit is that of the whole group; its state has the proposal's effect.
        """
        ...

    def authenticate(self, token: str, now: datetime) -> Subject | Refusal:
        """Return whom a bearer token speaks for."""
        ...

    def may(self, subject: Subject, verb: str, thing: Object) -> Refusal | None:
        """Return why a subject may not do it; the one function that every request passes."""
        ...

    def changes(self, since: Stamp | None) -> AsyncIterator[tuple[Stamp, tuple[Change, ...]]]:
        """Yield every commit after `since` (None: from now on), forever.  Raises TrimmedError.

        A pause yields an empty tuple of changes about every 10 s, as a sign of life.
        """
        ...

    def explain(self, key: Key) -> Mapping[str, object] | Refusal:
        """Return `hansa.explain/1` of an instance: each node once, with refusals or scores."""
        ...

    async def audit(self) -> list[dict[str, object]]:
        """Return the findings of all nodes: what is assigned, and not so."""
        ...

    def blob_dir(self) -> str:
        """Return the directory in which content lies by its digest, and uploads in `partial/`."""
        ...

    async def backup(self, path: str) -> None:
        """Write the state into one new file."""
        ...

    def metrics(self) -> bytes:
        """Return them in Prometheus' text format."""
        ...

    async def log(self, key: Key, tail_bytes: int) -> str | Refusal:
        """Return the end of an instance's serial log, from its node."""
        ...

    async def secret(self, node: Key, digest: str) -> bytes | None:
        """Return the user data of this digest, if an instance of that node has it."""
        ...

    async def inspect_image(self, path: str) -> int | Refusal:
        """Return the virtual bytes of a disk image, raw ones having been made qcow2 in place."""
        ...

    async def invite(self, name: Key, zone: str) -> str | Refusal:
        """Return the line by which one machine may become this node, once."""
        ...

    async def join(self, body: bytes) -> dict[str, object] | Refusal:
        """Make a machine a node, by its invitation; return what it needs to speak to us."""
        ...

    async def lose(self, node: Key) -> Refusal | None:
        """Give a node up for good, on its operator's word."""
        ...
