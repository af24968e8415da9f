"""A backend that has its state in memory, and a client of the server over it, in process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec

from hansa.errors import TrimmedError
from hansa.model.envelope import Key, Lifecycle, Metadata, Resource
from hansa.model.node import Invitation
from hansa.model.refusal import Profile, Refusal
from hansa.model.region import Region
from hansa.model.sku import InstanceSku, NetworkSku, StorageSku
from hansa.model.stamp import Stamp
from hansa.model.state import Action, Change, Commit, Proposal, State, apply, put
from hansa.reconcile.power import ACTIONS
from hansa.serve.app import make_app
from hansa.serve.backend import Object, Subject
from hansa.serve.view import from_request

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("seca.workspace", "seca.storage", "seca.compute", "seca.network")
URL = "http://127.0.0.1"
ROOT, GUEST = "of root", "of a guest"


def catalogue() -> list[Resource]:
    """Return what a provider has on offer."""
    services = [{"name": n, "version": "v1", "url": f"{URL}/providers/{n}"} for n in NAMES]
    at = Metadata(name="eu-1")
    region = msgspec.json.encode({"spec": {"availableZones": ["a", "b"], "providers": services}})
    skus = ((InstanceSku, "D2XS"), (StorageSku, "RD500"), (NetworkSku, "N1K"))
    return [
        from_request(Region, at, region),
        *(from_request(sku, Metadata(name=name, tenant="t1"), sku.example) for sku, name in skus),
    ]


class InMemory:
    """A Backend: what is proposed takes effect at once."""

    region = "eu-1"

    def __init__(self, folder: Path) -> None:
        """Begin with the catalogue."""
        self.state = apply(State(), [put(each, BEGIN) for each in catalogue()]).state
        self.now, self._folder = BEGIN, folder
        self.news: list[tuple[Stamp, tuple[Change, ...]]] = []
        self.base = self.state.revision
        self._fresh = asyncio.Event()
        self.inspected: int | Refusal = 1 << 20
        self.readers = 0

    def now_us(self) -> int:
        """Be a clock, too."""
        return 0

    def today(self) -> datetime:
        """Return an instant that is later each time."""
        self.now += timedelta(seconds=1)
        return self.now

    async def propose(self, proposal: Proposal) -> Commit | Refusal:
        """Decide and apply."""
        actions = proposal(self.state, self.today())
        if isinstance(actions, Refusal):
            return actions
        return self.commit(*actions)

    def commit(self, *actions: Action) -> Commit:
        """Apply, and tell."""
        commit = apply(self.state, actions)
        self.state = commit.state
        self.news.append((commit.state.revision, commit.changes))
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()
        return commit

    def authenticate(self, token: str, now: datetime) -> Subject | Refusal:
        """Know two tokens."""
        assert now >= BEGIN
        if token == ROOT:
            return Subject(name="root", is_administrator=True)
        if token == GUEST:
            return Subject(name="guest", tenants=("t1",))
        return Refusal(code="token-invalid", message="no such token")

    def may(self, subject: Subject, verb: str, thing: Object) -> Refusal | None:
        """Let guests read workspaces and instances of their tenant."""
        is_theirs = thing.resource.startswith(("workspaces", "instances")) and verb != "put"
        if subject.is_administrator or (is_theirs and thing.tenant in subject.tenants):
            return None
        return Refusal(code="not-allowed", message=f"{subject.name} may not {verb}")

    async def changes(self, since: Stamp | None) -> AsyncIterator[tuple[Stamp, tuple[Change, ...]]]:
        """Yield what happened, and what happens."""
        at = since or self.state.revision
        if at < self.base:
            raise TrimmedError("it begins later")
        self.readers += 1
        try:
            while True:
                fresh = self._fresh
                for each in [each for each in self.news if each[0] > at]:
                    yield each
                    at = each[0]
                await fresh.wait()
        finally:
            self.readers -= 1

    def explain(self, key: Key) -> Mapping[str, object] | Refusal:
        """Say nothing of interest."""
        return {"format": "hansa.explain/1", "instance": key}

    async def audit(self) -> list[dict[str, object]]:
        """Find something."""
        return [{"node": "n1", "finding": "adrift"}]

    def blob_dir(self) -> str:
        """Return the folder."""
        return str(self._folder)

    async def backup(self, path: str) -> None:
        """Write a file."""
        await asyncio.to_thread(Path(path).write_bytes, b"all of it")

    def metrics(self) -> bytes:
        """Count."""
        return b"hansa_commits_total 1\n"

    async def log(self, key: Key, tail_bytes: int) -> str | Refusal:
        """Return the end of a log."""
        return f"log of {key}"[-tail_bytes:]

    async def secret(self, node: Key, digest: str) -> bytes | None:
        """Know one."""
        return b"user data" if (node, digest) == ("n1", "d1") else None

    async def inspect_image(self, path: str) -> int | Refusal:
        """Say what was told; a raw image becomes another file."""
        data = await asyncio.to_thread(Path(path).read_bytes)
        if data.startswith(b"raw"):
            await asyncio.to_thread(Path(path).write_bytes, data.replace(b"raw", b"cooked", 1))
        return self.inspected

    async def invite(self, name: Key, zone: str) -> str | Refusal:
        """Expect a node."""
        body = msgspec.json.encode({"spec": {"zone": zone}})
        noun = from_request(Invitation, Metadata(name=name), body)
        life = Lifecycle().through(BEGIN, "pending", "creating", "active")
        self.commit(put(msgspec.structs.replace(noun, lifecycle=life), BEGIN))
        return f"{name}.secret"

    async def join(self, body: bytes) -> dict[str, object] | Refusal:
        """Let in who is polite."""
        if body != b'{"please":true}':
            return Refusal(code="invitation-invalid", message="say please")
        return {"region": self.region}

    async def lose(self, node: Key) -> Refusal | None:
        """Know one node."""
        return None if node == "n1" else Refusal(code="node-up", message="it is up")


class Api:
    """A client: each call is one request of a fresh connection."""

    def __init__(self, folder: Path, *, is_strict: bool = False) -> None:
        """Begin with a fresh region."""
        self.backend = InMemory(folder)
        profile: Profile = "spec" if is_strict else "conformance"
        self.app = make_app(self.backend, ACTIONS, self.backend, profile=profile)

    def call(
        self,
        method: str,
        path: str,
        said: object = None,
        *,
        content: bytes | None = None,
        who: str = ROOT,
        **headers: str,
    ) -> httpx.Response:
        """Send one request; an underscore in a header's name is a dash."""
        asked = self.send(method, path, said, content=content, who=who, **headers)
        return asyncio.run(asked)

    async def send(
        self,
        method: str,
        path: str,
        said: object = None,
        *,
        content: bytes | None = None,
        who: str = ROOT,
        **headers: str,
    ) -> httpx.Response:
        """Send one request from within a loop."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            named["authorization"] = f"Bearer {who}"
        if said is not None:
            content, named = msgspec.json.encode(said), {"content-type": "application/json"} | named
        transport = httpx.ASGITransport(app=self.app)
        url = path if path.startswith("/.") or path.count("/") == 1 else f"/providers/{path[1:]}"
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.request(method, url, content=content, headers=named)

    def make(self, path: str, spec: object, **more: object) -> httpx.Response:
        """Create something that is needed."""
        reply = self.call("PUT", path, {"spec": spec, **more})
        assert reply.status_code in (200, 201), reply.text
        return reply
