"""What the children of the store's tests do, and how its outcome is judged: also by the tests."""

import ctypes
import errno
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from hansa.errors import StoreError, StoreFullError
from hansa.model.stamp import Stamp
from hansa.ports import Row
from hansa.store.sqlite import SqliteStore

FAULTS = {  # The errno (0: the process dies), and whether it stays so.
    "full once": (errno.ENOSPC, 0),
    "full": (errno.ENOSPC, 1),
    "broken once": (errno.EIO, 0),
    "broken": (errno.EIO, 1),
    "killed": (0, 0),
}
COMMITS, TRIM_AT, BACKUP_AT = 6, 4, 5
OUTCOMES = ("untouched", "went on", "in doubt", "not opened")


def rows_of(counter: int) -> list[Row]:
    """Return the rows of the commit of that number: small ones, large ones, some gone."""
    revision, size = Stamp(1, counter), 1500 if counter % 3 == 0 else 60
    rows = [
        Row("noun", f"ä/{counter * 3 % 11}/{i}", revision, 1, f"{counter}/{i};".encode() * size)
        for i in range(1 + counter % 4)
    ]
    if counter % 2:
        rows.append(Row("noun", f"ä/{(counter - 1) * 3 % 11}/0", revision, 1, None))
    return rows


def commit(store: SqliteStore, counter: int) -> None:
    store.commit(Stamp(1, counter - 1), Stamp(1, counter), rows_of(counter))


def check(path: str) -> int:
    """Open it as if nothing had been, judge all that is in it; return the number of commits."""
    with closing(SqliteStore(path)) as store:
        revision, live = store.load()
        expected: dict[str, Row] = {}
        for counter in range(1, revision.counter + 1):
            expected |= {row.key: row for row in rows_of(counter)}
        assert [row for _, row in sorted(expected.items()) if row.data is not None] == live
        with closing(sqlite3.connect(path)) as plain:
            assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            [floor] = plain.execute("SELECT floor_counter FROM store").fetchone()
        told = [row for c in range(floor + 1, revision.counter + 1) for row in rows_of(c)]
        assert told == store.changes(Stamp(1, floor), sys.maxsize)
        commit(store, revision.counter + 1)
    return revision.counter


def built_shim(folder: Path) -> Path:
    """Return the library that is to be preloaded."""
    built, source = folder / "shim.so", Path(__file__).with_name("store_shim.c")
    subprocess.run(["/usr/bin/cc", "-shared", "-fPIC", "-O1", "-o", built, source], check=True)
    return built


def patient(act: Callable[[], None], shim: ctypes.CDLL) -> None:
    """Do it; on a full disk make space and do it again: then it must go."""
    try:
        act()
    except StoreFullError:
        shim.shim_disarm()
        act()


def back_up(store: SqliteStore, folder: Path, shim: ctypes.CDLL) -> None:
    """Back up; if that fails nothing is left of it, and the store goes on."""
    copy = folder / "copy"
    try:
        store.backup(str(copy))
    except StoreError:
        shim.shim_disarm()
        assert [path for path in folder.iterdir() if "store" not in path.name] == []
        store.backup(str(copy))


def work(folder: Path, acks: int, shim: ctypes.CDLL) -> str:
    """Use a store as a region would, and return what came of it."""
    try:
        store = SqliteStore(str(folder / "store"), checkpoint_pages=8)
    except StoreError:
        return "not opened"
    with closing(store):
        for counter in range(1, COMMITS + 1):
            try:
                patient(partial(commit, store, counter), shim)
                os.write(acks, b".")
                patient(partial(store.trim, 2 if counter == TRIM_AT else COMMITS), shim)
            except StoreError:
                with suppress(StoreError):
                    commit(store, counter + 1)
                    raise AssertionError("a store in doubt took a commit") from None
                return "in doubt"
            if counter == BACKUP_AT:
                back_up(store, folder, shim)
    return "went on" if shim.shim_hits() else "untouched"


def forked(folder: Path, n: int, name: str, shim: ctypes.CDLL) -> tuple[str, int]:
    """Work in a process of its own with one fault; return the outcome and what was acknowledged."""
    folder.mkdir()
    reading, acks = os.pipe()
    if not (child := os.fork()):
        try:
            shim.shim_arm(n, *FAULTS[name])
            os._exit(OUTCOMES.index(work(folder, acks, shim)))
        except BaseException:  # noqa: BLE001  # A fork must not return.
            traceback.print_exc()
            os._exit(99)
    os.close(acks)
    with os.fdopen(reading, "rb") as pipe:
        acknowledged = len(pipe.read())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ("killed" if code == -signal.SIGKILL else OUTCOMES[code]), acknowledged


def every_nth(home: Path, name: str) -> Counter[str]:
    """Let the n-th write fail, for every n until none is left; return how often what came of it."""
    outcomes: Counter[str] = Counter()
    for n in itertools.count(1):
        folder = home / "run"
        outcome, acknowledged = forked(folder, n, name, ctypes.CDLL(None))
        found = check(str(folder / "store"))
        doubtful = outcome in {"in doubt", "killed"}
        assert acknowledged <= found <= acknowledged + doubtful, (name, n, outcome, found)
        if (folder / "copy").exists():
            assert check(str(folder / "copy")) == BACKUP_AT, (name, n)
        shutil.rmtree(folder)
        outcomes[outcome] += 1
        if outcome == "untouched":
            return outcomes
    raise AssertionError


def some(home: Path, say: Callable[[int], object], *, first: int = 1) -> None:
    """Commit a few times, and say so each time."""
    with closing(SqliteStore(str(home / "store"), checkpoint_pages=8)) as store:
        for counter in range(first, first + COMMITS):
            commit(store, counter)
            say(counter)


def acknowledge(counter: int) -> None:
    os.write(1, b"%d\n" % counter)


def on_tape(home: Path) -> ctypes.CDLL:
    """Have every write on tape from now on."""
    shim = ctypes.CDLL(None)
    shim.shim_note.argtypes = [ctypes.c_int64]
    shim.shim_record(os.open(home / "tape", os.O_WRONLY | os.O_CREAT))
    return shim


def look(home: Path) -> None:
    """Load, with the revision on tape."""
    shim = on_tape(home)
    with closing(SqliteStore(str(home / "store"))) as store:
        shim.shim_note(store.load()[0].counter)


def record(home: Path) -> None:
    """Use a store twice, with each acknowledgement on tape."""
    shim = on_tape(home)
    some(home, shim.shim_note)
    some(home, shim.shim_note, first=COMMITS + 1)


def endless(home: Path) -> None:
    """Commit until killed, and say so each time."""
    path = str(home / "store")
    begun = check(path)
    with closing(SqliteStore(path, checkpoint_pages=50)) as store:
        for counter in itertools.count(begun + 2):
            commit(store, counter)
            acknowledge(counter)
            if counter % 20 == 0:
                store.trim(10)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["some", home]:
            some(Path(home), acknowledge)
        case ["look", home]:
            look(Path(home))
        case ["record", home]:
            record(Path(home))
        case ["endless", home]:
            endless(Path(home))
        case [name, home] if name in FAULTS:
            print(json.dumps(every_nth(Path(home), name)))  # noqa: T201  # Its answer.
        case _:
            sys.exit(__doc__)
