"""Talking to the leash, the parent of fenced guests; what it answers stands in its own module."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hansa.drivers.qemu import process
from hansa.errors import DriverError

_ANSWER_S = 5.0
_START_S = 10.0
_SOCKET = "leash.sock"


class Leash:
    """A client of the one leash of a node, which it starts if there is none."""

    def __init__(self, home: Path, command: Sequence[str]) -> None:
        """Say where its socket is, and how it is started (the socket's path is added)."""
        self._home, self._command = home, command
        self._turn = asyncio.Lock()
        self._pid = 0

    async def ask(self, op: str, pass_fds: Sequence[int] = (), **said: object) -> Mapping[str, Any]:
        """Return its answer; raises DriverError: `leash-gone`, or what it refuses."""
        line = msgspec.json.encode({"op": op, **said}) + b"\n"
        try:
            answer = await asyncio.to_thread(self._ask, line, pass_fds)
        except (OSError, msgspec.DecodeError) as error:
            raise DriverError("leash-gone", f"the leash does not answer: {error!r}") from error
        if "error" in answer:
            raise DriverError(answer["error"], f"the leash: {answer['detail']}")
        return answer

    async def ensure(self) -> None:
        """Have one that answers."""
        if not self._command:
            raise DriverError("leash-missing", "this node has no leash", retryable=False)
        async with self._turn:
            if not await self._answers():
                await self._begin()

    async def _answers(self) -> bool:
        try:
            await self.ask("list")
        except DriverError:
            return False
        return True

    async def _begin(self) -> None:
        """Start it, and wait until it answers."""
        if self._pid:
            process.reap(self._pid)
        log = self._home / "leash.log"
        argv = [*self._command, str(self._home / _SOCKET)]
        self._pid = process.spawn(argv, self._home, log)
        give_up = asyncio.get_running_loop().time() + _START_S
        while not await self._answers():
            if asyncio.get_running_loop().time() > give_up:
                raise DriverError("leash-gone", f"it does not start: {process.tail(log)}")
            await asyncio.sleep(0.02)

    async def children(self) -> set[int]:
        """Return the processes on the leash; none if there is no leash."""
        try:
            return {child["pid"] for child in (await self.ask("list"))["children"]}
        except DriverError:
            return set()

    async def end_of(self, pid: int) -> tuple[int, bool] | None:
        """Return wait status of a child that ended, and if the leash killed it for its lease."""
        while True:
            try:
                told = await self.ask("list")
            except DriverError:
                return None
            for gone in told["gone"]:
                if gone["pid"] == pid:
                    return gone["status"], gone["fenced"]
            if pid not in {child["pid"] for child in told["children"]}:
                return None
            await asyncio.sleep(0.01)  # It is about to reap it.

    def _ask(self, line: bytes, fds: Sequence[int]) -> dict[str, Any]:
        directory = os.open(self._home, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(_ANSWER_S)
                link.connect(f"/proc/self/fd/{directory}/{_SOCKET}")
                sent = socket.send_fds(link, [line], list(fds))
                if sent < len(line):  # To send nothing to one who has answered is an error.
                    link.sendall(line[sent:])
                with link.makefile("rb") as answer:
                    return msgspec.json.decode(answer.readline(), type=dict[str, Any])
        finally:
            os.close(directory)
