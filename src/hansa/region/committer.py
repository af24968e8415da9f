"""The one writer: it takes what waits, has it decided and made durable, and lets it take effect."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from hansa.errors import StoreFullError
from hansa.model.refusal import Refusal
from hansa.model.state import Commit, Proposal
from hansa.ports import Clock, Row, Store
from hansa.region.core import Core, Outcome, Send

FULL = Refusal(
    code="store-full",
    message="the disk of the region is full; nothing was changed",
    fix="make room on the region's machine, then try again",
)


class Committer:
    """Rounds of a core over a store.  While one commit is synced, what comes waits for the next."""

    def __init__(
        self,
        core: Core,
        store: Store,
        rows_of: Callable[[Commit], list[Row]],
        clock: Clock,
        done: Callable[[Commit, Sequence[Send]], None],
    ) -> None:
        """Keep the parts; `done` is told of each commit that took effect, and what to send."""
        self.core, self._store, self._rows_of = core, store, rows_of
        self._clock, self._done = clock, done
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "store")
        self._log = structlog.get_logger()
        self.commits, self.proposals = 0, 0

    async def propose(self, proposal: Proposal) -> Outcome:
        """Return its outcome when it is durable."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not answer.done():  # Who asked may have gone.
                answer.set_result(outcome)

        self.core.propose(proposal, settle)
        self._news.set()
        return await answer

    def wake(self) -> None:
        """Say that something waits."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled.  Raises StoreError if the store is in doubt: then start anew."""
        loop = asyncio.get_running_loop()
        while True:
            if not self.core.has_work:
                self._news.clear()
                await self._news.wait()
            batch = self.core.batch(self._clock.today(), self._clock.now_us())
            if batch is None:
                continue
            commit = batch.commit
            if commit.changes:
                rows = self._rows_of(commit)
                revision = commit.state.revision
                try:
                    await loop.run_in_executor(
                        self._thread, self._store.commit, batch.expected, revision, rows
                    )
                except StoreFullError:
                    self._log.error("store full", revision=revision)
                    self.core.failed(batch, FULL)
                    await asyncio.sleep(0.2)  # Plans try again at once, and would spin.
                    continue
                self.commits += 1
            self.proposals += len(batch.answers)
            self._done(commit, self.core.committed(batch))
            await asyncio.sleep(0)

    async def read(self, call: Callable[[], object]) -> object:
        """Run a blocking call of the store in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
