"""Image: a manifest of blobs from which disks are filled, and guests are booted."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from hansa.model.envelope import Part, Reference, Refers, Stateful, Status

BlobUse = Literal["disk", "kernel", "initrd"]
CMDLINE = "hansa.eu/cmdline"
"""The extension with what its kernel is told."""
MACHINE = "hansa.eu/machine"
"""The extension that asks for a machine: `microvm` or `q35`."""


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Written by the tenant; `images/NAME` as the disk is none, and the content is uploaded."""

    block_storage_ref: Reference
    cpu_architecture: Literal["amd64", "arm64"]
    boot: Literal["UEFI", "BIOS"] | UnsetType = UNSET
    initializer: Literal["none", "cloudinit-22"] | UnsetType = UNSET


class Content(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One blob: SHA-256 in hex, its bytes, and what a disk made from it has at least."""

    digest: str
    size_bytes: int
    virtual_bytes: int = 0


class Manifest(Part, frozen=True, kw_only=True):
    """Written by the upload, each blob when it was verified."""

    member = "manifest"
    blobs: dict[str, Content] = msgspec.field(default_factory=dict)


class ImageStatus(Status, frozen=True, kw_only=True):
    """What a client sees."""

    size_mb: Annotated[int, msgspec.Meta(ge=1)] | UnsetType = msgspec.field(
        name="sizeMB", default=UNSET
    )
    content: dict[str, Content] = msgspec.field(default_factory=dict)


class Image(Stateful, frozen=True, kw_only=True):
    """One image."""

    kind = "image"
    refers = (Refers("blockStorageRef", "block-storage", must_exist=False),)
    example = b'{"spec":{"blockStorageRef":{"resource":"images/it"},"cpuArchitecture":"amd64"}}'
    spec: ImageSpec
    manifest: Manifest = Manifest()

    def __post_init__(self) -> None:
        """Refuse an extension value that we do not know, as SECA wants it."""
        if (machine := self.extensions.get(MACHINE, "q35")) not in ("microvm", "q35"):
            raise ValueError(f"{MACHINE} is microvm or q35, not {machine}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be booted from it."""
        return not self.manifest.blobs.keys() & {"disk", "kernel"}

    @property
    def status(self) -> ImageStatus:
        """The view that clients see."""
        blobs = self.manifest.blobs
        size_bytes = sum(blob.size_bytes for blob in blobs.values())
        size_mb = max(1, size_bytes >> 20) if blobs else UNSET
        return ImageStatus(**asdict(self.lifecycle), size_mb=size_mb, content=blobs)
