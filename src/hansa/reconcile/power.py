"""Start, stop and restart: what is wished, and what must hold before it is accepted."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from hansa.model.block_storage import BlockStorage, Kept
from hansa.model.envelope import Key
from hansa.model.image import Image
from hansa.model.instance import Instance, Power
from hansa.model.naming import resolve
from hansa.model.nic import Nic
from hansa.model.node import Node
from hansa.model.refusal import Refusal
from hansa.model.stamp import NOW
from hansa.model.state import Action, Proposal, Set, State
from hansa.model.subnet import Subnet
from hansa.scheduling.fold import disks_of


def start(key: Key, if_version: int | None) -> Proposal:
    """Return the proposal to turn an instance on."""

    def change(state: State, instance: Instance, at: datetime) -> list[Action] | Refusal:
        if instance.power.wanted == "on" and not instance.has_shut_itself_down:
            message = f'"{instance.metadata.name}" is on already'
            return Refusal(code="already-on", message=message)
        if no := next(_obstacles(state, key, instance), None):
            return no
        power = Power("on", instance.power.restarts + 1, at)
        return [*_regrant(state, key, instance), _set(key, power)]

    return _action(key, if_version, change)


def stop(key: Key, if_version: int | None) -> Proposal:
    """Return the proposal to turn an instance off."""

    def change(_state: State, instance: Instance, at: datetime) -> list[Action] | Refusal:
        if instance.power.wanted == "off":
            message = f'"{instance.metadata.name}" is off already'
            return Refusal(code="already-off", message=message)
        return [_set(key, Power("off", instance.power.restarts, at))]

    return _action(key, if_version, change)


def restart(key: Key, if_version: int | None) -> Proposal:
    """Return the proposal to turn an instance off and on again."""

    def change(_state: State, instance: Instance, at: datetime) -> list[Action] | Refusal:
        if instance.power.wanted == "off":
            message = f'"{instance.metadata.name}" is off'
            fix = f"hansa start {instance.metadata.name}"
            return Refusal(code="already-off", message=message, fix=fix)
        return [_set(key, Power("on", instance.power.restarts + 1, at))]

    return _action(key, if_version, change)


ACTIONS: Final[dict[tuple[str, str], Callable[[Key, int | None], Proposal]]] = {
    (Instance.kind, "start"): start,
    (Instance.kind, "stop"): stop,
    (Instance.kind, "restart"): restart,
}

_Change = Callable[[State, Instance, datetime], list[Action] | Refusal]


def _action(key: Key, if_version: int | None, change: _Change) -> Proposal:
    def propose(state: State, at: datetime) -> list[Action] | Refusal:
        instance = state.of(Instance).get(key)
        if instance is None:
            return Refusal(code="not-found", message=f"there is no instance {key}")
        version = instance.record.resource_version
        if if_version is not None and if_version != version:
            message = f"it has version {version}, and not {if_version}"
            return Refusal(code="stale-version", message=message)
        if instance.lifecycle.state == "deleting":
            return Refusal(code="deleting", message=f"instance {key} is being deleted")
        actions = change(state, instance, at)
        if isinstance(actions, Refusal):
            return actions
        life = instance.lifecycle.through(at, "updating", "active")
        return [*actions, Set(kind=Instance.kind, key=key, part=life, at=at)]

    return propose


def _set(key: Key, power: Power) -> Set:
    return Set(kind=Instance.kind, key=key, part=power)


def _regrant(state: State, key: Key, instance: Instance) -> list[Action]:
    """Return a new grant of the same node, where a disk has come that no grant has taken yet."""
    grant = instance.grant
    new = [disk for disk, noun in disks_of(state, key).items() if noun and not noun.assignment.node]
    if grant is None or not new:
        return []
    kept = Kept(node=grant.node, epoch=NOW)
    renewed = replace(grant, epoch=NOW, on_partition=instance.on_partition)
    return [
        Set(kind=Instance.kind, key=key, part=renewed),
        *(Set(kind=BlockStorage.kind, key=disk, part=kept) for disk in new),
    ]


def _obstacles(state: State, key: Key, instance: Instance) -> Iterator[Refusal]:
    """Yield why it cannot start: the first decides."""
    disks = disks_of(state, key)
    for disk, noun in disks.items():
        yield from _disk(state, key, disk, noun)
    if instance.on_partition == "fence":
        yield from _fence(instance, list(disks.values()))
    homes = {disk.assignment.node for disk in disks.values() if disk and disk.assignment.node}
    for home in homes:
        node = state.of(Node).get(home)
        if len(homes) > 1 or (node and node.spec.zone != instance.spec.zone):
            where = f"zone {node.spec.zone}" if node and len(homes) == 1 else ", ".join(homes)
            message = f"its disks are in {where}, and it asks for zone {instance.spec.zone}"
            yield Refusal(code="disk-elsewhere", message=message, pointer="/spec/zone")
    for reference in instance.spec.nic_refs:
        yield from _nic(state, key, resolve(Nic.kind, reference, instance.metadata))


def _disk(state: State, key: Key, disk: Key, noun: BlockStorage | None) -> Iterator[Refusal]:
    name = disk.rpartition("/")[2]
    if noun is None:
        yield Refusal(code="reference-unknown", message=f'there is no disk "{name}"')
        return
    yield from _going(name, noun)
    if source := noun.spec.source_image_ref:
        image = state.of(Image).get(resolve(Image.kind, source, noun.metadata) or Key(""))
        if not noun.is_made and (image is None or image.is_empty):
            message = f'image "{source.resource}" of disk "{name}" has no content'
            fix = f"hansa image import FILE --name {source.resource.rpartition('/')[2]}"
            yield Refusal(code="image-empty", message=message, fix=fix)
    elif disk == next(iter(disks_of(state, key))) and not noun.is_made:
        message = f'disk "{name}" has no image to boot from'
        yield Refusal(code="image-empty", message=message, pointer="/spec/bootVolume")
    for other, running in state.of(Instance).items():
        if other != key and running.power.wanted == "on" and disk in disks_of(state, other):
            message = f'disk "{name}" is in use by instance {running.metadata.name}'
            fix = f"hansa stop {running.metadata.name}"
            yield Refusal(code="disk-in-use", message=message, fix=fix)


def _going(name: str, disk: BlockStorage) -> Iterator[Refusal]:
    if disk.lifecycle.state == "deleting":
        yield Refusal(code="deleting", message=f'disk "{name}" is being deleted')
    if disk.assignment.is_lost:
        message = f'disk "{name}" is lost with its node'
        yield Refusal(code="disk-lost", message=message, fix=f"hansa delete disk {name}")


def _fence(instance: Instance, disks: list[BlockStorage | None]) -> Iterator[Refusal]:
    """Yield why it may not be fence: it begins elsewhere with a new disk, and loses the old."""
    if len(disks) > 1 or (disks and disks[0] and not disks[0].spec.source_image_ref):
        message = (
            f'"{instance.metadata.name}" is fence, and has a disk that cannot be made anew: '
            "where its node is lost, what is on it would be lost silently"
        )
        fix = "leave the data disks out, boot from an image, or let it stay"
        yield Refusal(code="fence-keeps-data", message=message, fix=fix)


def _nic(state: State, key: Key, nic_key: Key | None) -> Iterator[Refusal]:
    nic = state.of(Nic).get(nic_key or Key(""))
    if nic is None:
        yield Refusal(code="reference-unknown", message=f"there is no NIC {nic_key}")
        return
    address, network = nic.lease.address or nic.wanted_address, _network(nic)
    for other, running in state.of(Instance).items():
        if other == key or running.power.wanted == "off":
            continue
        for reference in running.spec.nic_refs:
            taken = state.of(Nic).get(resolve(Nic.kind, reference, running.metadata) or Key(""))
            if taken and address and taken.lease.address == address and _network(taken) == network:
                yield Refusal(
                    code="address-in-use",
                    message=f"address {address} is in use",
                    pointer="/spec/primaryNicRef",
                    fix="write another address or 0.0.0.0 (the region picks) into the NIC",
                    facts={"nic": taken.metadata.name, "instance": running.metadata.name},
                )


def _network(nic: Nic) -> str:
    home = resolve(Subnet.kind, nic.spec.subnet_ref, nic.metadata)
    return (home or "").rpartition("/")[0]
