"""What every store does, on disk and in memory."""

import contextlib
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from hansa.errors import StaleRevisionError, StoreError, StoreFullError, TrimmedError
from hansa.model.stamp import Stamp
from hansa.ports import Row, Store
from hansa.store.memory import Disk, MemoryStore
from hansa.store.sqlite import SqliteStore

NEW = Stamp(1, 0)


class Place(NamedTuple):
    """Where a store is kept while nobody has it open."""

    open: Callable[[], Store]
    open_backup: Callable[[str], Store]
    folder: Path


def in_files(folder: Path) -> Place:
    return Place(lambda: SqliteStore(str(folder / "store")), SqliteStore, folder)


def in_memory(folder: Path) -> Place:
    disk = Disk()
    return Place(
        lambda: MemoryStore(disk), lambda path: MemoryStore(disk.backups[path].copy()), folder
    )


STORES: dict[str, Callable[[Path], Place]] = {"sqlite": in_files, "memory": in_memory}


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as opened:
        yield opened


def row(counter: int, key: str, data: bytes | None = b"{}", incarnation: int = 1) -> Row:
    return Row("instance", key, Stamp(incarnation, counter), 1, data)


def commit(store: Store, *rows: Row) -> None:
    """Commit rows of one revision to a store that is at the one before."""
    incarnation, counter = rows[0].revision
    store.commit(Stamp(incarnation, counter - 1), rows[0].revision, rows)


def three(store: Store) -> list[Row]:
    rows = [row(counter, f"t/w/{counter}") for counter in (1, 2, 3)]
    for each in rows:
        commit(store, each)
    return rows


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == (NEW, [])
    assert store.changes(NEW, 10) == []


def test_what_was_committed_is_loaded_by_the_next_to_open_it(place: Place) -> None:
    with closing(place.open()) as store:
        rows = three(store)
    with closing(place.open()) as store:
        assert store.load() == (Stamp(1, 3), rows)
        assert store.changes(NEW, 10) == rows


def test_rows_are_loaded_by_kind_and_key_as_they_last_were(store: Store) -> None:
    commit(store, row(1, "b"), row(1, "a"), Row("node", "0", Stamp(1, 1), 7, b"n"))
    commit(store, row(2, "b", b"new")._replace(schema=2))
    rows = [row(1, "a"), row(2, "b", b"new")._replace(schema=2)]
    assert store.load() == (Stamp(1, 2), [*rows, Row("node", "0", Stamp(1, 1), 7, b"n")])


def test_a_deleted_noun_is_gone_and_its_deletion_told(store: Store) -> None:
    commit(store, row(1, "a"), row(1, "b"))
    commit(store, row(2, "a", None), row(2, "never-there", None))
    assert store.load() == (Stamp(1, 2), [row(1, "b")])
    assert store.changes(Stamp(1, 1), 10) == [row(2, "a", None), row(2, "never-there", None)]


def test_of_a_noun_named_twice_the_last_holds(store: Store) -> None:
    commit(store, row(1, "a", None), row(1, "a", b"x"), row(1, "b", b"y"), row(1, "b", None))
    assert store.load() == (Stamp(1, 1), [row(1, "a", b"x")])


@pytest.mark.parametrize("expected", [Stamp(1, 0), Stamp(1, 2), Stamp(0, 1), Stamp(2, 1)])
def test_a_writer_that_is_not_up_to_date_changes_nothing(store: Store, expected: Stamp) -> None:
    commit(store, row(1, "a"))
    revision = Stamp(3, 0)
    with pytest.raises(StaleRevisionError):
        store.commit(expected, revision, [row(0, "a", b"stale", incarnation=3)])
    assert store.load() == (Stamp(1, 1), [row(1, "a")])
    assert store.changes(NEW, 10) == [row(1, "a")]
    store.commit(Stamp(1, 1), revision, [row(0, "a", b"fresh", incarnation=3)])
    assert store.load() == (revision, [row(0, "a", b"fresh", incarnation=3)])


@pytest.mark.parametrize("revision", [Stamp(1, 1), Stamp(1, 0), Stamp(0, 9)])
def test_a_revision_that_does_not_come_after_the_last_is_a_bug(
    store: Store, revision: Stamp
) -> None:
    commit(store, row(1, "a"))
    with pytest.raises(AssertionError):
        store.commit(Stamp(1, 1), revision, [])
    assert store.load() == (Stamp(1, 1), [row(1, "a")])


