"""Verbs for any kind of object that change it, or wait for it: apply, delete, wait."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli import book
from hansa.cli.failure import CliError
from hansa.cli.grammar import ORDER, SKUS, key_of, parse, short_name
from hansa.cli.listing import Asked, collect
from hansa.cli.objects import Labels, State, Words
from hansa.cli.printing import kind_of, show
from hansa.cli.session import Session
from hansa.cli.waiting import Goal, Wish, deadline_after, wait_for
from hansa.client.errors import ApiError
from hansa.model.registry import BY_KIND

if TYPE_CHECKING:
    from hansa.cli.documents import Wanted

Timeout = Annotated[str, typer.Option(metavar="TIME", help="How long to wait, as 90s or 5m.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask, and do not wait.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_SUFFIXES = {".yaml", ".yml", ".json", ".ndjson"}
_HOLDS = frozenset({"block-storage", "image", "workspace", "network"})
"""What is asked about before it is deleted: data, or what others live in."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (apply, delete, wait):
        book.add(app, function, panel=book.OBJECTS)


def apply(
    session: Session,
    *,
    files: Annotated[list[str], typer.Option("-f", "--file", metavar="FILE|DIR|-")],
    start: Annotated[bool, typer.Option("--start", help="Turn new instances on.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite newer versions.")] = False,
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Create or change objects from files.

    hansa apply -f shop.yaml
    hansa get i web -o yaml | hansa apply -f - --start

    YAML with many documents, JSON, NDJSON or a list; written in order of reference.
    What is already so is left alone, and repeating is harmless.
    """
    session.changing()
    wanted = _read_all(session, files)
    deadline = deadline_after(timeout)
    made = _write_all(session, wanted, is_forced=force)
    if not no_wait:
        wait_for(session, [Wish(each.kind, each.key, "active") for each in wanted], deadline)
    for each in made if start else ():
        if each.kind == "instance":
            session.client.act("instance", each.key, "start")
            session.screen.step("start", short_name("instance", each.key))
    if session.output != "table":
        show(session, [session.client.get(each.kind, each.key) for each in wanted], is_list=True)


def _write_all(session: Session, wanted: list["Wanted"], *, is_forced: bool) -> list["Wanted"]:
    """Write objects in their order; return those that were not there."""
    made = []
    for done, each in enumerate(wanted):
        try:
            change = _write(session, each, is_forced=is_forced)
        except ApiError as error:
            if done:
                session.screen.warn(f"{done} of {len(wanted)} done before that; repeat it")
            error.place = each.place(error.pointer)
            raise
        session.screen.step(change, short_name(each.kind, each.key), _SIGNS[change])
        if change == "new":
            made.append(each)
    return made


_SIGNS = {"new": "good", "changed": "good", "same": "dim"}


def _write(session: Session, wanted: "Wanted", *, is_forced: bool) -> str:
    """Write one object; return `new`, `changed` or `same`."""
    from hansa.cli.documents import is_same  # noqa: PLC0415 - YAML is slow

    there = session.client.find(wanted.kind, wanted.key)
    if there is not None and is_same(wanted.body, there):
        return "same"
    version = wanted.version if there is not None and not is_forced else None
    session.client.put(wanted.kind, wanted.key, wanted.body, version=version)
    return "new" if there is None else "changed"


def _read_all(session: Session, files: list[str]) -> list["Wanted"]:
    """Return what the files ask for, in order; nothing is written if one of them cannot be."""
    from hansa.cli.documents import in_order, read  # noqa: PLC0415 - YAML is slow

    is_said, wanted = "workspace" in session.flags, list["Wanted"]()
    for name in files:
        for file, text in _texts(name):
            wanted += read(text, file, session.home, is_workspace_said=is_said)
    for each in wanted:
        if not BY_KIND[each.kind].type.writable:
            message = f"a {each.kind} is written by its provider"
            raise CliError("not-writable", message, where=each.place())
    return in_order(wanted)


def _texts(name: str) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "stdin", sys.stdin.read()
        return
    path = Path(name)
    try:
        found = [path]
        if path.is_dir():
            found = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
        for each in found:
            yield str(each), each.read_text()
    except OSError as error:
        why = error.strerror or str(error)
        raise CliError("file-not-found", f"{name} cannot be read", why=why) from None


def delete(
    session: Session,
    words: Words,
    *,
    labels: Labels = "",
    state: State = "",
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Delete objects.

    hansa delete instance web
    hansa delete all -l env=test --yes
    """
    session.changing()
    targets = parse(words)
    found = collect(session, targets, Asked(labels, state))
    found = [each for each in found if kind_of(each) not in SKUS]
    if not found:
        session.screen.hint("Nothing to delete.")
        return
    names = [short_name(kind_of(each), key_of(each)) for each in found]
    place = f"{session.place.context.name or session.place.endpoint}, {session.home.workspace}"
    if len(found) > 1 or kind_of(found[0]) in _HOLDS:
        session.sure(f"Delete {', '.join(names)} ({place})?", is_yes=yes)
    remove(session, [(kind_of(each), key_of(each)) for each in found], timeout, no_wait=no_wait)


def remove(
    session: Session, objects: list[tuple[str, str]], timeout: str, *, no_wait: bool = False
) -> None:
    """Delete objects, what refers before what is referred to, and wait until they are gone."""
    deadline = deadline_after(timeout)
    rank = {kind: number for number, kind in enumerate(reversed(ORDER))}
    objects = sorted(objects, key=lambda each: rank.get(each[0], 0))
    for kinds in ({"instance"}, set(BY_KIND) - {"instance"}):
        some = [each for each in objects if each[0] in kinds]
        for kind, key in some:
            try:
                session.client.delete(kind, key)
            except ApiError as error:
                if error.code != "not-found":
                    raise
        if not no_wait:
            wait_for(session, [Wish(kind, key, "gone") for kind, key in some], deadline)
        for kind, key in some:
            session.screen.step("leaving" if no_wait else "gone", short_name(kind, key))


def wait(
    session: Session,
    words: Words,
    *,
    goal: Annotated[Goal, typer.Option("--for", help="What to wait for.")] = "active",
    labels: Labels = "",
    timeout: Timeout = "5m",
) -> None:
    """Wait until objects are active, on, off, answering or gone.

    hansa wait instance/web --for answering
    hansa wait all -l env=test --for gone --timeout 2m
    """
    deadline = deadline_after(timeout)
    try:
        found = collect(session, parse(words), Asked(labels))
    except ApiError as error:
        if error.code == "not-found" and goal == "gone":
            return
        raise
    if goal in ("on", "off", "answering"):
        found = [each for each in found if kind_of(each) == "instance"]
    wait_for(session, [Wish(kind_of(each), key_of(each), goal) for each in found], deadline)
    for each in found:
        session.screen.step(goal, short_name(kind_of(each), key_of(each)))
