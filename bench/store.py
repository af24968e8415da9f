"""How fast the store of one machine is, beside the sync of the disk that it is on."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from statistics import median

from hansa.model.stamp import Stamp
from hansa.ports import Row
from hansa.store.sqlite import SqliteStore

ROW = bytes(range(240)) * 5  # 1.2 kB
NOUNS = 20_000
SECONDS = 2


def sync_us(folder: Path) -> float:
    """Return the median time that this disk takes for 4 KiB, overwritten and synced."""
    taken: list[int] = []
    with (folder / "probe").open("wb", buffering=0) as probe:
        for _ in range(300):
            os.pwrite(probe.fileno(), bytes(4096), 0)
            begin = time.perf_counter_ns()
            os.fdatasync(probe.fileno())
            taken.append(time.perf_counter_ns() - begin)
    return median(taken) / 1000


def commits(at: Stamp, size: int) -> Iterator[tuple[Stamp, list[Row]]]:
    """Return endless commits after a revision, spread over the nouns."""
    for counter in count(at.counter + 1):
        revision = Stamp(at.incarnation, counter)
        keys = (f"t/w/{(counter * size + i) * 7919 % NOUNS}" for i in range(size))
        yield revision, [Row("instance", key, revision, 1, ROW) for key in keys]


def pace(store: SqliteStore, size: int) -> tuple[float, float]:
    """Return commits a second, and the microseconds of CPU that each cost."""
    at, done = store.load()[0], 0
    begin, cpu = time.perf_counter(), time.process_time()
    for revision, rows in commits(at, size):
        store.commit(at, revision, rows)
        at, done = revision, done + 1
        if time.perf_counter() - begin > SECONDS:
            break
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    store.trim(1000)
    return done / took, cpu / done * 1e6


def main(folder: Path) -> None:
    """Print one line a measurement."""
    print(f"sync\t{sync_us(folder):.0f}\tus\tmedian fdatasync of 4 KiB on the same disk")
    with closing(SqliteStore(str(folder / "store"))) as store:
        revision = Stamp(1, 1)
        rows = [Row("instance", f"t/w/{i}", revision, 1, ROW) for i in range(NOUNS)]
        store.commit(Stamp(1, 0), revision, rows)
        for size in (1, 8, 64):
            rate, cpu_us = pace(store, size)
            note = f"of {size} rows of 1.2 kB, over {NOUNS} nouns"
            print(f"store.commits.{size}\t{rate:.0f}\t1/s\t{note}")
            print(f"store.cpu.{size}\t{cpu_us:.0f}\tus\ta commit {note}")
        begin = time.perf_counter()
        store.load()
        print(f"store.load\t{(time.perf_counter() - begin) * 1000:.0f}\tms\t{NOUNS} rows")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as name:
        main(Path(name))