def test_a_row_of_another_revision_is_a_bug(store: Store) -> None:
    with pytest.raises(AssertionError):
        store.commit(NEW, Stamp(1, 1), [row(2, "a")])
    assert store.load() == (NEW, [])


def test_an_empty_commit_moves_the_revision(place: Place) -> None:
    with closing(place.open()) as store:
        store.commit(NEW, Stamp(1, 1), [])
        assert store.load() == (Stamp(1, 1), [])
        assert store.changes(Stamp(1, 1), 10) == []
        commit(store, row(2, "a"))
        assert store.changes(NEW, 10) == [row(2, "a")]


def test_a_higher_incarnation_is_newer_whatever_its_counter(store: Store) -> None:
    rows = three(store)
    store.commit(Stamp(1, 3), Stamp(2, 0), [row(0, "a", incarnation=2)])
    store.commit(Stamp(2, 0), Stamp(10, 1), [row(1, "a", incarnation=10)])
    told = [row(0, "a", incarnation=2), row(1, "a", incarnation=10)]
    assert store.load() == (Stamp(10, 1), [told[1], *rows])
    assert store.changes(Stamp(1, 3), 10) == told
    assert store.changes(Stamp(2, 0), 10) == told[1:]
    store.trim(1)
    assert store.changes(Stamp(2, 0), 10) == told[1:]


def test_changes_are_whole_commits_oldest_first(store: Store) -> None:
    first = [row(1, key) for key in "cab"]
    second = [row(2, key) for key in "bd"]
    commit(store, *first)
    commit(store, *second)
    assert store.changes(NEW, 1) == first
    assert store.changes(NEW, 3) == first
    assert store.changes(NEW, 4) == first + second
    assert store.changes(first[-1].revision, 1) == second
    assert store.changes(Stamp(1, 2), 1) == []


def test_a_trimmed_log_tells_what_it_still_can(place: Place) -> None:
    with closing(place.open()) as store:
        rows = three(store)
        store.trim(5)
        assert store.changes(NEW, 10) == rows
        store.trim(2)
    with closing(place.open()) as store:
        assert store.changes(Stamp(1, 1), 10) == rows[1:]
        with pytest.raises(TrimmedError):
            store.changes(NEW, 10)
        store.trim(0)
        assert store.changes(Stamp(1, 3), 10) == []
        with pytest.raises(TrimmedError):
            store.changes(Stamp(1, 2), 10)
        assert store.load() == (Stamp(1, 3), rows)


@pytest.mark.parametrize("since", [Stamp(), Stamp(1, 4), Stamp(2, 1)])
def test_what_never_was_a_revision_is_no_place_to_resume(store: Store, since: Stamp) -> None:
    three(store)
    with pytest.raises(TrimmedError):
        store.changes(since, 10)


def test_bytes_and_keys_of_all_kinds_come_back_as_they_were(place: Place) -> None:
    keys = ["", "t/w/ä", "t/w/z", "t/w/\N{SNOWMAN}", "t/w/\uffff", "t/w/\U0001f680", "'; --", "\0"]
    rows = [row(1, key, bytes(range(256))) for key in keys] + [row(1, "big", bytes(9_000_000))]
    with closing(place.open()) as store:
        commit(store, *rows, row(1, "none", b""))
    with closing(place.open()) as store:
        assert store.load()[1] == sorted([*rows, row(1, "none", b"")])
        assert store.changes(NEW, 1) == [*rows, row(1, "none", b"")]


def test_a_backup_is_what_was_there_when_it_was_made(place: Place, store: Store) -> None:
    rows = three(store)
    store.trim(1)
    path = str(place.folder / "copy")
    store.backup(path)
    commit(store, row(4, "later"))
    with closing(place.open_backup(path)) as copy:
        assert copy.load() == (Stamp(1, 3), rows)
        assert copy.changes(Stamp(1, 2), 10) == rows[2:]
        copy.commit(Stamp(1, 3), Stamp(2, 3), [row(3, "restored", incarnation=2)])
        with pytest.raises(TrimmedError):
            copy.changes(Stamp(1, 4), 10)
    assert store.load() == (Stamp(1, 4), [row(4, "later"), *rows])


