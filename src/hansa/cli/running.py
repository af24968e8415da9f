"""`run` and `rm`: one line to an instance that answers, one line to undo it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from hansa.cli import recipe
from hansa.cli.changing import NoWait, Timeout, remove
from hansa.cli.columns import Document, at
from hansa.cli.failure import CliError
from hansa.cli.grammar import Target, key_of, short_name
from hansa.cli.images import make_tiny
from hansa.cli.instances import instance_key
from hansa.cli.listing import Asked, Look, collect, table
from hansa.cli.printing import kind_of, show
from hansa.cli.session import Session
from hansa.cli.waiting import Wish, deadline_after, probe_of, wait_for
from hansa.client.errors import ApiError

_MADE = ("instance", "nic", "public-ip", "block-storage")

Public = Annotated[bool, typer.Option("--public", help="With a public address.")]
Zone = Annotated[str, typer.Option(metavar="ZONE", help="Zone; else that with most room.")]
Sku = Annotated[str, typer.Option(metavar="SKU", help="Size; else the default one.")]
DiskGb = Annotated[int, typer.Option(metavar="GB", help="Disk; else what it needs.")]
UserData = Annotated[Path | None, typer.Option(metavar="FILE", help="For cloud-init.")]
Partition = Annotated[
    Literal["stay", "fence"] | None, typer.Option(help="If its node falls silent.")
]
NetworkName = Annotated[str, typer.Option(metavar="NAME", help="Network.")]
Show = Annotated[bool, typer.Option("--show", help="Print the documents, and do nothing.")]


def run(
    session: Session,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    name: Annotated[str, typer.Argument(metavar="[NAME]")] = "",
    *,
    public: Public = False,
    zone: Zone = "",
    sku: Sku = "",
    disk_gb: DiskGb = 0,
    user_data: UserData = None,
    on_partition: Partition = None,
    network: NetworkName = "default",
    documents: Show = False,
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Make and start an instance from an image, with disk, NIC and network.

    hansa run tiny
    hansa run tiny web --public

    What it makes carries the label hansa.eu/run=NAME; hansa rm NAME deletes just that.
    """
    deadline = deadline_after(timeout)
    order = recipe.Order(
        name=name,
        image=image,
        zone=zone,
        network=network,
        subnet="",
        sku=sku,
        disk_sku="",
        disk_gb=disk_gb,
        is_public=public,
        user_data=_text_of(user_data),
        on_partition=on_partition or "",
    )
    order = _settled(session, order)
    if documents:
        _print(session, order)
        return
    session.changing()
    _prepare(session, order)
    _make(session, order)
    if no_wait:
        session.screen.result([f"instances/{order.name}"])
    else:
        _wait(session, order, deadline)


def _text_of(file: Path | None) -> str:
    try:
        return file.read_text() if file else ""
    except OSError as error:
        why = error.strerror or str(error)
        raise CliError("file-not-found", f"{file} cannot be read", why=why) from None


def _settled(session: Session, order: recipe.Order) -> recipe.Order:
    """Return an order with nothing left open; what is there already decides."""
    client, (tenant, workspace) = session.client, session.home
    taken = [each["metadata"]["name"] for each in client.list("instance", f"{tenant}/{workspace}")]
    if order.name in taken:
        raise CliError(
            "exists",
            f'there is an instance "{order.name}"',
            where=f"workspace {workspace}",
            fix=f"another name, or: hansa rm {order.name}",
        )
    zones = _zones(session)
    zone = order.zone or recipe.zone_of(zones, _nodes(session))
    if zone not in zones:
        raise CliError(
            "zone-unknown", f'there is no zone "{zone}"', fix=f"--zone {' or '.join(zones)}"
        )
    image = client.find("image", f"{tenant}/{order.image}")
    if image is None and order.image != "tiny":
        fix = "hansa image ls · hansa image import FILE"
        raise CliError("not-found", f'there is no image "{order.image}"', fix=fix)
    return order._replace(
        name=order.name or recipe.free_name(order.image, taken),
        zone=zone,
        sku=order.sku or recipe.sku_of(client.list("instance-sku", tenant), "ram"),
        disk_sku=recipe.sku_of(client.list("storage-sku", tenant), "iops"),
        disk_gb=order.disk_gb or recipe.disk_gb_of(image or {}),
        subnet=_subnet(session, order.network, zone),
    )


def _subnet(session: Session, network: str, zone: str) -> str:
    """Return the subnet of a zone; that of the default network will be made."""
    home = f"{session.home.tenant}/{session.home.workspace}/{network}"
    if session.client.find("network", home) is None:
        if network == "default":
            return zone
        fix = "leave --network out, or: hansa get network"
        raise CliError("not-found", f'there is no network "{network}"', fix=fix)
    found = recipe.subnet_of(session.client.list("subnet", home), zone)
    if not found:
        fix = f"hansa get subnet · --network NAME · zones: {' '.join(_zones(session))}"
        raise CliError("not-found", f'network "{network}" has no subnet in zone {zone}', fix=fix)
    return found


