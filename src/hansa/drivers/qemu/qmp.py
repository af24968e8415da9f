"""A QMP connection: one command at a time, and events as they come."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hansa.errors import DriverError

_LINE_BYTES = 16 << 20
_ANSWER_S = 30.0


class Monitor:
    """One client of one monitor."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_event: Callable[[Mapping[str, object]], None],
    ) -> None:
        """Take a connection over; `connect` makes one."""
        self._writer, self._on_event = writer, on_event
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._reading = asyncio.create_task(self._read(reader))

    async def execute(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - QMP's own
        """Return what QEMU returns; raises DriverError `qmp` if it refuses or is not there."""
        order = {"execute": command, "arguments": arguments}
        async with self._turn:
            try:
                self._writer.write(msgspec.json.encode(order) + b"\n")
                answer = await asyncio.wait_for(self._answers.get(), _ANSWER_S)
            except (OSError, TimeoutError) as error:
                self._reading.cancel()  # What it may answer yet is no answer to what comes next.
                raise DriverError("qmp", f"{command}: no answer: {error!r}") from error
        if answer is None:
            self._answers.put_nowait(None)
            raise DriverError("qmp", f"{command}: the monitor is gone")
        if "error" in answer:
            raise DriverError("qmp", f"{command}: {answer['error']['desc']}")
        return answer["return"]

    async def ended(self) -> None:
        """Wait until QEMU has said its last."""
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        """Let go of it; QEMU then listens for the next."""
        self._reading.cancel()
        self._writer.close()
        await asyncio.wait([self._reading])

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Sort what comes into answers and events, to the end."""
        try:
            while line := await reader.readline():
                said = msgspec.json.decode(line, type=dict[str, Any])
                if "event" in said:
                    self._on_event(said)
                elif "QMP" not in said:
                    self._answers.put_nowait(said)
        except (OSError, ValueError, msgspec.DecodeError):
            pass  # As good as the end.
        finally:
            self._answers.put_nowait(None)


async def connect(
    home: Path, name: str, on_event: Callable[[Mapping[str, object]], None]
) -> Monitor:
    """Connect to the socket `name` in `home`, and be ready for commands."""
    # By way of an open directory: a path of a socket may have 107 bytes only.
    directory = os.open(home, os.O_PATH | os.O_DIRECTORY)
    try:
        path = f"/proc/self/fd/{directory}/{name}"
        reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_BYTES)
    finally:
        os.close(directory)
    monitor = Monitor(reader, writer, on_event)
    try:
        await monitor.execute("qmp_capabilities")
    except BaseException:
        await monitor.close()
        raise
    return monitor
