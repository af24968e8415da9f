"""Starting a guest: all that it needs, in the order in which it needs it."""

import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from hansa.errors import DriverError
from hansa.node.machines.disk import fate
from hansa.node.seed import files_of
from hansa.ports import Blobs, Boot, Disks, Hypervisor, Machine, Networks, Plug, Running
from hansa.wire.messages import Blob, Document, GuestWish

Secrets = Callable[[str], Awaitable[bytes]]
"""Fetches a user data by its digest."""


class Outside(NamedTuple):
    """What a node's agent works with."""

    hypervisor: Hypervisor
    disks: Disks
    blobs: Blobs
    networks: Networks
    secrets: Secrets


async def start(wish: GuestWish, document: Document, outside: Outside) -> Running:
    """Make its disks, fetch what it boots from, open its taps, and start it.

    Its networks were applied before.  Raises DriverError; what was made stays for the next try.
    """
    paths = await _disks(wish, document, outside)
    boot = Boot(
        machine=wish.boot.machine,
        firmware=wish.boot.firmware,
        kernel=await _path(wish.boot.kernel, outside.blobs),
        initrd=await _path(wish.boot.initrd, outside.blobs),
        cmdline=wish.boot.cmdline,
    )
    user_data = await outside.secrets(wish.user_data) if wish.user_data else b""
    seed = await outside.blobs.seed(wish.key, wish.epoch, files_of(wish, user_data))
    machine = Machine(
        key=wish.key,
        epoch=wish.epoch,
        life=wish.restarts,
        vcpus=wish.vcpus,
        ram_gb=wish.ram_gb,
        disks=tuple(paths),
        seed=seed,
        plugs=tuple(Plug(tap=nic.tap, mac=nic.mac) for nic in wish.nics),
        boot=boot,
        is_fenced=wish.on_partition == "fence",
    )
    taps: dict[str, int] = {}
    try:
        for nic in wish.nics:
            taps[nic.tap] = await outside.networks.open_tap(nic.network, nic.tap)
    except DriverError:
        for tap in taps.values():
            os.close(tap)
        raise
    return await outside.hypervisor.start(machine, taps)


async def _disks(wish: GuestWish, document: Document, outside: Outside) -> list[str]:
    wishes = {disk.key: disk for disk in document.disks}
    found = {(disk.key, disk.epoch): disk for disk in await outside.disks.found()}
    paths = []
    for key in wish.disks:
        if key not in wishes:
            raise DriverError("disk-elsewhere", f"disk {key} is not on this node")
        disk = wishes[key]
        match fate(disk, found, wish.epoch):
            case "lost":
                message = f"disk {key} was made under {disk.epoch}, and is not there any more"
                raise DriverError("disk-lost", message, retryable=False)
            case "there" | "make":
                backing = (
                    "" if (key, disk.epoch) in found else await _path(disk.image, outside.blobs)
                )
                paths.append(await outside.disks.make(key, disk.epoch, disk.size_gb, backing))
    return paths


async def _path(blob: Blob | None, blobs: Blobs) -> str:
    return await blobs.fetch(blob.digest, blob.size_bytes) if blob else ""
