"""What `run` makes for an instance, as documents in order of reference.  Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hansa.cli.columns import Document, at
from hansa.cli.failure import CliError
from hansa.cli.grammar import natural
from hansa.model.instance import ON_PARTITION
from hansa.model.sku import DEFAULT

RUN: Final = "hansa.eu/run"
"""The label of what `run` made; its value is the instance's name."""
BLOCK: Final = "10.0.0.0/16"


class Order(NamedTuple):
    """What is asked for, with nothing left open."""

    name: str
    image: str
    zone: str
    network: str
    subnet: str
    sku: str
    disk_sku: str
    disk_gb: int
    is_public: bool = False
    user_data: str = ""
    on_partition: str = ""


class Made(NamedTuple):
    """One object: kind, name below the workspace, and what is written."""

    kind: str
    name: str
    body: Document


def objects(order: Order) -> tuple[Made, ...]:
    """Return what an instance needs, and it itself."""
    labels = {RUN: order.name}
    disk, nic, address = f"{order.name}-boot", f"{order.name}-nic0", f"{order.name}-ip"
    disk_spec = {
        "sizeGB": order.disk_gb,
        "skuRef": _to("skus", order.disk_sku),
        "sourceImageRef": _to("images", order.image),
    }
    nic_spec: Document = {
        "subnetRef": {"resource": f"networks/{order.network}/subnets/{order.subnet}"}
    }
    if order.is_public:
        nic_spec["publicIpRefs"] = [_to("public-ips", address)]
    spec: Document = {
        "skuRef": _to("skus", order.sku),
        "zone": order.zone,
        "bootVolume": {"deviceRef": _to("block-storages", disk)},
        "primaryNicRef": _to("nics", nic),
    }
    if order.user_data:
        spec["userData"] = order.user_data
    instance: Document = {"labels": labels, "spec": spec}
    if order.on_partition:
        instance["extensions"] = {ON_PARTITION: order.on_partition}
    public = Made("public-ip", address, {"labels": labels, "spec": {"version": "IPv4"}})
    return (
        Made("block-storage", disk, {"labels": labels, "spec": disk_spec}),
        *((public,) if order.is_public else ()),
        Made("nic", nic, {"labels": labels, "spec": nic_spec}),
        Made("instance", order.name, instance),
    )


def network(name: str, zones: Sequence[str], sku: str) -> tuple[Made, ...]:
    """Return a network, and a subnet a zone."""
    spec = {"cidr": {"ipv4": BLOCK}, "skuRef": _to("skus", sku)}
    subnets = [
        Made(
            "subnet",
            f"{name}/{zone}",
            {"spec": {"cidr": {"ipv4": f"10.0.{number}.0/24"}, "zone": zone}},
        )
        for number, zone in enumerate(zones, 1)
    ]
    return (Made("network", name, {"spec": spec}), *subnets)


def as_document(made: Made, tenant: str, workspace: str) -> Document:
    """Return what `apply` reads of it."""
    outer, _, name = made.name.rpartition("/")
    metadata = {"kind": made.kind, "name": name, "tenant": tenant, "workspace": workspace}
    if outer:
        metadata["network"] = outer
    return {"metadata": metadata, **made.body}


def sku_of(skus: Iterable[Document], size: str) -> str:
    """Return the SKU that is marked default, else the smallest; `size` is a member of its spec."""
    found = sorted(skus, key=lambda each: (at(each, f"spec.{size}") or 0, each["metadata"]["name"]))
    if not found:
        raise CliError("not-found", "the region offers no SKU of this kind", fix="hansa get sku")
    marked = [each for each in found if (each.get("extensions") or {}).get(DEFAULT) == "true"]
    return str((marked or found)[0]["metadata"]["name"])


def zone_of(zones: Sequence[str], nodes: Iterable[Document]) -> str:
    """Return the zone whose nodes have most processors; the first where nothing is known."""
    vcpus = dict.fromkeys(zones, 0)
    for node in nodes:
        zone = at(node, "spec.zone")
        if zone in vcpus and at(node, "status.verdict") == "up":
            vcpus[zone] += at(node, "status.vcpus") or 0
    return max(zones, key=lambda zone: vcpus[zone])


def subnet_of(subnets: Iterable[Document], zone: str) -> str:
    """Return the first subnet of a zone, or of any; "" if there is none."""
    fitting = [each for each in subnets if (at(each, "spec.zone") or zone) == zone]
    return min((str(each["metadata"]["name"]) for each in fitting), key=natural, default="")


def free_name(image: str, taken: Iterable[str]) -> str:
    """Return tiny-1, or the first number that is free."""
    names, number = set(taken), 1
    while f"{image}-{number}" in names:
        number += 1
    return f"{image}-{number}"


def disk_gb_of(image: Document) -> int:
    """Return the size of disk that an image needs at least."""
    virtual_bytes: int = at(image, "status.content.disk.virtualBytes") or 0
    return max(1, -(-virtual_bytes // (1 << 30)))


def _to(collection: str, name: str) -> dict[str, str]:
    return {"resource": f"{collection}/{name}"}
