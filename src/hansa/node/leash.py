"""The leash: parent of a node's fenced guests, which kills them when their lease ends.

A process of its own, one a node, of the standard library only: `python -I leash.py SOCKET`.  It
works while the agent is dead, stopped or wedged, and its guests die with it.  On its socket a
client says one line of JSON (and passes fds with it), and gets one line back:

    {"op": "start", "name", "argv", "cwd", "env", "stderr", "fds": [number each is to have],
     "cgroups": [directories]}        -> {"pid"}; refused while no deadline is to come
    {"op": "renew", "deadline_us"}    -> {"deadline_us"}: CLOCK_BOOTTIME; never shortened; 0 asks
    {"op": "list"}                    -> {"deadline_us", "children": [{"name", "pid"}],
                                          "gone": [{"name", "pid", "status", "fenced"}]}
    {"op": "quit"}                    -> {"pid"}: its own; refused while it has children

A refusal is {"error": code, "detail"}.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

_PR_SET_PDEATHSIG: Final = 1
_TICK_S: Final = 0.1  # A sleep does not count the time of a suspend: so no sleep is longer.
_KEPT: Final = 256
_LINE_BYTES: Final = 1 << 20
_FDS: Final = 64
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Child(NamedTuple):
    """A guest on the leash."""

    name: str
    pid: int
    pidfd: int
    cgroups: list[str]


class Client:
    """A connection, with what was said on it so far."""

    def __init__(self, link: socket.socket) -> None:
        """Begin with nothing said."""
        self.link, self.said = link, b""
        self.fds: list[int] = []


class Leash:
    """All that it knows: a deadline, its children, and who went."""

    def __init__(self, listener: socket.socket) -> None:
        """Begin with no lease."""
        self._listener = listener
        self._deadline_us = 0
        self._children: dict[int, Child] = {}
        self._gone: list[dict[str, Any]] = []
        self._fenced: set[int] = set()
        self._is_over = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Serve until told to quit."""
        while not self._is_over:
            for key, _ in self._selector.select(self._wait_s()):
                match key.data:
                    case Child() as child:
                        self._reap(child)
                    case Client() as client:
                        self._hear(client)
                    case _:
                        self._accept()
            if self._children and now_us() >= self._deadline_us:
                self._fence()

    def _wait_s(self) -> float | None:
        """Return how long it may sleep."""
        if not self._children:
            return None
        left_s = (self._deadline_us - now_us()) / 1e6
        return min(_TICK_S, left_s) if left_s > 0 else _TICK_S

    def _fence(self) -> None:
        """Kill all children, again at each tick until they are reaped."""
        for child in self._children.values():
            self._fenced.add(child.pid)
            kill(child)

    def _reap(self, child: Child) -> None:
        """Keep what is to be known of a child that ended."""
        kill(child)  # Whoever else is in its group or cgroup; before its number is free again.
        _, status = os.waitpid(child.pid, 0)
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        del self._children[child.pid]
        is_fenced = child.pid in self._fenced
        self._fenced.discard(child.pid)
        entry = {"name": child.name, "pid": child.pid, "status": status, "fenced": is_fenced}
        self._gone = [*self._gone, entry][-_KEPT:]

    def _accept(self) -> None:
        """Take a client, who shall never make us wait."""
        link, _ = self._listener.accept()
        link.settimeout(0)
        self._selector.register(link, selectors.EVENT_READ, Client(link))

    def _hear(self, client: Client) -> None:
        """Read what a client says, and answer when it has said it all."""
        try:
            data, fds, _, _ = socket.recv_fds(client.link, 1 << 16, _FDS)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        for fd in fds:
            os.set_inheritable(fd, False)  # noqa: FBT003 - recv_fds forgets its flags
        client.said, client.fds = client.said + data, client.fds + fds
        is_whole = client.said.endswith(b"\n")
        if data and not is_whole and len(client.said) < _LINE_BYTES:
            return
        if is_whole:
            answer = self._answer(client)
            with contextlib.suppress(OSError):
                client.link.send(json.dumps(answer).encode() + b"\n")
        for fd in client.fds:
            os.close(fd)
        self._selector.unregister(client.link)
        client.link.close()

    def _answer(self, client: Client) -> dict[str, Any]:
        """Do what one line says, and return what to say to it."""
        does = {"start": self._start, "renew": self._renew, "list": self._list, "quit": self._quit}
        try:
            said = json.loads(client.said)
            return does[said["op"]](said, client.fds)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            return {"error": "malformed", "detail": repr(error)}
        except OSError as error:
            return {"error": "os", "detail": str(error)}

    def _renew(self, said: dict[str, Any], _: list[int]) -> dict[str, Any]:
        """Let them live longer; never shorter."""
        self._deadline_us = max(self._deadline_us, int(said["deadline_us"]))
        return {"deadline_us": self._deadline_us}

    def _quit(self, _said: dict[str, Any], _fds: list[int]) -> dict[str, Any]:
        """End, if it has no children."""
        if self._children:
            return {"error": "busy", "detail": f"{len(self._children)} children"}
        self._is_over = True
        return {"pid": os.getpid()}

    def _list(self, _said: dict[str, Any], _fds: list[int]) -> dict[str, Any]:
        """Return who is here, who went, and until when it may live."""
        children = [{"name": child.name, "pid": child.pid} for child in self._children.values()]
        return {"deadline_us": self._deadline_us, "children": children, "gone": self._gone}

    def _start(self, said: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Start a child, if there is a lease for it."""
        if now_us() >= self._deadline_us:
            return {"error": "no-lease", "detail": "no deadline is to come"}
        if len(fds) != len(said["fds"]):
            return {"error": "malformed", "detail": f"{len(fds)} fds came"}
        pid = spawn(said, fds)
        child = Child(said["name"], pid, os.pidfd_open(pid), said["cgroups"])
        self._children[pid] = child
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)
        return {"pid": pid}


def spawn(said: dict[str, Any], fds: list[int]) -> int:
    """Return the process that runs `argv`; raises OSError if it could not be begun."""
    leash = os.getpid()
    failed, failing = os.pipe()  # Closed by a successful exec.
    pid = os.fork()
    if pid == 0:
        try:
            become(said, fds, leash)
        except OSError as error:
            os.write(failing, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(failing)
    with os.fdopen(failed, "rb") as pipe:
        reason = pipe.read()
    if reason:
        os.waitpid(pid, 0)
        raise OSError(int(reason), f"{said['argv'][0]}: {os.strerror(int(reason))}")
    return pid


def become(said: dict[str, Any], fds: list[int], leash: int) -> None:
    """Turn this process into the guest."""
    os.setsid()
    os.chdir(said["cwd"])
    for cgroup in said["cgroups"]:
        Path(cgroup, "cgroup.procs").write_text("0")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    first = 3 + max(said["fds"], default=0)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first) for fd in fds]  # Out of each other's way.
    for fd, number in zip(high, said["fds"], strict=True):
        os.dup2(fd, number)
    log = os.open(said["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Last: whatever changes credentials clears it.  If the leash went before, it never comes.
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != leash:
        raise OSError(errno.ESRCH, "the leash is gone")
    os.execvpe(said["argv"][0], said["argv"], said["env"])  # noqa: S606 - that is its purpose


def kill(child: Child) -> None:
    """Kill its process group, and whoever else is in its cgroups."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for cgroup in child.cgroups:
        with contextlib.suppress(OSError):
            for pid in Path(cgroup, "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)


def now_us() -> int:
    """Return the time of the clock that runs on through suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def main(path: str) -> None:
    """Listen on `path`, unless another leash does."""
    os.umask(0o077)
    os.chdir(Path(path).parent)  # A path of a socket may have 107 bytes only.
    name = Path(path).name
    lock = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # If memory runs out, others are to go first.
        Path("/proc/self/oom_score_adj").write_text("-1000")
    with contextlib.suppress(FileNotFoundError):
        Path(name).unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(name)
        listener.listen(64)
        listener.settimeout(0)
        Leash(listener).run()
    Path(name).unlink()


if __name__ == "__main__":
    main(sys.argv[1])
