"""What one starts with: up, status, down, use."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from msgspec.structs import replace

from hansa.cli import book, local, where
from hansa.cli.failure import CliError
from hansa.cli.printing import Document, show
from hansa.cli.running import rm, run
from hansa.cli.session import Session
from hansa.cli.table import Head, render


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (up, status, run, rm, down, use):
        book.add(app, function, panel=book.START)


def up(
    session: Session,
    *,
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to be reached at.")] = "",
    zone: Annotated[str, typer.Option(help="Zone of this machine.")] = "a",
    name: Annotated[str, typer.Option(help="Name of the region.")] = "local",
) -> None:
    """Start a region and a node on this machine; repeating it changes nothing.

        hansa up
        hansa up --listen 192.0.2.1 --name demo

    Options take effect at the first start; later, region.yaml in HANSA_HOME says.
    Without --listen only this machine can reach it.
    """
    screen = session.screen
    done = local.up(listen=listen, zone=zone, name=name, report=screen.step)
    path = where.config_path(session.env)
    config = where.read_config(path)
    context = where.Context(
        name="local", endpoint=done.endpoint, ca=done.ca_file, token_file=done.token_file
    )
    new = config.having(context)
    if new != config:
        where.write_config(path, new)
        screen.step("context", f"local, in {path}")
    local_session = Session({**session.flags, "context": "local"}, {"HANSA_CONFIG": str(path)})
    _workspace(local_session)
    screen.step("region", f"{done.region} answers at {done.endpoint}")
    if new.current != "local":
        screen.hint(f"context {new.current} stays current; choose this one: hansa use local")
    if session.output == "json":
        show(session, [{"format": "hansa.up/1", "endpoint": done.endpoint, "region": done.region,
                        "changed": done.has_changed}])  # fmt: skip
    screen.hint("next: hansa run tiny web · hansa status · undo: hansa down")


def _workspace(session: Session) -> None:
    """Make the workspace that commands land in when none is named."""
    key = "main/default"
    try:
        if session.client.find("workspace", key) is None:
            session.client.put("workspace", key, {"spec": {}})
            session.screen.step("space", "workspace default of tenant main, new")
    finally:
        session.close()


def status(session: Session) -> None:
    """Show region, nodes, room and health; first what needs attention.

    hansa status
    hansa status -o json
    """
    client, home = session.client, session.home
    instances = list(client.list("instance", f"{home.tenant}/{home.workspace}"))
    regions, nodes = list(client.list("region")), _nodes(session)
    processes = local.processes() if session.place.context.name == "local" else []
    if session.output != "table":
        counts = {"on": sum(map(_is_on, instances)), "all": len(instances)}
        said = {
            "format": "hansa.status/1",
            "region": regions[0] if regions else {},
            "nodes": nodes or [],
            "instances": counts,
            "processes": [each._asdict() for each in processes],
        }
        show(session, [said])
        return
    session.screen.result(_alarms(processes, nodes or [], instances))
    rows = [
        ("region", _region_line(regions)),
        ("endpoint", session.place.endpoint),
        ("nodes", "for operators" if nodes is None else _room_line(nodes)),
        (
            "instances",
            f"{sum(map(_is_on, instances))}/{len(instances)} on, in workspace {home.workspace}",
        ),
        *((each.name, f"pid {each.pid}" if each.pid else "gone") for each in processes),
    ]
    lines = render([Head("WHAT"), Head("HOW")], rows, width=session.screen.width, has_heads=False)
    session.screen.result(lines)


def _alarms(
    processes: Iterable[local.Process], nodes: Iterable[Document], instances: Iterable[Document]
) -> Iterator[str]:
    """Yield what needs attention, a line each."""
    for process in processes:
        if not process.pid:
            yield f"✗ {process.name} does not run; its log: {process.log}"
    for node in nodes:
        if not _is_up(node):
            verdict = _status(node).get("verdict", "unknown")
            yield f"? node {node['metadata']['name']} is {verdict}"
    for instance in instances:
        if code := _status(instance).get("code"):
            detail = _status(instance).get("detail", "")
            yield f"? instance {instance['metadata']['name']}: {code} {detail}".rstrip()


def _region_line(regions: list[Document]) -> str:
    if not regions:
        return "?"
    zones = " ".join(regions[0]["spec"].get("availableZones", ()))
    return f"{regions[0]['metadata']['name']}, zones {zones}"


def _room_line(nodes: list[Document]) -> str:
    there = [_status(node) for node in nodes if _is_up(node)]
    vcpus, ram_gb = (sum(each.get(member, 0) for each in there) for member in ("vcpus", "ramGB"))
    return f"{len(there)}/{len(nodes)} up, {vcpus} vCPU, {ram_gb} GB"


def _nodes(session: Session) -> list[Document] | None:
    """Return the nodes; None for who may not see them."""
    from hansa.client.errors import ApiError  # noqa: PLC0415

    try:
        return list(session.client.list("node"))
    except ApiError as error:
        if error.code in ("not-allowed", "not-found", "route-unknown"):
            return None
        raise


def down(
    session: Session,
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Also delete all data.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop guests, node and region; --purge also deletes their data.

    hansa down
    hansa down --purge --yes
    """
    session.changing()
    if purge:
        session.sure(f"Delete all disks, images and the state in {local.home()}?", is_yes=yes)
    local.down(report=session.screen.step)
    if purge:
        local.purge()
        session.screen.step("data", f"{local.home()} deleted")


def use(
    session: Session,
    place: Annotated[str, typer.Argument(metavar="[CONTEXT[/WORKSPACE]]")] = "",
) -> None:
    """Show or choose context and workspace.

    hansa use
    hansa use local/dev
    """
    path = where.config_path(session.env)
    if place:
        name, _, workspace = place.partition("/")
        config = where.read_config(path)
        chosen = config.named(name or config.current)
        if workspace:
            chosen = replace(chosen, workspace=workspace)
        where.write_config(path, replace(config.having(chosen), current=chosen.name))
        session = Session(session.flags, session.env)
    now = session.place
    if not now.endpoint:
        raise CliError("usage", "no region is named", fix="start one: hansa up")
    token, source = where.token_of(now, session.env)
    said = {
        "context": (now.context.name or "-", now.sources["context"]),
        "endpoint": (now.endpoint, now.sources["endpoint"]),
        "tenant": (now.tenant, now.sources["tenant"]),
        "workspace": (now.workspace, now.sources["workspace"]),
        "token": ("there is one" if token else "none", source),
    }
    if session.output != "table":
        show(session, [{"format": "hansa.use/1"} | {
            part: {"value": value, "from": source} for part, (value, source) in said.items()
        }])  # fmt: skip
        return
    rows = [(part, value, source) for part, (value, source) in said.items()]
    heads = [Head("WHAT"), Head("VALUE"), Head("FROM")]
    session.screen.result(render(heads, rows, width=session.screen.width))


def _status(document: Document) -> Document:
    return document.get("status") or {}


def _is_up(node: Document) -> bool:
    return _status(node).get("verdict") == "up"


def _is_on(instance: Document) -> bool:
    return _status(instance).get("powerState") == "on"
