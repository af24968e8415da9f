"""Verbs for any kind of object that only look: get, describe, explain, watch."""

import json
import time
from typing import Annotated

import typer

from hansa.cli import book
from hansa.cli.columns import Document, at
from hansa.cli.describing import describe_lines, explain_lines
from hansa.cli.failure import CliError
from hansa.cli.grammar import ORDER, Target, key_in, key_of, parse, short_name
from hansa.cli.listing import Asked, Look, collect, facts_of, table
from hansa.cli.printing import kind_of, show
from hansa.cli.session import Session
from hansa.client.errors import ApiError

Words = Annotated[
    list[str], typer.Argument(metavar="KIND [NAME]...", help="KIND, KIND NAME..., KIND/NAME, all.")
]
Labels = Annotated[
    str, typer.Option("--labels", "-l", metavar="EXPR", help="Filter, as env=prod,tier!=db.")
]
State = Annotated[str, typer.Option("--state", metavar="STATE", help="Only those in this state.")]
_POLL_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (get, describe, explain, watch):
        book.add(app, function, panel=book.OBJECTS)


def get(
    session: Session,
    words: Words,
    *,
    labels: Labels = "",
    state: State = "",
    everywhere: Annotated[
        bool, typer.Option("--all-workspaces", "-A", help="Of all workspaces.")
    ] = False,
    columns: Annotated[str, typer.Option(metavar="a,b|+x|all", help="Columns to show.")] = "",
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Column to sort by.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Rows only.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="And follow changes.")] = False,
) -> None:
    """List objects, or show some by name.

    hansa get instances -l env=prod
    hansa get i web -o yaml
    """
    targets = parse(words)
    if follow:
        _follow(session, targets)
        return
    found = collect(session, targets, Asked(labels, state, everywhere))
    if session.output != "table":
        show(session, found, is_list=len(found) != 1 or not targets[0].name)
        return
    if not found:
        _say_empty(session, words)
    look = Look(columns, sort, has_heads=not no_headers)
    session.screen.result(table(session, found, look, wide=everywhere))


def _say_empty(session: Session, words: list[str]) -> None:
    make = " Make one: hansa run tiny" if words[0] in ("i", "instance", "instances") else ""
    what = "Nothing" if words[0] == "all" else f"No {words[0]}"
    session.screen.hint(f"{what} in workspace {session.home.workspace}.{make}")


def describe(session: Session, words: Words, *, labels: Labels = "", state: State = "") -> None:
    """Show one object with its parts and conditions.

    hansa describe instance web
    hansa describe disk/web-boot
    """
    found = collect(session, parse(words), Asked(labels, state))
    if session.output != "table":
        show(session, found, is_list=len(found) != 1)
        return
    facts = facts_of(session)
    for number, each in enumerate(found):
        session.screen.result(([""] if number else []) + describe_lines(each, facts))


def explain(
    session: Session,
    words: Words,
    *,
    node: Annotated[str, typer.Option(metavar="NODE", help="Why not there?")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Each candidate once.")] = False,
) -> None:
    """Say why it runs where it runs, or why it does not.

    hansa explain instance web
    hansa explain web --node node-b
    """
    names = [words[0]] if len(words) == 1 and "/" not in words[0] else []
    targets = (Target(("instance",), names[0]),) if names else parse(words)
    for target in targets:
        if "instance" not in target.kinds or not target.name:
            raise CliError("usage", "only instances are placed", fix="hansa explain instance NAME")
        said = session.client.explain(key_in("instance", target.name, session.home))
        if session.output == "table":
            session.screen.result(explain_lines(target.name, said, node, everything=everything))
        else:
            show(session, [said])


def watch(session: Session, words: Words) -> None:
    """Follow changes as they happen.

        hansa watch instances
        hansa watch all -o json

    A line a change; -o json prints NDJSON.  Ends with Ctrl-C.
    """
    _follow(session, parse(words))


def _follow(session: Session, targets: tuple[Target, ...]) -> None:
    """Print what is there, then each change; a watch that breaks off goes on where it was."""
    kinds = tuple(dict.fromkeys(kind for target in targets for kind in target.kinds))
    outside = [kind for kind in kinds if kind not in ORDER]
    if outside:
        raise CliError("usage", f"{outside[0]} cannot be watched", fix=f"kinds: {', '.join(ORDER)}")
    names = {target.name for target in targets if target.name}
    tenant, workspace = session.home
    space = "" if kinds == ("image",) else workspace
    since = ""
    while True:
        try:
            for line in session.client.watch(tenant, since=since, kinds=kinds, workspace=space):
                if not since:
                    _first(session, targets)
                since = str(line.get("revision") or since)
                if "change" in line and (not names or _name_of(line) in names):
                    session.screen.result([_told(line, as_json=session.output == "json")])
        except ApiError as error:
            if error.code != "revision-trimmed":
                raise
            session.screen.warn("changes were missed: the region's log begins later")
            since = ""
        time.sleep(_POLL_S)


def _first(session: Session, targets: tuple[Target, ...]) -> None:
    """Print the state from which the changes go on."""
    found = collect(session, targets, Asked())
    if session.output == "json":
        lines = [
            json.dumps(
                {"change": "there", "kind": kind_of(each), "key": key_of(each), "object": each}
            )
            for each in found
        ]
        session.screen.result(lines)
    else:
        session.screen.result(table(session, found, Look(), wide=False))


def _name_of(line: Document) -> str:
    return str(line.get("key", "")).rpartition("/")[2]


def _told(line: Document, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(line)
    now = time.strftime("%H:%M:%S")
    name = short_name(str(line["kind"]), str(line["key"]))
    if line["change"] == "delete":
        return f"{now}  {name}  gone"
    told = [
        at(line, f"object.status.{member}") for member in ("state", "powerState", "node", "code")
    ]
    return f"{now}  {name}  {' '.join(str(each) for each in told if each)}".rstrip()
