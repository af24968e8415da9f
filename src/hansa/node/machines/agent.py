"""The agent of a node as one machine: what it was told, what it found, and what is to be done.

Pure: the shell executes the effects in their order, and says what came of them.  Times are of
CLOCK_BOOTTIME.
"""

from collections.abc import Iterator, Mapping
from typing import assert_never

import msgspec
from msgspec.structs import replace

from hansa.model.envelope import Key
from hansa.model.node import Capacity
from hansa.model.stamp import Stamp
from hansa.node.machines import guest as life
from hansa.node.machines.disk import void
from hansa.node.machines.guest import Guest, Input
from hansa.node.machines.lease import Lease, beat, hear
from hansa.ports import DiskFile, Running
from hansa.wire.messages import (
    Ack,
    DiskSeen,
    Document,
    GuestSeen,
    GuestWish,
    Heartbeat,
    Message,
    Poke,
    Pull,
    Status,
)

GRACE_US = 10_000_000
"""How long a guest may take to go when it is asked to, before it is killed."""
STATUS_EVERY = 5
"""Heartbeats between two reports of nothing new: one that was lost is made good by the next."""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is there, told when the agent starts, before anything else."""

    guests: tuple[Running, ...] = ()
    disks: tuple[DiskFile, ...] = ()
    lease_end_us: int = 0  # As the leash has it.


class Heard(msgspec.Struct, frozen=True):
    """A message of the region's."""

    message: Message


