"""The synchronous core of a region: it decides, and asks its shell to write and to send.

A round: `batch` takes all that waits and decides it upon the latest state; the shell makes it
durable; `committed` lets it take effect, answers, and says what to send.  One round at a time.
The simulator runs this very class.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Self

import msgspec

from hansa.model.envelope import Key
from hansa.model.node import Node
from hansa.model.refusal import Refusal
from hansa.model.stamp import Stamp
from hansa.model.state import Action, Commit, Draft, Proposal, State
from hansa.reconcile import departures, instances
from hansa.reconcile.leases import Leases, Pool
from hansa.reconcile.leases import plan as plan_leases
from hansa.region.documents import document, touched
from hansa.region.keeper import Keeper, Timers
from hansa.region.reports import judge, observe
from hansa.scheduling.fold import Fold
from hansa.wire.messages import Ack, Document, Heartbeat, Message, Poke, Pull, Status

BATCH_MAX: Final = 512
"""Proposals a commit: enough to share a sync, few enough that none waits long for the others."""

Outcome = Commit | Refusal
Answer = Callable[[Outcome], None]


class Folds(msgspec.Struct, frozen=True):
    """All that is folded from the state."""

    placement: Fold = Fold()
    leaving: departures.Leaving = departures.Leaving()
    leases: Leases = Leases()

    @classmethod
    def of(cls, state: State) -> Self:
        """Rebuild them."""
        return cls(Fold.of(state), departures.Leaving.of(state), Leases.of(state))

    def after(self, commit: Commit) -> Self:
        """Return them after a commit."""
        return type(self)(
            self.placement.after(commit),
            self.leaving.after(commit),
            self.leases.after(commit),
        )


class Batch(msgspec.Struct, frozen=True):
    """What one commit would do, and who waits for it."""

    expected: Stamp
    commit: Commit
    answers: tuple[tuple[Answer, Refusal | None], ...] = ()
    unasked: tuple[Proposal, ...] = ()
    """What nobody waits for, and nobody would propose again: verdicts, and what nodes said."""


class Send(msgspec.Struct, frozen=True):
    """A message for a node, which may be lost."""

    node: Key
    message: Message


class Core:
    """The state of a region, its folds, its keeper, and what waits to be decided."""

    def __init__(self, state: State, timers: Timers, pool: Pool, now_us: int) -> None:
        """Begin with what the store holds."""
        self.state, self.folds, self.timers = state, Folds.of(state), timers
        self._pool = pool
        self._keeper = Keeper(timers, state.of(Node), now_us)
        self._waiting: list[tuple[Proposal, Answer | None]] = []
        # What each node must have read; who is not in it, as of when this process began.
        self._wanted: dict[Key, Stamp] = {}
        self._begun = state.revision
        self._latest: dict[Key, tuple[str, int]] = {}  # The status that was last taken.
        self._is_at_rest = False

    def propose(self, proposal: Proposal, answer: Answer | None = None) -> None:
        """Have it decided in the next round."""
        self._waiting.append((proposal, answer))

    @property
    def has_work(self) -> bool:
        """Whether a round would decide anything."""
        return bool(self._waiting) or not self._is_at_rest

    def tick(self, now_us: int) -> None:
        """Let time pass: at least every quarter of a wait, or it counts as having stood still."""
        known = {key: node.health.verdict for key, node in self.state.of(Node).items()}
        for node, verdict in self._keeper.judge(now_us, known):
            self.propose(judge(node, verdict))

    def receive(self, node: Key, message: Message, now_us: int) -> list[Send]:
        """Take a message that surely came from `node`; return what to send at once."""
        if (noun := self.state.of(Node).get(node)) is None or not noun.identity.key:
            return []
        match message:
            case Heartbeat():
                return self._heartbeat(noun, node, message, now_us)
            case Pull(generation=has):
                return [Send(node, self._document(node))] if has < self._due(node) else []
            case Status(session=session, number=number):
                # A late one of the same session is old news; another session is a new life.
                last = self._latest.get(node, ("", -1))
                if session == last[0] and number <= last[1]:
                    return []
                self._latest[node] = session, number
                self.propose(observe(node, message, self.folds.placement))
                return []
            case _:
                return []

    def batch(self, at: datetime, now_us: int) -> Batch | None:
        """Decide what waits: plans first, on the state that the folds are of."""
        draft, answers = Draft(self.state), list[tuple[Answer, Refusal | None]]()
        if not self._is_at_rest:
            for action in self._plan(now_us):
                draft.act(action)
            self._is_at_rest = True
        waiting, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        for proposal, answer in waiting:
            decided = proposal(draft.state, at)
            if not isinstance(decided, Refusal):
                for action in decided:
                    draft.act(action)
            if answer:
                answers.append((answer, decided if isinstance(decided, Refusal) else None))
        unasked = tuple(proposal for proposal, answer in waiting if answer is None)
        return Batch(self.state.revision, draft.commit(), tuple(answers), unasked)

    def committed(self, batch: Batch) -> list[Send]:
        """Let a durable commit take effect; return what to send."""
        commit = batch.commit
        sends: list[Send] = []
        if commit.changes:
            self.state, self.folds = commit.state, self.folds.after(commit)
            self._is_at_rest = False
            for node in sorted(touched(commit, self.folds.placement)):
                self._wanted[node] = commit.state.revision
                sends.append(Send(node, Poke(incarnation=commit.state.revision.incarnation)))
            for key, _, new in commit.of(Node):
                if new is None:
                    self._keeper.forget(key)
        for answer, refusal in batch.answers:
            answer(refusal or commit)
        return sends

    def failed(self, batch: Batch, refusal: Refusal) -> None:
        """Answer those whose commit did not come about; the state is as it was."""
        self._is_at_rest = False
        self._waiting[:0] = [(proposal, None) for proposal in batch.unasked]
        for answer, no in batch.answers:
            answer(no or refusal)

    def check_folds(self) -> bool:
        """Rebuild what is folded and compare: the law of the folds."""
        rebuilt = Folds.of(self.state)
        same = rebuilt.placement.plain() == self.folds.placement.plain()
        return same and rebuilt.leaving == self.folds.leaving

    def _plan(self, now_us: int) -> list[Action]:
        state, folds = self.state, self.folds
        return [
            *plan_leases(state, folds.leases, self._pool, now_us),
            *instances.plan(state, folds.placement, now_us),
            *departures.plan(state, folds.leaving, now_us),
        ]

    def _heartbeat(self, noun: Node, node: Key, said: Heartbeat, now_us: int) -> list[Send]:
        due = self._due(node)
        poke = Send(node, Poke(incarnation=self.state.revision.incarnation))
        if said.generation < noun.fence.floor:
            return [poke]
        if noun.health.verdict == "down" or self._keeper.is_falling(node):
            # It is acknowledged after its verdict is taken back, and not before.
            self.propose(judge(node, "up"), lambda _: self._keeper.hear(node, now_us))
            return [poke]
        if noun.health.verdict != "up":
            self.propose(judge(node, "up"))
        self._keeper.hear(node, now_us)
        ack = Ack(session=said.session, number=said.number, lease_us=self.timers.lease_us)
        return [Send(node, ack), *([poke] if said.generation < due else [])]

    def _due(self, node: Key) -> Stamp:
        return self._wanted.get(node, self._begun)

    def _document(self, node: Key) -> Document:
        return document(self.state, self.folds.placement, node)
