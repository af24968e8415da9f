"""Watches: one queue of commits, and as many readers as there are; who is slow is cut off."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from hansa.errors import TrimmedError
from hansa.model.stamp import Stamp
from hansa.model.state import Change, Commit

News = tuple[Stamp, tuple[Change, ...]]
SIGN_OF_LIFE_S = 10.0
KEPT = 20_000
"""Commits kept in memory: a watch that comes back within them resumes without the store."""


class Newsroom:
    """The last commits, and an event for those who wait for the next."""

    def __init__(self, revision: Stamp) -> None:
        """Begin after a revision."""
        self._base, self._last = revision, revision
        self._kept: deque[News] = deque(maxlen=KEPT)
        self._fresh = asyncio.Event()

    def publish(self, commit: Commit) -> None:
        """Tell all readers of a commit."""
        if not commit.changes:
            return
        if len(self._kept) == KEPT:
            self._base = self._kept[0][0]
        self._last = commit.state.revision
        self._kept.append((self._last, commit.changes))
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    async def read(self, since: Stamp | None) -> AsyncIterator[News]:
        """Yield every commit after `since`, or after now.  Raises TrimmedError if that is gone."""
        at = self._last if since is None else since
        while True:
            if at < self._base:
                raise TrimmedError(f"revision {at} is no longer kept")
            fresh = self._fresh
            news = self._after(at)
            for each in news:
                yield each
                at = each[0]
            if not news:
                try:
                    await asyncio.wait_for(fresh.wait(), SIGN_OF_LIFE_S)
                except TimeoutError:
                    yield self._last, ()

    def _after(self, at: Stamp) -> list[News]:
        news: list[News] = []
        for each in reversed(self._kept):
            if each[0] <= at:
                break
            news.append(each)
        return news[::-1]
