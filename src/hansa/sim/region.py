"""The region's machine: the real core over a disk that survives it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from hansa.errors import StoreFullError
from hansa.model.envelope import Key
from hansa.model.refusal import Refusal
from hansa.model.state import Commit, Proposal, State
from hansa.reconcile.leases import Pool
from hansa.region.core import Batch, Core, Outcome, Send
from hansa.region.keeper import Timers
from hansa.sim.clocks import SECOND_US, drawn
from hansa.sim.kernel import Kernel
from hansa.sim.network import REGION, Network
from hansa.sim.nouns import BEGIN
from hansa.store.codec import rows_of, state_of
from hansa.store.memory import Disk, MemoryStore
from hansa.wire.messages import Message

TICK_US: Final = SECOND_US // 4
FULL: Final = Refusal(code="store-full", message="the disk of the region is full")
GONE: Final = Refusal(code="busy", message="the region went down")


class Region:
    """Runs, is crashed at any instant, and starts again from what was synced."""

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        loaded: Callable[[State], None],
        took: Callable[[Commit], None],
    ) -> None:
        """Begin down; `loaded` and `took` hear what it starts from, and where it goes."""
        self._kernel, self._network, self._loaded, self._took = kernel, network, loaded, took
        self._chance, self.clock = kernel.chance(REGION), drawn(kernel, REGION)
        self.disk, self.timers = Disk(), Timers()
        self.core: Core | None = None
        self._store: MemoryStore | None = None
        self._batch: Batch | None = None
        self._life = 0
        self.sync_min_us, self.sync_max_us = 500, 8_000
        self._frozen_until_us = 0
        network.join(REGION, self._receive)

    def start(self) -> None:
        """Load what the disk has, and go on."""
        if self.core is not None:
            return
        self._store = MemoryStore(self.disk)
        state = state_of(*self._store.load())
        self._loaded(state)
        pool = Pool("192.0.2.0/24")
        self.core = Core(state, self.timers, pool, self.clock.now_us())
        self._tick(self._life)
        self.wake()

    def crash(self) -> None:
        """Lose all that is not on disk; what was being written may be there, or not."""
        if self._batch and self._batch.commit.changes and self._chance.random() < 1 / 2:
            self._write(self._batch)
        self._life += 1
        self.core = self._store = self._batch = None
        self.disk.crash()

    def freeze(self, length_us: int) -> None:
        """Let its loop stand still: it hears nothing and judges nothing until then."""
        self._frozen_until_us = self._kernel.now_us + length_us

    def propose(self, proposal: Proposal, answer: Callable[[Outcome], None] | None = None) -> None:
        """Ask it for something, unless it is down."""
        if self.core is None:
            if answer:
                answer(GONE)
            return
        self.core.propose(proposal, answer)
        self.wake()

    def wake(self) -> None:
        """Begin a round, if there is work and none is under way."""
        if self.core is None or self._batch or not self.core.has_work:
            return
        at = BEGIN + timedelta(microseconds=self._kernel.now_us)
        self._batch = self.core.batch(at, self.clock.now_us())
        if self._batch is None:
            return
        delay_us = 0
        if self._batch.commit.changes:
            delay_us = self._chance.randrange(self.sync_min_us, self.sync_max_us)
        self._kernel.after(delay_us, partial(self._synced, self._life, self._batch))

    def _synced(self, life: int, batch: Batch) -> None:
        if life != self._life or self.core is None:
            return
        self._batch = None
        if batch.commit.changes and not self._write(batch):
            self.core.failed(batch, FULL)
            return  # The next tick tries again.
        sends = self.core.committed(batch)
        if batch.commit.changes:
            self._took(batch.commit)
        self._send(sends)
        self.wake()

    def _write(self, batch: Batch) -> bool:
        assert self._store
        try:
            revision = batch.commit.state.revision
            self._store.commit(batch.expected, revision, rows_of(batch.commit))
        except StoreFullError:
            return False
        self._store.trim(100)
        return True

    def _tick(self, life: int) -> None:
        if life != self._life or self.core is None:
            return
        if not self._wait(partial(self._tick, life)):
            self.core.tick(self.clock.now_us())
            self.wake()
            self._kernel.after(TICK_US, partial(self._tick, life))

    def _receive(self, sender: str, message: Message) -> None:
        if self.core is None or self._wait(partial(self._receive, sender, message)):
            return
        self._send(self.core.receive(Key(sender), message, self.clock.now_us()))
        self.wake()

    def _wait(self, call: Callable[[], None]) -> bool:
        """Put a call off while it stands still."""
        left_us = self._frozen_until_us - self._kernel.now_us
        if left_us > 0:
            self._kernel.after(left_us, call)
        return left_us > 0

    def _send(self, sends: list[Send]) -> None:
        for send in sends:
            self._network.send(REGION, send.node, send.message)
