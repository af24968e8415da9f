"""The store of one machine: SQLite in WAL mode, synced before a commit returns.

One connection writes.  Watches and backups read through others, which in WAL mode wait for no
writer and hold none up.  Whatever is doubtful after an error is settled by opening the file again.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from hansa.errors import StaleRevisionError, StoreError, StoreFullError, TrimmedError
from hansa.model.stamp import Stamp
from hansa.ports import Row

VERSION: Final = 1  # Of the tables below.

# The log has one row a commit, so that a commit costs two writes of its bytes and not two a noun.
TABLES: Final = (
    """CREATE TABLE store (
        id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL,
        incarnation INTEGER NOT NULL, counter INTEGER NOT NULL,
        floor_incarnation INTEGER NOT NULL, floor_counter INTEGER NOT NULL)""",
    """CREATE TABLE noun (
        kind TEXT NOT NULL, key TEXT NOT NULL,
        incarnation INTEGER NOT NULL, counter INTEGER NOT NULL,
        schema INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, key))""",
    """CREATE TABLE log (
        incarnation INTEGER NOT NULL, counter INTEGER NOT NULL,
        changes BLOB NOT NULL, PRIMARY KEY (incarnation, counter))""",
)
BEGIN: Final = "INSERT INTO store VALUES (1, ?, 1, 0, 1, 0)"
MOVE: Final = """UPDATE store SET incarnation = ?, counter = ?
    WHERE id = 1 AND incarnation = ? AND counter = ?"""
PUT: Final = """INSERT INTO noun VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET
    incarnation = excluded.incarnation, counter = excluded.counter,
    schema = excluded.schema, data = excluded.data"""
DELETE: Final = "DELETE FROM noun WHERE kind = ? AND key = ?"
LOG: Final = "INSERT INTO log VALUES (?, ?, ?)"
REVISION: Final = "SELECT incarnation, counter FROM store"
LOAD: Final = """SELECT kind, key, incarnation, counter, schema, data FROM noun
    ORDER BY kind, key"""
WAS_AT: Final = """SELECT EXISTS (SELECT 1 FROM store
        WHERE (floor_incarnation, floor_counter) = (:incarnation, :counter))
    OR EXISTS (SELECT 1 FROM log WHERE (incarnation, counter) = (:incarnation, :counter))"""
SINCE: Final = """SELECT changes FROM log WHERE (incarnation, counter) > (?, ?)
    ORDER BY incarnation, counter"""
NEW_FLOOR: Final = """SELECT incarnation, counter FROM log
    ORDER BY incarnation DESC, counter DESC LIMIT 1 OFFSET ?"""
FORGET: Final = "DELETE FROM log WHERE (incarnation, counter) <= (?, ?)"
RAISE_FLOOR: Final = "UPDATE store SET floor_incarnation = ?, floor_counter = ?"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Row]).decode


class SqliteStore:
    """Rows and change log in one file, for one process at a time."""

    def __init__(self, path: str, *, checkpoint_pages: int = 4000) -> None:
        """Open it, or make it; what a killed process left half done is undone.

        The log is folded into the file whenever it is `checkpoint_pages` of 4 KiB long.
        """
        self._path, self._is_sound = Path(path).absolute(), True
        with _told(f"cannot open the store {path}"), ExitStack() as stack:
            stack.callback(os.close, _locked(f"{self._path}.lock"))
            _create(self._path)
            self._writer = stack.enter_context(closing(_connect(self._path, "rw")))
            self._prepare(checkpoint_pages)
            self._reader = stack.enter_context(closing(_connect(self._path, "ro")))
            self._files = stack.pop_all()

    def load(self) -> tuple[Stamp, list[Row]]:
        """Return the revision and all live rows, ordered by kind and key."""
        self._check_sound()
        with _told("cannot load"), self._reading() as reader:
            revision = Stamp(*reader.execute(REVISION).fetchone())
            rows = [
                Row(kind, key, Stamp(incarnation, counter), schema, data)
                for kind, key, incarnation, counter, schema, data in reader.execute(LOAD)
            ]
        return revision, rows

    def commit(self, expected: Stamp, revision: Stamp, rows: Sequence[Row]) -> None:
        """Write rows and log entry at once, durable on return (see the port)."""
        assert revision > expected, f"{revision} does not come after {expected}"
        assert all(row.revision == revision for row in rows), f"a row is not of {revision}"
        last = {(row.kind, row.key): row for row in rows}.values()
        puts = [
            (kind, key, stamp[0], stamp[1], schema, data)
            for kind, key, stamp, schema, data in last
            if data is not None
        ]
        with self._writing() as writer:
            if writer.execute(MOVE, (*revision, *expected)).rowcount != 1:
                raise StaleRevisionError(f"the store is not at {expected}")
            if puts:
                writer.executemany(PUT, puts)
            if len(puts) < len(last):
                gone = [(row.kind, row.key) for row in last if row.data is None]
                writer.executemany(DELETE, gone)
            writer.execute(LOG, (*revision, _encode(rows)))

    def changes(self, since: Stamp, limit: int) -> list[Row]:
        """Return what changed after `since`, whole commits, until they are `limit` rows or more."""
        with _told("cannot read the log"), self._reading() as reader:
            # A revision that is not ours is one that a restored store has forgotten, or the future.
            [was_at] = reader.execute(WAS_AT, since._asdict()).fetchone()
            if not was_at:
                raise TrimmedError(f"the log does not know {since}")
            rows: list[Row] = []
            for (changes,) in reader.execute(SINCE, since):
                rows += _decode(changes)
                if len(rows) >= limit:
                    break
        return rows

    def trim(self, keep: int) -> None:
        """Forget all but the last `keep` commits of the log."""
        with self._writing() as writer:
            if floor := writer.execute(NEW_FLOOR, (keep,)).fetchone():
                writer.execute(FORGET, floor)
                writer.execute(RAISE_FLOOR, floor)

    def backup(self, path: str) -> None:
        """Write a whole and consistent copy into one new file; raises StoreError if it exists."""
        with _told(f"cannot back up to {path}"), ExitStack() as stack:
            if os.path.lexists(path):
                raise StoreError(f"cannot back up to {path}: it exists")
            # Under its name it is there whole or not at all, and replaces nothing.
            folder = Path(path).absolute().parent
            part = Path(stack.enter_context(TemporaryDirectory(prefix=".backup-", dir=folder)), "p")
            _create(part)
            with closing(_connect(self._path, "ro")) as reader:
                reader.execute("VACUUM INTO ?", (str(part),))
            _sync(part)
            os.link(part, path)
            try:
                _sync(folder)
            except OSError:
                Path(path).unlink()
                raise

    def close(self) -> None:
        """Let go of the files."""
        with _told("cannot close"):
            self._files.close()

    def _prepare(self, checkpoint_pages: int) -> None:
        """Bring a new or a known file to where it can be written."""
        writer = self._writer
        if not writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            with self._writing():
                for table in TABLES:
                    writer.execute(table)
                writer.execute(BEGIN, (VERSION,))
        [version] = writer.execute("SELECT version FROM store").fetchone()
        if version > VERSION:
            raise StoreError(
                f"{self._path} is of version {version}, and this program knows {VERSION}:"
                " a newer one has written it"
            )
        [mode] = writer.execute("PRAGMA journal_mode = WAL").fetchone()  # Kept in the file.
        if mode != "wal":
            raise StoreError(f"{self._path} is where SQLite has no WAL")
        writer.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        # A killed process may have written a commit and not synced it; what we load is durable.
        [is_busy, _, _] = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise StoreError(f"{self._path} is being read by another process")

    def _check_sound(self) -> None:
        if not self._is_sound:
            raise StoreError("after an error it is not known what is on disk: open the store anew")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Make one transaction of what is done within."""
        self._check_sound()
        self._is_sound = False  # Until the opposite is certain.
        with _told("cannot write"):
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                # SQLite itself calls it full only before a commit's last frame is written.
                if not isinstance(error, sqlite3.Error) or _is_full(error):
                    self._is_sound = self._undo(error)
                raise
            self._is_sound = True

    def _undo(self, error: BaseException) -> bool:
        """Return whether nothing has changed."""
        if self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
                return True
            return False
        return isinstance(error, sqlite3.Error)  # Then SQLite has rolled back; else it was written.

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """See one moment of the store."""
        self._reader.execute("BEGIN")
        try:
            yield self._reader
        finally:
            self._reader.execute("ROLLBACK")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Connect without Python's own idea of transactions; a thread of the shell's choice calls."""
    name = f"{path.as_uri()}?mode={mode}"
    connection = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32768")  # KiB, if negative.
    return connection


def _locked(path: str) -> int:
    """Return the open file that keeps other writers out while it is open."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreError(f"another process has it open for writing (it holds {path})") from None
    return handle


def _create(path: Path) -> None:
    """Make an empty file that only we may read; SQLite gives its side files the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Make durable what is in a file that is not open elsewhere, or what files are in a folder."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raise what SQLite and the system say as errors of ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        is_full = _is_full(error) or getattr(error, "errno", None) == errno.ENOSPC
        raise (StoreFullError if is_full else StoreError)(f"{what}: {error}") from error