def _prepare(session: Session, order: recipe.Order) -> None:
    """Make what an instance needs and others share: image, workspace, network."""
    tenant, workspace = session.home
    image = session.client.find("image", f"{tenant}/{order.image}")
    if order.image == "tiny" and not at(image or {}, "status.content"):
        make_tiny(session)
    else:
        session.screen.step("image", f"{order.image:<14} there")
    if session.client.find("workspace", f"{tenant}/{workspace}") is None:
        if workspace != "default":
            fix = "hansa get workspaces · hansa use CONTEXT/WORKSPACE"
            raise CliError("parent-unknown", f'there is no workspace "{workspace}"', fix=fix)
        session.client.put("workspace", f"{tenant}/{workspace}", {"spec": {}})
    if order.network == "default":
        _make_network(session)


def _make(session: Session, order: recipe.Order) -> None:
    """Make the instance and what is its own, and start it; if refused, that stays for `rm`."""
    tenant, workspace = session.home
    try:
        for each in recipe.objects(order):
            made = session.client.put(each.kind, f"{tenant}/{workspace}/{each.name}", each.body)
            if told := _told(made, order):
                session.screen.step(told[0], f"{each.name:<14} {told[1]}")
        session.client.act("instance", f"{tenant}/{workspace}/{order.name}", "start")
    except ApiError:
        session.screen.hint(f"what was made stays; undo: hansa rm {order.name}")
        raise


def _make_network(session: Session) -> None:
    tenant, workspace = session.home
    home = f"{tenant}/{workspace}"
    if session.client.find("network", f"{home}/default") is not None:
        return
    sku = recipe.sku_of(session.client.list("network-sku", tenant), "bandwidth")
    for each in recipe.network("default", _zones(session), sku):
        session.client.put(each.kind, f"{home}/{each.name}", each.body)
    session.screen.step("network", f"{'default':<14} {recipe.BLOCK}, new")


def _told(made: Document, order: recipe.Order) -> tuple[str, str] | None:
    match kind_of(made):
        case "block-storage":
            return "disk", f"{order.disk_gb} GB {order.disk_sku} from {order.image}"
        case "nic":
            address = ", ".join(at(made, "status.addresses") or ())
            return "nic", f"{address} in {order.network}/{order.subnet}".strip()
        case "public-ip":
            return "address", str(at(made, "status.ipAddress") or "on its way")
        case _:
            return None


def _wait(session: Session, order: recipe.Order, deadline: float) -> None:
    """Wait until it answers, tell the steps, and show it."""
    key, began_s = instance_key(session, order.name), time.monotonic()
    wait_for(session, [Wish("instance", key, "on")], deadline)
    instance = session.client.get("instance", key)
    node = at(instance, "status.node")
    told = f"on {node:<11} {order.sku}, zone {order.zone} (hansa explain instance {order.name})"
    session.screen.step("start", told)
    probe = probe_of(session, instance)
    if probe:
        wait_for(session, [Wish("instance", key, "answering")], deadline)
        took_s = time.monotonic() - began_s
        session.screen.step("answers", f"{f'after {took_s:.1f} s':<14} {probe.url}")
    if session.output != "table":
        show(session, [instance])
        return
    session.screen.result(table(session, [instance], Look(), wide=False))
    look = f"curl {probe.url} · " if probe and probe.protocol == "http" else ""
    ways = f"hansa console {order.name} · hansa logs -f {order.name}"
    session.screen.hint(f"next: {look}{ways} · undo: hansa rm {order.name}")


def _print(session: Session, order: recipe.Order) -> None:
    """Print what would be made, fit for `apply -f`."""
    tenant, workspace = session.home
    zones, made = _zones(session), list(recipe.objects(order))
    home = f"{tenant}/{workspace}"
    if order.network == "default" and session.client.find("network", f"{home}/default") is None:
        sku = recipe.sku_of(session.client.list("network-sku", tenant), "bandwidth")
        made = [*recipe.network("default", zones, sku), *made]
    shown = [recipe.as_document(each, tenant, workspace) for each in made]
    if session.output == "table":
        from hansa.cli.printing import as_yaml  # noqa: PLC0415 - only here

        session.screen.result("---\n" + as_yaml(each) for each in shown)
    else:
        show(session, shown, is_list=True)


def _zones(session: Session) -> list[str]:
    region = next(session.client.list("region"), {})
    return [str(zone) for zone in at(region, "spec.availableZones") or ()]


def _nodes(session: Session) -> Iterator[Document]:
    """Yield the nodes, as far as one may see them."""
    try:
        yield from session.client.list("node")
    except ApiError as error:
        if error.code not in ("not-allowed", "not-found", "route-unknown"):
            raise


def rm(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    *,
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Undo a run: delete an instance and what run made for it.

    hansa rm web
    hansa rm tiny-1 tiny-2
    """
    session.changing()
    found: list[Document] = []
    for name in names:
        mine = collect(session, [Target(_MADE, "")], Asked(labels=f"{recipe.RUN}={name}"))
        if not mine:
            fix = f"hansa delete instance {name} · hansa get i"
            raise CliError("not-found", f'run made nothing for "{name}"', fix=fix)
        found += mine
    remove(session, [(kind_of(each), key_of(each)) for each in found], timeout, no_wait=no_wait)
    if session.output == "name":
        session.screen.result(short_name(kind_of(each), key_of(each)) for each in found)
