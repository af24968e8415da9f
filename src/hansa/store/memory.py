"""The simulator's store: a disk that outlives its user; a crash loses what was not synced."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Literal

from hansa.errors import StaleRevisionError, StoreError, StoreFullError, TrimmedError
from hansa.model.stamp import Stamp
from hansa.ports import Row

Fault = Callable[[Literal["write", "sync"], int], Exception | None]
"""Told step and number of each commit to a disk, from 1, it says what goes wrong, if anything.

StoreFullError at "write" changes nothing; anything else leaves the commit in doubt.
"""


class Disk:
    """What is on disk, and what would be lost if the power went now."""

    def __init__(self, fault: Fault = lambda _step, _number: None) -> None:
        """Begin empty."""
        self.fault, self.commits = fault, 0
        self.revision = self.floor = Stamp(1, 0)
        self.rows: dict[tuple[str, str], Row] = {}
        self.log: dict[Stamp, tuple[Row, ...]] = {}  # In the order of their stamps.
        self.backups: dict[str, Disk] = {}
        self.user: MemoryStore | None = None
        self._written: tuple[Stamp, tuple[Row, ...]] | None = None

    def commit(self, revision: Stamp, rows: tuple[Row, ...]) -> None:
        """Write it, then sync it; either may fail."""
        self.commits += 1
        self._step("write")
        self._written = (revision, rows)
        self._step("sync")
        self.sync()

    def sync(self) -> None:
        """Make durable what was written."""
        if self._written is None:
            return
        (self.revision, rows), self._written = self._written, None
        self.log[self.revision] = rows
        for row in rows:
            self.rows[row.kind, row.key] = row
            if row.data is None:
                del self.rows[row.kind, row.key]

    def crash(self) -> None:
        """Lose the user, and what was not synced."""
        self.user = self._written = None

    def copy(self) -> "Disk":
        """Return another disk with the same on it."""
        other = Disk()
        other.revision, other.floor = self.revision, self.floor
        other.rows, other.log = dict(self.rows), dict(self.log)
        return other

    def _step(self, step: Literal["write", "sync"]) -> None:
        if (error := self.fault(step, self.commits)) is not None:
            raise error


class MemoryStore:
    """Rows and change log of one disk, for one user at a time."""

    def __init__(self, disk: Disk) -> None:
        """Open it; what was written and survived is durable now."""
        if disk.user is not None:
            raise StoreError("another process has it open for writing")
        disk.sync()
        self._disk, self._is_sound = disk, True
        disk.user = self

    def load(self) -> tuple[Stamp, list[Row]]:
        """Return the revision and all live rows, ordered by kind and key."""
        self._check()
        return self._disk.revision, [row for _, row in sorted(self._disk.rows.items())]

    def commit(self, expected: Stamp, revision: Stamp, rows: Sequence[Row]) -> None:
        """Write rows and log entry at once, durable on return (see the port)."""
        assert revision > expected, f"{revision} does not come after {expected}"
        assert all(row.revision == revision for row in rows), f"a row is not of {revision}"
        self._check()
        if self._disk.revision != expected:
            raise StaleRevisionError(f"the store is not at {expected}")
        self._is_sound = False  # Until the opposite is certain.
        try:
            self._disk.commit(revision, tuple(rows))
        except StoreFullError:
            self._is_sound = True
            raise
        self._is_sound = True

    def changes(self, since: Stamp, limit: int) -> list[Row]:
        """Return what changed after `since`, whole commits, until they are `limit` rows or more."""
        if since != self._disk.floor and since not in self._disk.log:
            raise TrimmedError(f"the log does not know {since}")
        rows: list[Row] = []
        for revision, changes in self._disk.log.items():
            if revision > since:
                rows += changes
                if len(rows) >= limit:
                    break
        return rows

    def trim(self, keep: int) -> None:
        """Forget all but the last `keep` commits of the log."""
        self._check()
        log = self._disk.log
        for revision in list(islice(log, max(0, len(log) - keep))):
            del log[revision]
            self._disk.floor = revision

    def backup(self, path: str) -> None:
        """Keep a copy of the disk under that name; raises if there is one."""
        if path in self._disk.backups:
            raise StoreError(f"cannot back up to {path}: it exists")
        self._disk.backups[path] = self._disk.copy()

    def close(self) -> None:
        """Let go of the disk."""
        if self._disk.user is self:
            self._disk.user = None

    def _check(self) -> None:
        if not self._is_sound or self._disk.user is not self:
            raise StoreError("after an error it is not known what is on disk: open the store anew")
