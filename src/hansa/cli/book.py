"""The book of commands: each is a function, whose docstring is its help."""

import inspect
from collections.abc import Callable
from typing import Final

import typer

from hansa.cli.session import SHARED, command

Function = Callable[..., None]
START: Final = "Start here"
OBJECTS: Final = "Any kind of object"
INSTANCES: Final = "Instances"
REGION: Final = "Run a region"
_NAMES: Final = {"help_option_names": ["-h", "--help"]}


def group() -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings=_NAMES,
    )


def add(
    app: typer.Typer, function: Function, *, panel: str = "", name: str = "", hidden: bool = False
) -> None:
    """Add a command; its docstring is a summary, a paragraph of examples, and the rest."""
    summary, text = _help(inspect.getdoc(function) or "")
    register = app.command(
        name or function.__name__.rstrip("_"),
        help=text,
        short_help=summary,
        rich_help_panel=panel or None,
        context_settings=_NAMES,
        no_args_is_help=False,
        hidden=hidden,
    )
    register(command(function))


def _help(doc: str) -> tuple[str, str]:
    """Return the summary, and the whole help: examples first."""
    summary, examples, *others = doc.split("\n\n")
    lines = [line.strip() for line in examples.splitlines()]
    shown = "\n".join(["```", *lines, "```"])
    return summary, "\n\n".join(part for part in (shown, summary, *others))


def add_group(app: typer.Typer, inner: typer.Typer, name: str, text: str, panel: str) -> None:
    """Add a group of commands."""
    app.add_typer(inner, name=name, help=text, rich_help_panel=panel or None, hidden=not panel)


def overview(app: typer.Typer) -> str:
    """Return what `hansa --help` prints: without rich, which is slow to import."""
    groups: dict[str, list[tuple[str, str]]] = {
        panel: [] for panel in (START, OBJECTS, INSTANCES, REGION)
    }
    for each in app.registered_commands:
        if isinstance(each.rich_help_panel, str) and not each.hidden:
            groups[each.rich_help_panel].append((each.name or "", each.short_help or ""))
    for inner in app.registered_groups:
        if isinstance(inner.rich_help_panel, str) and isinstance(inner.help, str):
            groups[inner.rich_help_panel].append((inner.name or "", inner.help))
    lines = ["usage: hansa COMMAND, and hansa COMMAND --help", ""]
    for panel, commands in groups.items():
        lines += [panel, *(f"  {name:<10} {text.rstrip('.')}" for name, text in commands)]
    lines += ["", "Everywhere"]
    for kind, _ in SHARED.values():
        option = kind.__metadata__[0]
        flags = ", ".join((option.default, *option.param_decls))
        lines.append(f"  {flags:<20} {option.help.rstrip('.')}")
    lines.append(f"  {'--version':<20} Print the version")
    lines.append(f"  {'--install-completion':<20} Complete commands in this shell")
    return "\n".join(lines)
