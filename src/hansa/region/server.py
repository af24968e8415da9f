"""The shell of a region: the state's one writer, the nodes' endpoint, what the API asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from hansa.errors import UnknownVersionError
from hansa.model.envelope import Key
from hansa.model.instance import Instance
from hansa.model.node import Node
from hansa.model.refusal import Refusal
from hansa.model.stamp import Stamp
from hansa.model.state import Change, Commit, Proposal, State
from hansa.ports import Clock, Store, Telegraph
from hansa.region.access import Gate
from hansa.region.committer import Committer
from hansa.region.core import Send
from hansa.region.documents import secret_digest
from hansa.region.explaining import explain
from hansa.region.joining import Joining
from hansa.region.reports import lose
from hansa.region.watching import Newsroom
from hansa.serve.backend import Object, Subject
from hansa.wire.messages import Answer, Ask, Message, decode, encode

TICK_S: Final = 0.25
CHECK_EVERY: Final = 240
"""Ticks between two full passes over what is folded."""
TRIM_EVERY, LOG_KEPT = 40, 50_000
ASK_S: Final = 5.0


class RegionServer:
    """A Backend over a store, and the loops beside it."""

    def __init__(  # noqa: PLR0913 - the parts of a region
        self,
        *,
        region: str,
        committer: Committer,
        store: Store,
        newsroom: Newsroom,
        gate: Gate,
        joining: Joining,
        telegraph: Telegraph,
        clock: Clock,
        blob_dir: str,
        inspect: Callable[[str], Awaitable[int | Refusal]],
        chance: Callable[[], str],
    ) -> None:
        """Keep the parts."""
        self.region = region
        self._committer, self._store, self._newsroom = committer, store, newsroom
        self._gate, self._joining, self._telegraph = gate, joining, telegraph
        self._clock, self._blob_dir, self._inspect = clock, blob_dir, inspect
        self._chance = chance
        self._asked: dict[str, asyncio.Future[str]] = {}
        self._outbox: asyncio.Queue[Send] = asyncio.Queue()
        self._log = structlog.get_logger()
        self._received = 0

    @property
    def state(self) -> State:
        """Return the state as of the last durable commit."""
        return self._committer.core.state

    async def propose(self, proposal: Proposal) -> Commit | Refusal:
        """Have it decided; return when its commit is durable."""
        return await self._committer.propose(proposal)

    def authenticate(self, token: str, now: datetime) -> Subject | Refusal:
        """Return whom a token speaks for."""
        return self._gate.authenticate(token, now)

    def may(self, subject: Subject, verb: str, thing: Object) -> Refusal | None:
        """Return why a subject may not."""
        return self._gate.may(subject, verb, thing)

    def changes(self, since: Stamp | None) -> AsyncIterator[tuple[Stamp, tuple[Change, ...]]]:
        """Yield every commit after `since`."""
        return self._newsroom.read(since)

    def explain(self, key: Key) -> dict[str, object] | Refusal:
        """Return why an instance runs where it runs, or does not."""
        return explain(self.state, self._committer.core.folds.placement, key)

    async def audit(self) -> list[dict[str, object]]:
        """Ask all nodes at once; one that does not answer is a finding itself."""
        nodes = sorted(self.state.of(Node))
        answers = await asyncio.gather(*(self._ask(node, what="audit") for node in nodes))
        findings: list[dict[str, object]] = []
        for node, body in zip(nodes, answers, strict=True):
            if body is None:
                said = {"node": node, "kind": "node", "key": node, "finding": "does not answer"}
                findings.append({**said})
            else:
                findings += msgspec.json.decode(body, type=list[dict[str, object]])
        return findings

    def blob_dir(self) -> str:
        """Return where content lies."""
        return self._blob_dir

    async def backup(self, path: str) -> None:
        """Write the state into one new file."""
        await asyncio.to_thread(self._store.backup, path)

    def metrics(self) -> bytes:
        """Return counters and gauges in Prometheus' text format."""
        core, nodes = self._committer.core, list(self.state.of(Node).values())
        verdicts = [node.health.verdict for node in nodes]
        lines = [
            f"hansa_commits_total {self._committer.commits}",
            f"hansa_proposals_total {self._committer.proposals}",
            f"hansa_node_messages_total {self._received}",
            f"hansa_revision {self.state.revision.counter}",
            f"hansa_instances {len(self.state.of(Instance))}",
            f"hansa_instances_adrift {len(core.folds.placement.adrift)}",
            *(
                f'hansa_nodes{{health="{v}"}} {verdicts.count(v)}'
                for v in ("up", "unknown", "down")
            ),
        ]
        return ("\n".join(lines) + "\n").encode()

    async def log(self, key: Key, tail_bytes: int) -> str | Refusal:
        """Return the end of an instance's serial log."""
        instance = self.state.of(Instance).get(key)
        if instance is None:
            return Refusal(code="not-found", message=f"there is no instance {key}")
        if instance.grant is None:
            return ""
        said = await self._ask(instance.grant.node, what="log", key=key, tail_bytes=tail_bytes)
        if said is None:
            return Refusal(code="busy", message=f"node {instance.grant.node} does not answer")
        return said

    async def secret(self, node: Key, digest: str) -> bytes | None:
        """Return the user data of this digest, if an instance of that node has it."""
        granted = self._committer.core.folds.placement.on.get(node, {})
        for key in granted:
            text = self.state.of(Instance)[key].spec.user_data
            if secret_digest(text) == digest:
                return text.encode()
        return None

    async def inspect_image(self, path: str) -> int | Refusal:
        """Return the virtual bytes of a disk image."""
        return await self._inspect(path)

    async def invite(self, name: Key, zone: str) -> str | Refusal:
        """Return the line by which one machine may become this node."""
        token = self._chance()
        done = await self.propose(self._joining.to_invite(name, zone, token))
        return done if isinstance(done, Refusal) else self._joining.line(name, token)

    async def join(self, body: bytes) -> dict[str, object] | Refusal:
        """Make a machine a node."""
        asked = self._joining.read(body)
        if isinstance(asked, Refusal):
            return asked
        done = await self.propose(self._joining.to_join(asked))
        if isinstance(done, Refusal):
            return done
        return self._joining.welcome(asked, int(self._clock.today().timestamp()))

    async def lose(self, node: Key) -> Refusal | None:
        """Give a node up for good."""
        done = await self.propose(lose(node))
        return done if isinstance(done, Refusal) else None

    def took_effect(self, commit: Commit, sends: Sequence[Send]) -> None:
        """Tell watchers and nodes of a commit."""
        self._newsroom.publish(commit)
        for send in sends:
            self._outbox.put_nowait(send)

    async def run(self) -> None:
        """Run the loops until cancelled; an error in one of them ends them all."""
        async with asyncio.TaskGroup() as group:
            for loop in (self._committer.run, self._tick, self._receive, self._post):
                group.create_task(loop())

    async def _tick(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(TICK_S)
            count += 1
            core = self._committer.core
            core.tick(self._clock.now_us())
            if core.has_work:
                self._committer.wake()
            if count % CHECK_EVERY == 0 and not core.check_folds():
                self._log.error("what is folded is not what is rebuilt: this is a defect")
            if count % TRIM_EVERY == 0:
                await self._committer.read(lambda: self._store.trim(LOG_KEPT))

    async def _receive(self) -> None:
        while True:
            subject, data = await self._telegraph.receive()
            self._received += 1
            node = Key(subject.split(".")[1].replace("~", "."))
            try:
                message = decode(data)
            except (msgspec.DecodeError, UnknownVersionError) as error:
                self._log.warning("message not understood", node=node, why=str(error))
                continue
            if isinstance(message, Answer):
                waiting = self._asked.pop(message.ask, None)
                if waiting and not waiting.done():
                    waiting.set_result(message.body)
                continue
            for send in self._committer.core.receive(node, message, self._clock.now_us()):
                self._outbox.put_nowait(send)
            if self._committer.core.has_work:
                self._committer.wake()

    async def _post(self) -> None:
        while True:
            send = await self._outbox.get()
            await self._tell(send.node, send.message)

    async def _tell(self, node: Key, message: Message) -> None:
        subject = f"hansa.{node.replace('.', '~')}.down"
        await self._telegraph.send(subject, encode(message))

    async def _ask(self, node: Key, **about: Any) -> str | None:  # noqa: ANN401 - Ask's members
        ask = self._chance()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[ask] = answer
        await self._tell(node, Ask(ask=ask, **about))
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(answer, ASK_S)
        self._asked.pop(ask, None)
        return None
