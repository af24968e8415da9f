"""The leash: what it holds dies in time, whatever becomes of those who asked for it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hansa.node import leash

DEADLINE_S = 60.0
LONG_US = 600_000_000
SLEEP = ["sleep", "1000"]


class Held:
    """A leash, and a client of it."""

    def __init__(self, home: Path) -> None:
        self.home, self.socket = home, home / "leash.sock"
        argv = [sys.executable, "-I", str(leash.__file__), str(self.socket)]
        self.process = subprocess.Popen(argv, start_new_session=True)
        while not self.answers():
            assert self.process.poll() is None

    def answers(self) -> bool:
        try:
            return "deadline_us" in self.ask("list")
        except OSError:
            return False

    def ask(self, op: str, passed: tuple[int, ...] = (), **said: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return say(self.socket, {"op": op, **said}, passed)

    def start(self, argv: list[str], passed: tuple[int, ...] = (), **said: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        own = {
            "name": "g",
            "argv": argv,
            "cwd": str(self.home),
            "env": {"PATH": os.environ["PATH"]},
            "stderr": str(self.home / "log"),
            "fds": [20 + at for at in range(len(passed))],
            "cgroups": [],
        }
        return self.ask("start", passed, **{**own, **said})

    def renew(self, more_us: int) -> int:
        return int(self.ask("renew", deadline_us=leash.now_us() + more_us)["deadline_us"])


def say(path: Path, said: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
    """Say one line to the leash and return its answer."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(DEADLINE_S)
            link.connect(f"/proc/self/fd/{directory}/{path.name}")
            socket.send_fds(link, [json.dumps(said).encode() + b"\n"], list(fds))
            with link.makefile("rb") as told:
                answer: dict[str, Any] = json.loads(told.readline())
                return answer
    finally:
        os.close(directory)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    one = Held(tmp_path)
    yield one
    one.process.send_signal(signal.SIGCONT)
    one.process.kill()
    one.process.wait()


def ended(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([pidfd], [], [], DEADLINE_S)[0]
    os.close(pidfd)


def gone(held: Held) -> list[dict[str, Any]]:
    while held.ask("list")["children"]:
        pass
    said: list[dict[str, Any]] = held.ask("list")["gone"]
    return said


def test_without_a_lease_nothing_starts(held: Held) -> None:
    assert held.start(SLEEP)["error"] == "no-lease"
    held.ask("renew", deadline_us=leash.now_us() - 1)
    assert held.start(SLEEP)["error"] == "no-lease"
    held.renew(LONG_US)
    assert "pid" in held.start(SLEEP)


def test_a_child_dies_with_its_whole_group_when_its_lease_ends(held: Held) -> None:
    held.renew(1_000_000)
    pid = held.start(["sh", "-c", "sleep 1000 & echo $!; wait"])["pid"]
    log = held.home / "log"
    while not log.read_text().endswith("\n"):
        pass
    ended(int(log.read_text()))
    assert gone(held) == [{"name": "g", "pid": pid, "status": signal.SIGKILL, "fenced": True}]


def test_a_renewed_child_lives_and_is_told_apart_from_one_that_ended_itself(held: Held) -> None:
    held.renew(LONG_US)
    lives = held.start(SLEEP)["pid"]
    ends = held.start(["false"], name="h")["pid"]
    while not (went := held.ask("list")["gone"]):
        pass
    assert went == [{"name": "h", "pid": ends, "status": 1 << 8, "fenced": False}]
    assert held.ask("list")["children"] == [{"name": "g", "pid": lives}]


def test_a_lease_is_never_shortened(held: Held) -> None:
    until_us = held.renew(LONG_US)
    assert held.renew(1_000_000) == until_us
    assert held.ask("renew", deadline_us=0) == {"deadline_us": until_us}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_it_works_while_the_agent_is_dead_or_stands_still(
    held: Held, number: signal.Signals
) -> None:
    held.renew(1_500_000)
    wedged = "import socket, sys, time; s = socket.socket(socket.AF_UNIX)\n"
    wedged += "s.connect('leash.sock'); s.send(b'{'); print('half', flush=True); time.sleep(1000)"
    with subprocess.Popen(
        [sys.executable, "-c", wedged], cwd=held.home, stdout=subprocess.PIPE, text=True
    ) as agent:
        try:
            assert agent.stdout
            assert agent.stdout.readline() == "half\n"  # In the middle of a sentence.
            pid = held.start(SLEEP)["pid"]
            agent.send_signal(number)
            ended(pid)
            assert [went["fenced"] for went in gone(held)] == [True]
        finally:
            agent.kill()


def test_if_it_dies_its_children_die(held: Held) -> None:
    held.renew(LONG_US)
    direct = held.start(SLEEP)["pid"]
    # As a guest in a namespace is begun: what sets it up becomes it.
    inside = held.start(["nsenter", f"--net=/proc/{os.getpid()}/ns/net", "--", *SLEEP])["pid"]
    while Path(f"/proc/{inside}/cmdline").read_text() != "sleep\x001000\x00":
        os.kill(inside, 0)
    held.process.kill()
    ended(direct)
    ended(inside)


def test_fds_come_through_under_the_numbers_that_were_asked_for(held: Held) -> None:
    held.renew(LONG_US)
    pipes = [os.pipe() for _ in range(2)]
    writers = tuple(writer for _, writer in pipes)
    numbers = [writers[1], writers[0]]  # Where others are, so that moving one may not tread on one.
    shell = f"echo first >&{numbers[0]}; echo second >&{numbers[1]}; ls /proc/self/fd"
    held.start(["bash", "-c", shell], writers, fds=numbers)
    for writer in writers:
        os.close(writer)
    said = []
    for reader, _ in pipes:
        with os.fdopen(reader) as file:
            said.append(file.read())
    assert said == ["first\n", "second\n"]
    assert [went["status"] for went in gone(held)] == [0]
    # And no other comes through: 3 is the directory that ls itself opened.
    numbers_there = {int(word) for word in (held.home / "log").read_text().split()}
    assert numbers_there == {0, 1, 2, 3, *numbers}


def test_what_cannot_be_begun_is_refused_and_not_a_child(held: Held) -> None:
    held.renew(LONG_US)
    assert held.start(["/absent"])["error"] == "os"
    assert held.ask("list")["children"] == []
    assert held.ask("list")["gone"] == []


@pytest.mark.parametrize(
    "said", [{}, [], {"op": "fly"}, {"op": "renew"}, {"op": "renew", "deadline_us": "soon"}]
)
def test_nonsense_is_refused_and_harms_nothing(held: Held, said: Any) -> None:  # noqa: ANN401 - JSON
    assert say(held.socket, said)["error"] == "malformed"
    assert held.renew(LONG_US) > 0


def test_a_second_one_leaves_the_first_alone(held: Held) -> None:
    until_us = held.renew(LONG_US)
    argv = [sys.executable, "-I", str(leash.__file__), str(held.socket)]
    assert subprocess.run(argv, check=False).returncode == 0
    assert held.ask("renew", deadline_us=0)["deadline_us"] == until_us


def test_it_ends_when_told_and_only_without_children(held: Held) -> None:
    held.renew(LONG_US)
    pid = held.start(SLEEP)["pid"]
    assert held.ask("quit")["error"] == "busy"
    os.kill(pid, signal.SIGKILL)
    assert len(gone(held)) == 1
    assert held.ask("quit") == {"pid": held.process.pid}
    assert held.process.wait() == 0
    assert not held.socket.exists()