def test_a_backup_replaces_nothing(place: Place, store: Store) -> None:
    path = str(place.folder / "copy")
    store.backup(path)
    commit(store, row(1, "a"))
    with pytest.raises(StoreError):
        store.backup(path)
    with closing(place.open_backup(path)) as copy:
        assert copy.load() == (NEW, [])


def test_a_store_has_one_user_at_a_time(place: Place) -> None:
    with closing(place.open()) as store:
        with pytest.raises(StoreError, match="another process has it open for writing"):
            place.open()
        commit(store, row(1, "a"))
    with closing(place.open()) as store:
        assert store.load() == (Stamp(1, 1), [row(1, "a")])


def test_a_closed_store_takes_nothing(place: Place) -> None:
    store = place.open()
    store.close()
    store.close()
    with pytest.raises(StoreError):
        commit(store, row(1, "a"))
    with closing(place.open()) as store:
        assert store.load() == (NEW, [])


def test_files_are_for_their_owner_and_a_backup_is_one(tmp_path: Path) -> None:
    with closing(SqliteStore(str(tmp_path / "store"))) as store:
        commit(store, row(1, "a"))
        store.backup(str(tmp_path / "copy"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    names = ("store", "store-wal", "store-shm", "store.lock", "copy")
    assert dict.fromkeys(names, 0o600) == modes


def test_a_store_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    SqliteStore(str(path)).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE store SET version = 2")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="version 2, and this program knows 1"):
        SqliteStore(str(path))
    assert before == path.read_bytes()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE store SET version = 1")
    SqliteStore(str(path)).close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough" * 99, None])
def test_a_file_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "store"
    if content is None:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("CREATE TABLE theirs (x)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot open the store"):
        SqliteStore(str(path))
    assert before == path.read_bytes()


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        SqliteStore(str(tmp_path / "none" / "store"))


def test_a_long_reader_holds_up_no_commit(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(SqliteStore(str(path))) as store:
        commit(store, row(1, "a"))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM log").fetchone() == (1,)
            commit(store, row(2, "a"))
            store.backup(str(tmp_path / "copy"))
            assert reader.execute("SELECT count(*) FROM log").fetchone() == (1,)
        assert store.load()[0] == Stamp(1, 2)


def test_what_cannot_be_written_at_all_changes_nothing(tmp_path: Path) -> None:
    with closing(SqliteStore(str(tmp_path / "store"))) as store:
        with pytest.raises(UnicodeEncodeError):
            commit(store, row(1, "\ud800"))
        commit(store, row(1, "a"))
        assert store.load() == (Stamp(1, 1), [row(1, "a")])


def test_a_full_disk_in_memory_changes_nothing() -> None:
    full = StoreFullError("no space")
    disk = Disk(lambda step, number: full if (step, number) == ("write", 2) else None)
    store = MemoryStore(disk)
    commit(store, row(1, "a"))
    with pytest.raises(StoreFullError):
        commit(store, row(2, "a", b"x"))
    assert store.load() == (Stamp(1, 1), [row(1, "a")])
    commit(store, row(2, "a", b"y"))
    assert store.load() == (Stamp(1, 2), [row(2, "a", b"y")])


@pytest.mark.parametrize("step", ["write", "sync"])
@pytest.mark.parametrize("is_crash", [True, False])
def test_a_torn_commit_in_memory_is_whole_or_lost(*, step: str, is_crash: bool) -> None:
    disk = Disk(lambda *at: StoreError("torn") if at == (step, 2) else None)
    store = MemoryStore(disk)
    commit(store, row(1, "a"), row(1, "b"))
    with pytest.raises(StoreError, match="torn"):
        commit(store, row(2, "a", None), row(2, "b", b"new"))
    for act in (store.load, lambda: commit(store, row(2, "c"))):
        with pytest.raises(StoreError, match="open the store anew"):
            act()
    if is_crash:
        disk.crash()
    else:
        store.close()
    rows = MemoryStore(disk).load()[1]
    survived = step == "sync" and not is_crash
    assert rows == ([row(2, "b", b"new")] if survived else [row(1, "a"), row(1, "b")])


def test_the_user_of_a_crashed_disk_commits_no_more() -> None:
    disk = Disk()
    store = MemoryStore(disk)
    disk.crash()
    with contextlib.closing(MemoryStore(disk)) as heir:
        with pytest.raises(StoreError):
            commit(store, row(1, "a"))
        store.close()
        commit(heir, row(1, "a"))
