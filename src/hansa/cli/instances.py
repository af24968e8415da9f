"""Verbs of instances: start, restart, stop, console, logs."""

import time
from typing import Annotated

import typer

from hansa.cli import book, local
from hansa.cli.changing import NoWait, Timeout
from hansa.cli.columns import at
from hansa.cli.failure import CliError
from hansa.cli.grammar import Target, key_in, key_of, kinds_of, natural, short_name
from hansa.cli.listing import Asked, collect
from hansa.cli.objects import Labels, State
from hansa.cli.session import Session
from hansa.cli.waiting import Goal, Wish, deadline_after, wait_for
from hansa.client.errors import ApiError

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="NAME, instance/NAME or all.")
]
Name = Annotated[str, typer.Argument(metavar="NAME")]
_POLL_S, _ANCHOR = 1.0, 400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (start, restart, stop, console, logs):
        book.add(app, function, panel=book.INSTANCES)


def start(
    session: Session,
    names: Names = None,
    *,
    labels: Labels = "",
    state: State = "",
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Turn instances on.

    hansa start web
    hansa start all -l env=test
    """
    _act(session, "start", names, Asked(labels, state), "" if no_wait else timeout)


def restart(
    session: Session,
    names: Names = None,
    *,
    labels: Labels = "",
    state: State = "",
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Turn instances off and on again.

    hansa restart web
    hansa restart web db --no-wait
    """
    _act(session, "restart", names, Asked(labels, state), "" if no_wait else timeout)


def stop(
    session: Session,
    names: Names = None,
    *,
    labels: Labels = "",
    state: State = "",
    no_wait: NoWait = False,
    timeout: Timeout = "5m",
) -> None:
    """Turn instances off, cleanly.

    hansa stop web
    hansa stop all -l env=test --no-wait
    """
    _act(session, "stop", names, Asked(labels, state), "" if no_wait else timeout)


def instance_key(session: Session, name: str) -> str:
    """Return the key of NAME or instance/NAME."""
    kind, _, bare = name.rpartition("/")
    if kind and "instance" not in kinds_of(kind):
        raise CliError("usage", f"{name} is no instance", fix=f"say instance/{bare}")
    return key_in("instance", bare, session.home)


def _act(session: Session, verb: str, names: list[str] | None, asked: Asked, timeout: str) -> None:
    session.changing()
    if not names and not (asked.labels or asked.state):
        raise CliError("usage", f"{verb} what?", fix=f"hansa {verb} NAME, or: all, or -l EXPR")
    if not names or names == ["all"]:
        found = collect(session, [Target(("instance",), "")], asked)
        keys = sorted(map(key_of, found), key=natural)
    else:
        keys = [instance_key(session, name) for name in names]
    goal: Goal = "off" if verb == "stop" else "on"
    deadline = deadline_after(timeout or "0s")
    for key in keys:
        try:
            session.client.act("instance", key, verb)
        except ApiError as error:
            if error.code != f"already-{goal}" or verb == "restart":
                raise
            session.screen.step(f"is {goal}", short_name("instance", key), "dim")
    for key in keys:
        if timeout:
            wait_for(session, [Wish("instance", key, goal)], deadline)
            node = at(session.client.get("instance", key), "status.node")
            on_node = f" on {node}" if node and goal == "on" else ""
            session.screen.step(goal, f"{short_name('instance', key)}{on_node}")
        else:
            session.screen.result([short_name("instance", key)])


def console(session: Session, name: Name) -> None:
    """Attach to the serial console; leave with Ctrl-a q.

    hansa console web
    hansa console instance/web -w dev

    Works on the node that runs the guest; elsewhere, hansa logs prints what it said.
    """
    from hansa.cli.console import attach  # noqa: PLC0415 - termios is slow, and not everywhere

    key = instance_key(session, name)
    session.client.get("instance", key)
    path = local.console_path(key)
    session.screen.hint(f"console of {name}; leave with Ctrl-a q")
    attach(path)


def logs(
    session: Session,
    name: Name,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[int, typer.Option(metavar="BYTES", help="Only the end of it.")] = 0,
) -> None:
    """Print the serial log; -f follows.

    hansa logs web
    hansa logs -f web --tail 2000
    """
    key = instance_key(session, name)
    text = session.client.log(key, tail_bytes=tail)
    typer.echo(text, nl=not text.endswith("\n"))
    while follow:
        time.sleep(_POLL_S)
        now = session.client.log(key)
        typer.echo(new_part(text, now), nl=False)
        text = now


def new_part(before: str, now: str) -> str:
    """Return what a log has more than when it was read before; all of it, if it began anew."""
    anchor = before[-_ANCHOR:]
    at = now.rfind(anchor)
    return now[at + len(anchor) :] if anchor and at >= 0 else now
