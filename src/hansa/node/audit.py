"""What a node is to have against what it has: asked of QMP, the kernel and qemu-img, not of us."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.node.machines.agent import Agent
from hansa.node.starting import Outside
from hansa.ports import NodeNetwork, Running
from hansa.wire.messages import Document, GuestWish

Finding = dict[str, str]


async def findings(agent: Agent, outside: Outside) -> list[Finding]:
    """Return each thing that is wished and not so, and each that is there and not wished."""
    document = agent.document
    running = {guest.key: guest for guest in await outside.hypervisor.found()}
    found: list[Finding] = []
    for wish in document.guests:
        found += _power(agent, wish, running.get(wish.key))
        if wish.power == "on" and wish.key in running:
            found += await _machine(wish, outside)
    wished = {wish.key for wish in document.guests}
    found += [_said("instance", key, "runs, and is not wished") for key in running.keys() - wished]
    found += await _disks(agent, outside)
    found += _networks(document, running, await outside.networks.audit())
    return [{"node": agent.node, **each} for each in found]


def log_tail(path: str, tail_bytes: int) -> str:
    """Return the last bytes of a file as text; "" if it is not there."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail_bytes))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _said(kind: str, key: str, what: str) -> Finding:
    return {"kind": kind, "key": key, "finding": what}


def _power(agent: Agent, wish: GuestWish, guest: Running | None) -> Iterator[Finding]:
    known = agent.guests.get(wish.key)
    is_over = known is not None and known.code == "guest-shutdown"
    if wish.power == "on" and guest is None and not is_over:
        why = known.code if known else "it was not begun"
        yield _said(
            "instance", wish.key, f"is wished on and does not run: {why or 'it is starting'}"
        )
    if wish.power == "off" and guest is not None:
        yield _said("instance", wish.key, "is wished off and runs")
    if guest and guest.epoch != wish.epoch:
        yield _said("instance", wish.key, f"runs under epoch {guest.epoch}, not {wish.epoch}")
    if guest and guest.is_fenced != (wish.on_partition == "fence"):
        yield _said("instance", wish.key, f"is granted {wish.on_partition}, and not held so")


async def _machine(wish: GuestWish, outside: Outside) -> list[Finding]:
    try:
        said = await outside.hypervisor.audit(wish.key)
    except DriverError as error:
        return [_said("instance", wish.key, f"QMP does not answer: {error}")]
    wished = {
        "status": "running",
        "vcpus": wish.vcpus,
        "ram_bytes": wish.ram_gb << 30,
        "macs": sorted(nic.mac for nic in wish.nics),
    }
    macs = said.get("macs")
    has = {**said, "macs": sorted(macs) if isinstance(macs, list | tuple) else macs}
    return [
        _said("instance", wish.key, f"{name} is {has.get(name)}, not {value}")
        for name, value in wished.items()
        if has.get(name) != value
    ]


async def _disks(agent: Agent, outside: Outside) -> list[Finding]:
    there = {(disk.key, disk.epoch) for disk in await outside.disks.found()}
    wished = {disk.key: disk for disk in agent.document.disks}
    found = [
        _said("block-storage", key, "was made, and is not there")
        for key, disk in wished.items()
        if disk.is_made and (key, disk.epoch) not in there
    ]
    for key, epoch in sorted(there):
        if key not in wished or wished[key].epoch != epoch:
            found.append(_said("block-storage", key, f"is there under {epoch}, and not wished"))
            continue
        try:
            size_bytes = (await outside.disks.audit(key, epoch)).get("size_bytes")
        except DriverError as error:
            found.append(_said("block-storage", key, f"qemu-img refuses it: {error}"))
            continue
        if isinstance(size_bytes, int) and size_bytes < wished[key].size_gb << 30:
            found.append(_said("block-storage", key, f"has {size_bytes} bytes"))
    return found


def _networks(
    document: Document, running: Mapping[Key, Running], there: Mapping[Key, NodeNetwork]
) -> list[Finding]:
    found: list[Finding] = []
    taps = {nic.tap for wish in document.guests if wish.key in running for nic in wish.nics}
    for network in document.networks:
        real = there.get(network.key)
        if real is None:
            found.append(_said("network", network.key, "is not there"))
            continue
        wished = {nic for nic in network.local if nic.tap in taps}
        found += [
            _said("nic", f"{network.key}:{nic.address}", "is not as wished")
            for nic in sorted(wished ^ set(real.local), key=lambda nic: nic.address)
        ]
        found += [
            _said("route", f"{network.key}:{nic.address}", "is not as wished")
            for nic in sorted(set(network.remote) ^ set(real.remote), key=lambda nic: nic.address)
        ]
    wished_keys = {network.key for network in document.networks}
    found += [
        _said("network", key, "is there, and not wished")
        for key in sorted(there.keys() - wished_keys)
    ]
    return found
