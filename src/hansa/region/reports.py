"""What nodes say, as proposals: observed state, the latest of which wins, and releases (P1)."""

from collections.abc import Iterator
from datetime import datetime

from msgspec.structs import replace

from hansa.model.block_storage import BlockStorage, DiskObserved, Kept
from hansa.model.envelope import Key
from hansa.model.instance import Instance, Seen, Unplaced
from hansa.model.node import Health, Identity, Node, Verdict
from hansa.model.refusal import Refusal
from hansa.model.stamp import Stamp
from hansa.model.state import Action, Proposal, Set, State
from hansa.scheduling.fold import Fold
from hansa.wire.messages import DiskSeen, GuestSeen, Status


def observe(node: Key, said: Status, fold: Fold) -> Proposal:
    """Return the proposal to take what a node reports; it changes nothing where nothing is new.

    `fold` only says where to look: what is proposed is checked against the latest state.
    """

    def propose(state: State, _at: datetime) -> list[Action] | Refusal:
        if (noun := state.of(Node).get(node)) is None:
            return []
        actions: list[Action] = []
        if noun.observed != said.capacity:
            actions.append(Set(kind=Node.kind, key=node, part=said.capacity))
        guests = {guest.key: guest for guest in said.guests}
        for key in sorted(fold.on.get(node, ())):
            actions += _guest(state, key, node, guests.get(key), said.generation)
        disks = {disk.key: disk for disk in said.disks}
        for key in sorted(fold.disks_on.get(node, ())):
            actions += _disk(state, key, node, disks.get(key), said.generation)
        return actions

    return propose


def judge(node: Key, verdict: Verdict) -> Proposal:
    """Return the proposal to write the keeper's verdict."""

    def propose(state: State, _at: datetime) -> list[Action] | Refusal:
        noun = state.of(Node).get(node)
        if noun is None or noun.health.verdict == verdict:
            return []
        return [Set(kind=Node.kind, key=node, part=Health(verdict))]

    return propose


def _guest(
    state: State, key: Key, node: Key, seen: GuestSeen | None, generation: Stamp
) -> Iterator[Action]:
    instance = state.of(Instance).get(key)
    grant = instance.grant if instance else None
    if instance is None or grant is None or grant.node != node:
        return
    if grant.stop is not None:
        if seen is None and generation >= grant.stop:
            yield Set(kind=Instance.kind, key=key, part=Unplaced())
        return
    if seen is None or seen.epoch != grant.epoch:
        return
    now = Seen(
        power=seen.power,
        epoch=seen.epoch,
        restarts=seen.restarts,
        crashes=seen.crashes,
        code=seen.code,
        detail=seen.detail,
    )
    if now != instance.observed:
        yield Set(kind=Instance.kind, key=key, part=now)


def _disk(
    state: State, key: Key, node: Key, seen: DiskSeen | None, generation: Stamp
) -> Iterator[Action]:
    disk = state.of(BlockStorage).get(key)
    if disk is None or disk.assignment.node != node:
        return
    kept = disk.assignment
    if kept.stop is not None:
        if (seen is None or not seen.is_made) and generation >= kept.stop:
            yield Set(kind=BlockStorage.kind, key=key, part=Kept())
        return
    if seen is None or seen.epoch != kept.epoch:
        return
    now = DiskObserved(epoch=seen.epoch, is_made=seen.is_made, code=seen.code, detail=seen.detail)
    # That it was made is never unsaid: if it is missing since, it is lost, and not new.
    now = replace(now, is_made=now.is_made or disk.is_made)
    if now != disk.observed:
        yield Set(kind=BlockStorage.kind, key=key, part=now)


def lose(node: Key) -> Proposal:
    """Return the proposal to give a node up for good, on its operator's word.

    What it held is free to go elsewhere; data that nothing can make anew is marked as lost.
    """

    def propose(state: State, _at: datetime) -> list[Action] | Refusal:
        noun = state.of(Node).get(node)
        if noun is None:
            return Refusal(code="not-found", message=f"there is no node {node}")
        if noun.health.verdict == "up":
            message = f"node {node} is alive: it was heard within its lease"
            return Refusal(code="node-up", message=message, fix="stop its agent first")
        return [*_lost(state, node)]

    return propose


def _lost(state: State, node: Key) -> Iterator[Action]:
    for key, instance in state.of(Instance).items():
        if instance.grant and instance.grant.node == node:
            yield Set(kind=Instance.kind, key=key, part=Unplaced())
    for key, disk in state.of(BlockStorage).items():
        if disk.assignment.node == node:
            is_lost = disk.is_made and not disk.spec.source_image_ref
            yield Set(kind=BlockStorage.kind, key=key, part=Kept(is_lost=is_lost))
    yield Set(kind=Node.kind, key=node, part=Identity())
    yield Set(kind=Node.kind, key=node, part=Health("down"))
