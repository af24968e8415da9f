"""The shell of a node's agent: it feeds the machine with what happens, and does what that says."""

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, assert_never

import msgspec
import structlog

from hansa.errors import DriverError, UnknownVersionError
from hansa.model.node import Capacity
from hansa.model.stamp import Stamp
from hansa.node.audit import findings, log_tail
from hansa.node.machines.agent import (
    Agent,
    Apply,
    Drop,
    Effect,
    Event,
    Found,
    Heard,
    Kept,
    Lived,
    Measured,
    Renew,
    Save,
    Say,
    Start,
    Stop,
    Tick,
    handle,
)
from hansa.node.machines.lease import Lease
from hansa.node.starting import Outside, start
from hansa.ports import Clock, DiskFile, Telegraph
from hansa.wire.messages import Answer, Ask, Document, Message, decode, encode

TICK_S = 0.25
APPLY_EVERY = 4
"""Ticks between two tries to bring the networks to what is wished, where they are not."""
MEASURE_EVERY = 240
"""Ticks between two looks at what the node has to give."""


class Shell:
    """One agent at work.  Everything it knows durably is the document in its home."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of an agent
        self,
        node: str,
        session: str,
        home: Path,
        outside: Outside,
        telegraph: Telegraph,
        subject: str,
        clock: Clock,
        capacity: Capacity,
    ) -> None:
        """Begin with the document that is on disk, and nothing found yet."""
        self._home, self._outside, self._telegraph = home, outside, telegraph
        self._subject, self._clock, self._capacity = subject, clock, capacity
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._networks = asyncio.Lock()
        self._applied = Stamp()
        self._has_drifted = False  # Something ended, or was not applied: look again.
        self._log = structlog.get_logger().bind(node=node)
        self.agent = Agent(node=node, lease=Lease(session=session), document=self._stored())

    async def run(self) -> None:
        """Work until cancelled; guests run on."""
        hypervisor = self._outside.hypervisor
        found = Found(
            guests=tuple(await hypervisor.found()),
            disks=tuple(await self._outside.disks.found()),
            lease_end_us=await hypervisor.renew(0),
        )
        await self._take(Measured(self._measured()))
        await self._take(found)
        loops = (self._tick(), self._receive(), self._watch())
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            while True:
                await self._take(await self._events.get())
        finally:
            for task in (*tasks, *self._tasks):
                task.cancel()
            await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)

    async def _take(self, event: Event) -> None:
        self.agent, effects = handle(self.agent, event, self._clock.now_us())
        for effect in effects:
            await self._do(effect)

    async def _do(self, effect: Effect) -> None:
        """Do what must come before what follows; begin what takes long."""
        match effect:
            case Save(document=document):
                await asyncio.to_thread(self._store, document)
            case Say(message=message):
                await self._telegraph.send(self._subject, encode(message))
            case Renew(deadline_us=deadline_us):
                with contextlib.suppress(DriverError):
                    await self._outside.hypervisor.renew(deadline_us)
            case Start():
                self._begin(self._start(effect))
            case Stop():
                self._begin(self._stop(effect))
            case Apply(document=document):
                self._begin(self._apply(document))
            case Drop(disks=disks):
                self._begin(self._drop(disks))
            case _:
                assert_never(effect)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, order: Start) -> None:
        wish = order.wish
        lived = Lived(key=wish.key, epoch=wish.epoch, restarts=wish.restarts, news="started")
        try:
            await self._apply(order.document)
            await start(wish, order.document, self._outside)
        except DriverError as error:
            self._log.warning("guest not started", guest=wish.key, code=error.code, why=str(error))
            lived = msgspec.structs.replace(
                lived, news="failed", code=error.code, detail=str(error)[:2000]
            )
        except Exception as error:  # noqa: BLE001 - a defect must not leave it half begun for ever
            self._log.exception("guest not started", guest=wish.key)
            lived = msgspec.structs.replace(
                lived, news="failed", code="internal", detail=repr(error)
            )
        await self._look_at_disks()
        self._events.put_nowait(lived)

    async def _stop(self, order: Stop) -> None:
        lived = Lived(key=order.key, epoch=order.epoch, restarts=order.restarts, news="stopped")
        try:
            await self._outside.hypervisor.stop(order.key, order.grace_us)
        except DriverError as error:
            lived = msgspec.structs.replace(
                lived, news="failed", code=error.code, detail=str(error)
            )
        self._events.put_nowait(lived)

    async def _apply(self, document: Document) -> None:
        """Bring the networks to a document, or leave them at a later one."""
        async with self._networks:
            if document.generation <= self._applied and not self._has_drifted:
                return
            self._has_drifted = False
            try:
                await self._outside.networks.apply(document.networks)
                self._applied = document.generation
            except DriverError as error:
                self._has_drifted = True
                self._log.error("networks not applied", code=error.code, why=str(error))

    async def _drop(self, disks: Sequence[DiskFile]) -> None:
        for disk in disks:
            with contextlib.suppress(DriverError):
                await self._outside.disks.delete(disk.key, disk.epoch)
        await self._look_at_disks()

    async def _look_at_disks(self) -> None:
        self._events.put_nowait(Kept(tuple(await self._outside.disks.found())))

    async def _tick(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(TICK_S)
            count += 1
            if count % MEASURE_EVERY == 0:
                self._events.put_nowait(Measured(self._measured()))
            if self._has_drifted and count % APPLY_EVERY == 0:
                self._begin(self._apply(self.agent.document))
            self._events.put_nowait(Tick())

    async def _receive(self) -> None:
        while True:
            _, data = await self._telegraph.receive()
            try:
                message = decode(data)
            except (msgspec.DecodeError, UnknownVersionError) as error:
                self._log.warning("message not understood", why=str(error))
                continue
            if isinstance(message, Ask):
                self._begin(self._answer(message))
            else:
                self._events.put_nowait(Heard(message))

    async def _watch(self) -> None:
        while True:
            for gone in await self._outside.hypervisor.exits():
                self._log.info("guest gone", guest=gone.key, reason=gone.reason, why=gone.detail)
                said = Lived(
                    key=gone.key,
                    epoch=gone.epoch,
                    restarts=gone.life,
                    news=gone.reason,
                    detail=gone.detail,
                )
                self._events.put_nowait(said)
                self._has_drifted = True  # Its tap went with it: what it held open may go too.

    async def _answer(self, ask: Ask) -> None:
        if ask.what == "audit":
            found = await findings(self.agent, self._outside)
            body = msgspec.json.encode(found).decode()
        else:
            files = self._outside.hypervisor.files(ask.key)
            body = await asyncio.to_thread(log_tail, files["serial_log"], ask.tail_bytes)
        said: Message = Answer(node=self.agent.node, ask=ask.ask, body=body)
        await self._telegraph.send(self._subject, encode(said))

    def _measured(self) -> Capacity:
        free_gb = self._outside.disks.free_bytes() >> 30
        return msgspec.structs.replace(self._capacity, disk_gb=free_gb)

    def _stored(self) -> Document:
        try:
            document = decode((self._home / "document.json").read_bytes())
        except FileNotFoundError:
            return Document(generation=Stamp())
        assert isinstance(document, Document)
        return document

    def _store(self, document: Document) -> None:
        """Write it so that it is whole or not at all, whatever happens."""
        path = self._home / "document.json"
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(encode(document))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(self._home, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
