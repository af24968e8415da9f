"""What a region's operator does: nodes, audit, backup; and the processes that `up` starts."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import book, local
from hansa.cli.changing import Yes
from hansa.cli.describing import describe_lines
from hansa.cli.failure import CliError
from hansa.cli.grammar import Target, parse
from hansa.cli.listing import Asked, Look, collect, facts_of, table
from hansa.cli.printing import show
from hansa.cli.session import Session
from hansa.cli.table import Head, render
from hansa.cli.units import measured

Node = Annotated[str, typer.Argument(metavar="NODE")]
_FINDINGS = 10


def register(app: typer.Typer) -> None:
    """Add the commands and groups."""
    nodes = book.group()
    for function in (invite, join, ls, show_, lost):
        book.add(nodes, function)
    book.add(nodes, run_node, name="run", hidden=True)
    text = "Add nodes, see them, declare one lost"
    book.add_group(app, nodes, "node", text, book.REGION)
    region = book.group()
    book.add(region, run_region, name="run", hidden=True)
    book.add_group(app, region, "region", "The process of a region", "")
    book.add(app, audit, panel=book.REGION)
    book.add(app, backup, panel=book.REGION)


def invite(
    session: Session,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The name that it will have.")],
    *,
    zone: Annotated[str, typer.Option(help="Its zone; else the region's first.")] = "",
) -> None:
    """Print the one line that another machine types to become a node.

    hansa node invite node-b
    hansa node invite node-c --zone b

    The line holds a secret, is good for one machine, once, and is told only now.
    """
    session.changing()
    region = next(session.client.list("region"), {})
    zone = zone or str(region.get("spec", {}).get("availableZones", ["a"])[0])
    made = session.client.put("invitation", node, {"spec": {"zone": zone}})
    if session.output == "table":
        session.screen.result([f"hansa node join '{made['token']}'"])
    else:
        show(session, [made])


def join(
    session: Session,
    invitation: Annotated[str, typer.Argument(metavar="INVITATION")],
    *,
    address: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where other nodes reach this machine.")
    ] = "",
) -> None:
    """Make this machine a node.

    hansa node join 'https://192.0.2.1:7443#...'
    hansa node join 'https://192.0.2.1:7443#...' --address 198.51.100.7
    """
    local.join(invitation, address=address, report=session.screen.step)


def ls(session: Session) -> None:
    """List nodes.

    hansa node ls
    hansa node ls -o json
    """
    found = collect(session, [Target(("node",), "")], Asked())
    if session.output != "table":
        show(session, found, is_list=True)
    elif found:
        session.screen.result(table(session, found, Look(), wide=False))
    else:
        session.screen.hint("No nodes. hansa node invite NAME")


def show_(session: Session, node: Node) -> None:
    """Show a node: what it has, and what it reports.

    hansa node show node-a
    hansa node show node-a -o yaml
    """
    found = collect(session, parse(["node", node]), Asked())
    if session.output == "table":
        session.screen.result(describe_lines(found[0], facts_of(session)))
    else:
        show(session, found)


def lost(session: Session, node: Node, *, yes: Yes = False) -> None:
    """Declare a node gone for good, so that its `stay` instances may be replaced.

    hansa node lost node-c
    hansa node lost node-c --yes

    Say so only if it will never come back: its disks are given up.
    """
    session.changing()
    session.sure(f"Is {node} gone for good, with all its disks?", is_yes=yes)
    session.client.lose(node)
    session.screen.step("lost", node)


def audit(session: Session) -> None:
    """Compare what is said to run with what runs.

    hansa audit
    hansa audit -o json

    Ends with 10 if there are findings.
    """
    findings = session.client.audit()
    if session.output != "table":
        show(session, [{"format": "hansa.audit/1", "items": list(findings)}])
    elif findings:
        names = list(dict.fromkeys(name for each in findings for name in each))
        rows = [[_text(each.get(name)) for name in names] for each in findings]
        heads = [Head(name.upper()) for name in names]
        session.screen.result(render(heads, rows, width=session.screen.width))
    else:
        session.screen.result(["clean: what is said to run runs, and nothing else"])
    if findings:
        raise typer.Exit(_FINDINGS)


def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
) -> None:
    """Write the region's state into one file.

    hansa backup region.backup
    hansa backup /mnt/backup/region-1.backup -q

    The file holds secrets, and is its owner's alone.
    """
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CliError("exists", f"{file} is there already", fix="name another file") from None
    with os.fdopen(fd, "wb") as target:
        try:
            size = session.client.backup(target)
            target.flush()
            os.fsync(target.fileno())
        except BaseException:
            file.unlink()
            raise
    session.screen.step("backup", f"{measured(size)} in {file}")


def run_region(_: Session) -> None:
    """Run the region of HANSA_HOME until it is told to stop.

    hansa region run
    HANSA_HOME=/srv/hansa hansa region run
    """
    local.run_region()


def run_node(_: Session) -> None:
    """Run the agent of HANSA_HOME until it is told to stop.

    hansa node run
    HANSA_HOME=/srv/hansa/node hansa node run
    """
    local.run_node()


def _text(value: object) -> str:
    return "" if value is None else str(value)
