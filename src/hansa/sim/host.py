"""A node's machine: the real agent over guests, disks and a leash that outlive it."""

from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

from hansa.model.envelope import Key
from hansa.model.node import Capacity
from hansa.model.stamp import Stamp
from hansa.node.machines import agent as machine
from hansa.node.machines.agent import (
    Agent,
    Effect,
    Event,
    Found,
    Heard,
    Kept,
    Lived,
    Measured,
    Tick,
)
from hansa.node.machines.disk import fate
from hansa.node.machines.guest import Input
from hansa.node.machines.lease import Lease
from hansa.ports import DiskFile, Running
from hansa.sim.clocks import SECOND_US, Clock, drawn
from hansa.sim.kernel import Kernel
from hansa.sim.network import REGION, Network
from hansa.wire.messages import Document, Message, decode, encode

TICK_US: Final = SECOND_US
KILL_MAX_US: Final = 900_000
"""P1's K is a second."""
NOTHING: Final = encode(Document(generation=Stamp()))
DiskName = tuple[Key, Stamp]


class Host:
    """Everything of one node; what is durable is the document and the disks."""

    def __init__(
        self, kernel: Kernel, network: Network, name: str, began: Callable[["Host", Running], None]
    ) -> None:
        """Begin switched off; `began` is told of each guest that begins to run."""
        self._kernel, self._network, self.name, self._began = kernel, network, name, began
        self._chance, self.clock = kernel.chance(f"host {name}"), drawn(kernel, name)
        self.capacity = Capacity(vcpus=8, ram_gb=16, disk_gb=100)
        self.document, self.disks = NOTHING, dict[DiskName, DiskFile]()
        self.running: dict[Key, Running] = {}
        self.deadline_us = 0  # The leash's, on this machine's clock.
        self.agent: Agent | None = None
        self.is_on = self.is_lost = self.is_wedged = False
        self._boot = self._life = 0
        self._backlog: list[Callable[[], None]] = []
        self.stop_max_us = 8 * SECOND_US
        network.join(name, self._receive)

    def boot(self) -> None:
        """Switch it on: a new clock, no lease, no guest."""
        if self.is_on or self.is_lost:
            return
        self.is_on, self.deadline_us = True, 0
        self.clock = Clock(self._kernel, self.clock.per_mille, -self._kernel.now_us * 99 // 100)
        self._kernel.after(
            self._chance.randrange(SECOND_US), partial(self._start_after_boot, self._boot)
        )

    def crash(self) -> None:
        """Take its power."""
        self.kill_agent()
        self.running.clear()
        self.is_on, self._boot = False, self._boot + 1

    def start_agent(self) -> None:
        """Begin a new life of the agent, which looks at what is there."""
        if not self.is_on or self.agent is not None:
            return
        stored = decode(self.document)
        assert isinstance(stored, Document)
        lease = Lease(session=f"{self.name}/{self._boot}/{self._life}")
        self.agent = Agent(node=self.name, lease=lease, document=stored)
        self._take(Measured(self.capacity))
        disks = tuple(self.disks[name] for name in sorted(self.disks))
        guests = tuple(self.running[key] for key in sorted(self.running))
        self._take(Found(guests=guests, disks=disks, lease_end_us=self.deadline_us))
        self._tick(self._life)

    def kill_agent(self) -> None:
        """Kill the agent; leash and guests live on."""
        self.agent, self.is_wedged = None, False
        self._life += 1
        self._backlog.clear()

    def wedge(self) -> None:
        """Stop the agent as SIGSTOP does: what happens meanwhile waits for it."""
        self.is_wedged = self.agent is not None

    def unwedge(self) -> None:
        """Let the agent go on."""
        self.is_wedged = False
        backlog, self._backlog = self._backlog, []
        for call in backlog:
            call()

    def end_guest(self, key: Key, reason: Input) -> None:
        """Let a guest end by itself."""
        if guest := self.running.pop(key, None):
            self._tell_exit(guest, reason)

    def disk_files(self) -> tuple[DiskFile, ...]:
        """Return the disks that are there."""
        return tuple(self.disks[name] for name in sorted(self.disks))

    def _start_after_boot(self, boot: int) -> None:
        if boot == self._boot:
            self.start_agent()

    def _later(self, delay_us: int, call: Callable[[], None]) -> None:
        """Make a call in this life of the agent; if it is stopped then, when it goes on."""
        self._kernel.after(delay_us, partial(self._run, self._life, call))

    def _run(self, life: int, call: Callable[[], None]) -> None:
        if life != self._life or self.agent is None:
            return
        if self.is_wedged:
            self._backlog.append(partial(self._run, life, call))
        else:
            call()

    def _tick(self, life: int) -> None:
        if life != self._life:
            return
        if not self.is_wedged:
            self._take(Tick())
        self._kernel.after(TICK_US, partial(self._tick, life))

    def _receive(self, _sender: str, message: Message) -> None:
        self._run(self._life, partial(self._take, Heard(message)))

    def _take(self, event: Event) -> None:
        if self.agent is None:
            return
        self.agent, effects = machine.handle(self.agent, event, self.clock.now_us())
        life = self._life
        for effect in effects:
            if life == self._life:  # It may die between any two of them.
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case machine.Save(document=document):
                self.document = encode(document)
            case machine.Say(message=message):
                self._network.send(self.name, REGION, message)
            case machine.Renew(deadline_us=deadline_us):
                self.deadline_us = max(self.deadline_us, deadline_us)
                self._watch_leash()
            case machine.Start():
                delay_us = self._chance.randrange(100_000, 2 * SECOND_US)
                self._later(delay_us, partial(self._spawn, effect))
            case machine.Stop():
                delay_us = self._chance.randrange(100_000, self.stop_max_us)
                self._later(delay_us, partial(self._stopped, effect))
            case machine.Drop(disks=disks):
                self._later(self._chance.randrange(SECOND_US), partial(self._drop, disks))
            case machine.Apply():
                pass  # Networks are another simulation's.
            case _:
                assert_never(effect)

    def _spawn(self, order: machine.Start) -> None:
        wish = order.wish
        lived = Lived(key=wish.key, epoch=wish.epoch, restarts=wish.restarts, news="started")
        code = self._make_disks(order)
        is_fenced = wish.on_partition == "fence"
        if not code and is_fenced and self.clock.now_us() >= self.deadline_us:
            code = "no-lease"
        if not code and wish.key in self.running:
            code = "in-the-way"
        self._take(Kept(self.disk_files()))
        if code:
            self._take(
                Lived(
                    key=wish.key, epoch=wish.epoch, restarts=wish.restarts, news="failed", code=code
                )
            )
            return
        guest = Running(
            key=wish.key, epoch=wish.epoch, life=wish.restarts, pid=1, is_fenced=is_fenced
        )
        self.running[wish.key] = guest
        self._began(self, guest)
        self._later(self._chance.randrange(SECOND_US), partial(self._take, lived))

    def _make_disks(self, order: machine.Start) -> str:
        """Make what is to be made; return the code of what stands against it."""
        wishes = {disk.key: disk for disk in order.document.disks}
        for key in order.wish.disks:
            if key not in wishes:
                return "disk-elsewhere"
            disk = wishes[key]
            if fate(disk, self.disks, order.wish.epoch) == "lost":
                return "disk-lost"
            self.disks.setdefault((key, disk.epoch), DiskFile(key=key, epoch=disk.epoch))
        return ""

    def _stopped(self, order: machine.Stop) -> None:
        """Let it be gone; one that began since under another epoch or life is not meant."""
        guest = self.running.get(order.key)
        if guest and (guest.epoch, guest.life) == (order.epoch, order.restarts):
            del self.running[order.key]
        self._take(Lived(key=order.key, epoch=order.epoch, restarts=order.restarts, news="stopped"))

    def _drop(self, disks: tuple[DiskFile, ...]) -> None:
        for disk in disks:
            self.disks.pop((disk.key, disk.epoch), None)
        self._take(Kept(self.disk_files()))

    def _watch_leash(self) -> None:
        left_us = self.clock.true_us(max(0, self.deadline_us - self.clock.now_us()))
        self._kernel.after(left_us, partial(self._end_lease, self._boot))

    def _end_lease(self, boot: int) -> None:
        """Kill, within K, the fenced guests: whether the agent lives or not."""
        if boot != self._boot or self.clock.now_us() < self.deadline_us:
            return
        for guest in [self.running[key] for key in sorted(self.running)]:
            if guest.is_fenced:
                delay_us = self._chance.randrange(KILL_MAX_US)
                self._kernel.after(delay_us, partial(self._fence, boot, guest))

    def _fence(self, boot: int, guest: Running) -> None:
        if boot == self._boot and self.running.get(guest.key) == guest:
            del self.running[guest.key]
            self._tell_exit(guest, "fenced")

    def _tell_exit(self, guest: Running, reason: Input) -> None:
        said = Lived(key=guest.key, epoch=guest.epoch, restarts=guest.life, news=reason)
        self._later(self._chance.randrange(SECOND_US), partial(self._take, said))
