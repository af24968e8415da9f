"""What a simulated tenant and operator ask for, made the way their requests are."""

from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from hansa.model.block_storage import BlockStorage
from hansa.model.envelope import Metadata, Resource
from hansa.model.image import Content, Image, Manifest
from hansa.model.instance import ON_PARTITION, Instance
from hansa.model.node import Capacity, Health, Identity, Node, Verdict
from hansa.model.sku import InstanceSku, StorageSku
from hansa.model.state import R
from hansa.model.workspace import Workspace
from hansa.serve.view import from_request

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOME = Metadata(name="w", tenant="t")


def made(noun: type[R], home: Metadata, **sent: object) -> R:
    """Return a noun as its client asked for it."""
    return from_request(noun, home, msgspec.json.encode(sent))


def sku(name: str, vcpus: int, ram_gb: int) -> InstanceSku:
    """Return a size."""
    return made(InstanceSku, Metadata(name=name, tenant="t"), spec={"vCPU": vcpus, "ram": ram_gb})


def node(name: str, zone: str, vcpus: int, ram_gb: int, verdict: Verdict = "up") -> Node:
    """Return a node that joined, with nothing on it."""
    asked = made(Node, Metadata(name=name), spec={"zone": zone})
    capacity = Capacity(vcpus=vcpus, ram_gb=ram_gb)
    return replace(
        asked, observed=capacity, health=Health(verdict), identity=Identity(f"key of {name}")
    )


def instance(name: str, zone: str, size: str, on_partition: str, group: str = "") -> Instance:
    """Return an instance that boots from the disk of its own name, and is off."""
    spec = {
        "skuRef": {"resource": f"skus/{size}"},
        "zone": zone,
        "bootVolume": {"deviceRef": {"resource": f"block-storages/{name}"}},
        "antiAffinityGroup": group,
    }
    home = Metadata(name=name, tenant="t", workspace="w")
    return made(Instance, home, spec=spec, extensions={ON_PARTITION: on_partition})


def disk(name: str) -> BlockStorage:
    """Return a disk that is filled from the image."""
    spec = {
        "sizeGB": 1,
        "skuRef": {"resource": "skus/D"},
        "sourceImageRef": {"resource": "images/tiny"},
    }
    return made(BlockStorage, Metadata(name=name, tenant="t", workspace="w"), spec=spec)


def catalogue() -> list[Resource]:
    """Return what must be there before an instance can be asked for."""
    storage = {"iops": 1, "minVolumeSize": 1, "type": "local-durable"}
    spec = {"blockStorageRef": {"resource": "images/tiny"}, "cpuArchitecture": "amd64"}
    image = made(Image, Metadata(name="tiny", tenant="t"), spec=spec)
    content = Content(digest="0" * 64, size_bytes=1)
    return [
        made(Workspace, HOME),
        made(StorageSku, Metadata(name="D", tenant="t"), spec=storage),
        replace(image, manifest=Manifest(blobs={"disk": content})),
        sku("S", 1, 2),
        sku("L", 4, 8),
    ]
