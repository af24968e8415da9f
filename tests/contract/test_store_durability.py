"""What was acknowledged outlives a kill and a power cut, since it was synced before it was said."""

import importlib.util
import os
import random  # noqa: TID251  # Where to kill and to cut; the seed is printed.
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from hansa.errors import StoreError
from hansa.store.sqlite import SqliteStore

HERE = Path(__file__).parent
WORKLOAD = HERE / "store_workload.py"
ENV = os.environ | {"PYTHONPATH": "src"}
WRITE, TRUNCATE, SYNC, UNLINK, NOTE = range(1, 6)  # As in the shim.

spec = importlib.util.spec_from_file_location("store_workload", WORKLOAD)
assert spec is not None
assert spec.loader is not None
workload = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workload)


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(2**32)  # noqa: S311  # No secret.
    print(f"seed {seed}")  # noqa: T201  # To repeat it.
    return random.Random(seed)  # noqa: S311  # No secret.


def command(mode: str, home: Path) -> list[str]:
    """Return what starts a child."""
    return [sys.executable, str(WORKLOAD), mode, str(home)]


def begun(mode: str, home: Path) -> subprocess.Popen[bytes]:
    """Return a child at work; it dies of its own if nobody listens any more."""
    return subprocess.Popen(command(mode, home), env=ENV, stdout=subprocess.PIPE)


def acks(child: subprocess.Popen[bytes]) -> Iterator[int]:
    """Return the numbers of the commits that a child says it made, as it says them."""
    assert child.stdout is not None
    return (int(line) for line in child.stdout if line.endswith(b"\n"))


def calls_of_a_child_that_commits(folder: Path) -> list[tuple[str, str]]:
    """Return its writes and syncs that went well, each with the name of the file."""
    trace = folder / "trace"
    calls = "trace=write,pwrite64,fdatasync,fsync"
    strace = ["/usr/bin/strace", "-y", "-e", calls, "-o", str(trace)]
    with (folder / "acks").open("wb") as acks:
        subprocess.run([*strace, *command("some", folder)], env=ENV, check=True, stdout=acks)
    done = re.findall(r"^(\w+)\(\d+<([^>]*)>.* = \d+$", trace.read_text(), re.MULTILINE)
    return [(call, Path(file).name) for call, file in done if file.startswith(str(folder))]


def test_each_commit_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    calls = calls_of_a_child_that_commits(tmp_path)
    told = [call for call in calls if call[1] in {"store-wal", "acks"}]
    before = [told[i - 1] for i, call in enumerate(told) if call == ("write", "acks")]
    assert before == [("fdatasync", "store-wal")] * workload.COMMITS


def test_the_name_of_a_new_store_is_synced_before_its_first_commit(tmp_path: Path) -> None:
    calls = calls_of_a_child_that_commits(tmp_path)
    assert ("fsync", tmp_path.name) in calls[: calls.index(("pwrite64", "store-wal"))]


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, chance: random.Random) -> None:
    path = str(tmp_path / "store")
    for _ in range(10):
        with subprocess.Popen(
            command("endless", tmp_path), env=ENV, stdout=subprocess.PIPE
        ) as child:
            said = acks(child)
            last = max(next(said) for _ in range(chance.randrange(1, 200)))
            child.kill()
            last = max([last, *said])
        assert last <= workload.check(path) <= last + 1


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    with begun("endless", tmp_path) as child:
        said = acks(child)
        first = next(said)
        with pytest.raises(StoreError, match="another process has it open for writing"):
            SqliteStore(path)
        assert next(said) > first
        child.kill()
        for _ in said:
            pass
    with closing(SqliteStore(path)) as store:
        assert store.load()[0].counter > first


class Call(NamedTuple):
    """What the shim has on its tape of one call."""

    kind: int
    name: str
    at: int
    data: bytes


def tape_of(mode: str, home: Path) -> list[Call]:
    """Return all writes of a child, and its notes."""
    preload = {"LD_PRELOAD": str(workload.built_shim(home))}
    subprocess.run(command(mode, home), env=ENV | preload, check=True)
    calls, left = [], (home / "tape").read_bytes()
    while left:
        kind, length, at, size = struct.unpack_from("4q", left)
        middle = 32 + length
        end = middle + (size if kind == WRITE else 0)
        calls.append(Call(kind, Path(left[32:middle].decode()).name, at, left[middle:end]))
        left = left[end:]
    return calls


class Platter:
    """The files of a store as a power cut leaves them."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self.pending: dict[str, list[Call]] = {}

    def take(self, call: Call) -> None:
        """Do what the kernel did, and the disk perhaps."""
        if call.kind == UNLINK:
            self.synced.pop(call.name, None)
            self.pending.pop(call.name, None)
        elif call.kind == SYNC:
            image = self.synced.setdefault(call.name, bytearray())
            for each in self.pending.pop(call.name, []):
                change(image, each)
        else:
            self.pending.setdefault(call.name, []).append(call)

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Write what is left: of what was not synced none, all, or any part, some of it torn."""
        odds = chance.choice((0, 0.5, 0.9, 1))
        for name in sorted({*self.synced, *self.pending} & {"store", "store-wal", "store-journal"}):
            image = bytearray(self.synced.get(name, b""))
            for call in self.pending.get(name, []):
                if chance.random() < odds:
                    is_torn = 0 < odds < chance.random()
                    data = call.data[: len(call.data) // 2] if is_torn else call.data
                    change(image, call._replace(data=data))
            (folder / name).write_bytes(image)


def change(image: bytearray, call: Call) -> None:
    """Write into an image, or truncate it."""
    if call.kind == TRUNCATE:
        del image[call.at :]
    image.extend(bytes(max(0, call.at - len(image))))
    image[call.at : call.at + len(call.data)] = call.data


def test_what_was_acknowledged_outlives_a_power_cut_after_any_call(
    tmp_path: Path, chance: random.Random
) -> None:
    platter, acknowledged = Platter(), 0
    for number, call in enumerate(tape_of("record", tmp_path)):
        if call.kind == NOTE:
            acknowledged = call.at
        else:
            platter.take(call)
        folder = tmp_path / "cut"
        folder.mkdir()
        platter.cut(folder, chance)
        found = workload.check(str(folder / "store"))
        assert acknowledged <= found <= acknowledged + 1, f"after call {number}, {call[:3]}"
        shutil.rmtree(folder)
    assert acknowledged == 2 * workload.COMMITS


def test_what_a_killed_process_may_not_have_synced_is_synced_before_it_is_loaded(
    tmp_path: Path,
) -> None:
    with begun("endless", tmp_path) as child:
        said = acks(child)
        last = next(said)
        child.kill()
        last = max([last, *said])
    tape = tape_of("look", tmp_path)
    [loaded] = [i for i, call in enumerate(tape) if call.kind == NOTE]
    assert last <= tape[loaded].at <= last + 1
    synced = [call.name for call in tape[:loaded] if call.kind == SYNC]
    assert [name for name in synced if name.startswith("store")][:2] == ["store-wal", "store"]
