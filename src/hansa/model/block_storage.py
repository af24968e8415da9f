"""BlockStorage: a disk, which lives on one node from the first start of its instance on."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict

from hansa.model.envelope import Key, Part, Reference, Refers, Stateful, Status
from hansa.model.stamp import Stamp


class DiskSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Written by the tenant."""

    size_gb: Annotated[int, Meta(ge=1, le=1_000_000)] = msgspec.field(name="sizeGB")
    sku_ref: Reference
    source_image_ref: Reference | UnsetType = UNSET


class Kept(Part, frozen=True, kw_only=True):
    """Written by the scheduler: it lives on `node`, made under `epoch`; "" is nowhere yet."""

    member = "assignment"
    node: Key = Key("")
    epoch: Stamp = Stamp()  # Of the commit that put it there.
    stop: Stamp | None = None
    """The revision since which the node's documents lack it."""
    is_lost: bool = False
    """Its node is gone for good, and took it along."""


class DiskObserved(Part, frozen=True, kw_only=True):
    """Written by its node, which says under which epoch."""

    member = "observed"
    epoch: Stamp = Stamp()
    is_made: bool = False
    code: str = ""
    detail: str = ""


class DiskStatus(Status, frozen=True, kw_only=True, rename="camel"):
    """What a client sees."""

    size_gb: int = msgspec.field(name="sizeGB")
    node: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class BlockStorage(Stateful, frozen=True, kw_only=True):
    """One disk."""

    kind = "block-storage"
    refers = (
        Refers("skuRef", "storage-sku"),
        Refers("sourceImageRef", "image"),
    )
    immutable = ("skuRef",)
    example = b'{"spec":{"sizeGB":20,"skuRef":{"resource":"skus/RD500"}}}'
    spec: DiskSpec
    assignment: Kept = Kept()
    observed: DiskObserved = DiskObserved()

    @property
    def is_made(self) -> bool:
        """Whether its node has it as it is assigned now."""
        return self.observed.is_made and self.observed.epoch == self.assignment.epoch

    @property
    def status(self) -> DiskStatus:
        """The view that clients see."""
        seen = self.observed if self.observed.epoch == self.assignment.epoch else DiskObserved()
        lost = "disk-lost" if self.assignment.is_lost else ""
        return DiskStatus(
            **asdict(self.lifecycle),
            size_gb=self.spec.size_gb,
            node=self.assignment.node or UNSET,
            code=lost or seen.code or UNSET,
            detail=seen.detail or UNSET,
        )