class Lived(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a guest: of that epoch, in that life."""

    key: Key
    epoch: Stamp
    restarts: int
    news: Input
    code: str = ""
    detail: str = ""


class Kept(msgspec.Struct, frozen=True):
    """The disks that are there now, after some were made or deleted."""

    disks: tuple[DiskFile, ...]
    failed: tuple[DiskSeen, ...] = ()


class Measured(msgspec.Struct, frozen=True):
    """What the node has to give."""

    capacity: Capacity


Event = Tick | Found | Heard | Lived | Kept | Measured


class Save(msgspec.Struct, frozen=True):
    """Write the document durably, before what follows is done."""

    document: Document


class Say(msgspec.Struct, frozen=True):
    """Send it to the region."""

    message: Message


class Start(msgspec.Struct, frozen=True):
    """Make what it needs, and start it; answer with Lived."""

    wish: GuestWish
    document: Document


class Stop(msgspec.Struct, frozen=True):
    """Stop it; answer with Lived."""

    key: Key
    epoch: Stamp
    restarts: int
    grace_us: int


class Apply(msgspec.Struct, frozen=True):
    """Bring the networks to what the document says."""

    document: Document


class Drop(msgspec.Struct, frozen=True):
    """Delete disks; answer with Kept."""

    disks: tuple[DiskFile, ...]


class Renew(msgspec.Struct, frozen=True):
    """Tell the leash until when fence guests may run."""

    deadline_us: int


Effect = Save | Say | Start | Stop | Apply | Drop | Renew


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """All that the agent knows."""

    node: str
    lease: Lease
    document: Document
    guests: dict[Key, Guest] = {}
    disks: tuple[DiskFile, ...] = ()
    failed: tuple[DiskSeen, ...] = ()
    capacity: Capacity = Capacity()
    has_looked: bool = False  # Before it knows what is there, it begins nothing.
    told: int = 0  # The incarnation that the region said it is of.
    applied: Stamp = Stamp()  # The generation whose networks were applied.
    dropping: bool = False
    reported: tuple[object, ...] = ()
    status: int = 0  # The heartbeat at which the last report was sent.
    reports: int = 0  # Numbers them.


def handle(agent: Agent, event: Event, now_us: int) -> tuple[Agent, list[Effect]]:
    """Take one event; return what the agent knows now, and what the shell is to do."""
    effects: list[Effect] = []
    match event:
        case Tick():
            agent = _beat(agent, now_us, effects)
        case Found():
            agent = _found(agent, event)
        case Heard(message=message):
            agent = _heard(agent, message, effects)
        case Lived():
            agent = _lived(agent, event, now_us, effects)
        case Kept(disks=disks, failed=failed):
            agent = replace(agent, disks=disks, failed=failed, dropping=False)
        case Measured(capacity=capacity):
            agent = replace(agent, capacity=capacity)
        case _:
            assert_never(event)
    if agent.has_looked:
        agent = _report(_pass(agent, now_us, effects), effects)
    return agent, effects


def _beat(agent: Agent, now_us: int, effects: list[Effect]) -> Agent:
    if now_us < agent.lease.next_us:
        return agent
    lease = beat(agent.lease, now_us)
    said = Heartbeat(
        node=agent.node,
        session=lease.session,
        number=lease.number,
        generation=agent.document.generation,
    )
    effects.append(Say(said))
    return replace(agent, lease=lease)


def _found(agent: Agent, found: Found) -> Agent:
    guests = {
        each.key: Guest(epoch=each.epoch, restarts=each.life, phase="running")
        for each in found.guests
    }
    lease = replace(agent.lease, end_us=max(agent.lease.end_us, found.lease_end_us))
    return replace(agent, guests=guests, disks=found.disks, lease=lease, has_looked=True)


def _heard(agent: Agent, message: Message, effects: list[Effect]) -> Agent:
    match message:
        case Ack():
            lease = hear(agent.lease, message)
            if lease.end_us > agent.lease.end_us:
                effects.append(Renew(lease.end_us))
            return replace(agent, lease=lease)
        case Poke(incarnation=incarnation):
            effects.append(Say(Pull(node=agent.node, generation=agent.document.generation)))
            return replace(agent, told=max(agent.told, incarnation))
        case Document(generation=generation) if generation > agent.document.generation:
            effects.append(Save(message))
            return replace(agent, document=message)
        case _:
            return agent  # An older document, or what the shell answers by itself.


def _lived(agent: Agent, event: Lived, now_us: int, effects: list[Effect]) -> Agent:
    guest = agent.guests.get(event.key)
    if guest is None or (guest.epoch, guest.restarts) != (event.epoch, event.restarts):
        return agent  # Of a former grant or life.
    said = life.handle(guest, event.news, now_us, code=event.code, detail=event.detail)
    guest, orders = said
    if "stop" in orders:
        effects.append(Stop(event.key, guest.epoch, guest.restarts, GRACE_US))
    return replace(agent, guests={**agent.guests, event.key: guest})


def _pass(agent: Agent, now_us: int, effects: list[Effect]) -> Agent:
    """Compare what is wished with what is, of everything: told nothing of what changed."""
    if agent.document.generation == Stamp():
        return (
            agent  # It was told nothing yet, or lost what it was told: that is no wish for nothing.
        )
    if agent.applied != agent.document.generation:
        effects.append(Apply(agent.document))
        agent = replace(agent, applied=agent.document.generation)
    wishes = {wish.key: wish for wish in agent.document.guests}
    guests: dict[Key, Guest] = {}
    for key in sorted(agent.guests.keys() | wishes.keys()):
        told = _tell(agent, key, wishes.get(key), now_us, effects)
        if told is not None:
            guests[key] = told
    agent = replace(agent, guests=guests)
    if not agent.dropping:
        gone = void(agent.document, agent.disks, _used(agent, wishes))
        if gone:
            effects.append(Drop(tuple(gone)))
            agent = replace(agent, dropping=True)
    return agent


def _tell(
    agent: Agent, key: Key, wish: GuestWish | None, now_us: int, effects: list[Effect]
) -> Guest | None:
    """Return what a guest is after it was told what is wished; None if nothing is left of it."""
    guest = agent.guests.get(key)
    if wish is None:
        if guest is None or not guest.is_there:
            return None
        return _halt(key, guest, now_us, effects)
    if guest is None:
        guest = Guest(epoch=wish.epoch, restarts=wish.restarts)
    is_of_now = (guest.epoch, guest.restarts) == (wish.epoch, wish.restarts)
    if not is_of_now and guest.is_there:
        return _halt(key, guest, now_us, effects)
    if not is_of_now:
        guest = Guest(epoch=wish.epoch, restarts=wish.restarts, phase="stopped")
    return _follow(agent, wish, guest, now_us, effects)


def _follow(
    agent: Agent, wish: GuestWish, guest: Guest, now_us: int, effects: list[Effect]
) -> Guest:
    """Return what a guest of the wish's own grant and life is after it was told."""
    if wish.power == "off":
        return _halt(wish.key, guest, now_us, effects)
    if not _may_start(agent, wish, now_us):
        return guest
    guest, orders = life.handle(guest, "run", now_us)
    if "start" in orders:
        effects.append(Start(wish, agent.document))
    return guest


def _may_start(agent: Agent, wish: GuestWish, now_us: int) -> bool:
    """Tell whether it may begin: fence needs a live lease, and a document that is not past."""
    is_past = agent.document.generation.incarnation < agent.told
    return wish.on_partition == "stay" or (agent.lease.is_live(now_us) and not is_past)


def _halt(key: Key, guest: Guest, now_us: int, effects: list[Effect]) -> Guest:
    halted, orders = life.handle(guest, "halt", now_us)
    if "stop" in orders:
        effects.append(Stop(key, guest.epoch, guest.restarts, GRACE_US))
    return halted


def _used(agent: Agent, wishes: Mapping[Key, GuestWish]) -> set[Key]:
    """Return the disks of guests that are there; of one that no wish names, that may be any."""
    used: set[Key] = set()
    for key, guest in agent.guests.items():
        if guest.is_there and key in wishes:
            used.update(wishes[key].disks)
        elif guest.is_there:
            used.update(disk.key for disk in agent.disks)
    return used


def _report(agent: Agent, effects: list[Effect]) -> Agent:
    """Say what there is, if it is new or was long not said."""
    guests = tuple(_guests_seen(agent))
    made = [DiskSeen(key=disk.key, epoch=disk.epoch) for disk in agent.disks]
    disks = (*made, *agent.failed)
    news = (agent.document.generation, guests, disks, agent.capacity)
    is_due = agent.lease.number >= agent.status + STATUS_EVERY
    if (news == agent.reported and not is_due) or not agent.lease.number:
        return agent
    said = Status(
        node=agent.node,
        session=agent.lease.session,
        number=agent.reports + 1,
        generation=agent.document.generation,
        guests=guests,
        disks=disks,
        capacity=agent.capacity,
    )
    effects.append(Say(said))
    return replace(agent, reported=news, status=agent.lease.number, reports=agent.reports + 1)


def _guests_seen(agent: Agent) -> Iterator[GuestSeen]:
    for key, guest in agent.guests.items():
        yield GuestSeen(
            key=key,
            epoch=guest.epoch,
            power="on" if guest.phase in ("running", "stopping") else "off",
            restarts=guest.restarts,
            crashes=guest.crashes,
            code=guest.code,
            detail=guest.detail,
        )
