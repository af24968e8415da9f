"""What becomes of a disk on its node: nothing is deleted but what a document says is void."""

from collections.abc import Collection, Mapping
from typing import Literal

from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.ports import DiskFile
from hansa.wire.messages import DiskWish, Document


def void(document: Document, found: Collection[DiskFile], used: Collection[Key]) -> list[DiskFile]:
    """Return what is to be deleted: no document names it, or it is of a lower epoch than its wish.

    What a guest that is still there uses (`used`) waits until that is gone.
    """
    wished = {disk.key: disk.epoch for disk in document.disks}
    return [
        disk
        for disk in found
        if disk.key not in used and wished.get(disk.key, Stamp(1 << 62)) > disk.epoch
    ]


def fate(
    wish: DiskWish, found: Mapping[tuple[Key, Stamp], DiskFile], grant: Stamp
) -> Literal["there", "make", "lost"]:
    """Return what a guest that is to start finds of a disk.

    It is made anew only under the very grant whose epoch it has, and only if no one has heard that
    it was made: a later grant, or a second making, would put an empty disk in place of a lost one.
    """
    if (wish.key, wish.epoch) in found:
        return "there"
    return "lost" if wish.is_made or wish.epoch != grant else "make"
