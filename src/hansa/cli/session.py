"""What every command takes: where it lands, what it prints, and the client, made when needed."""

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, Literal, ParamSpec

import typer

from hansa.cli import where
from hansa.cli.failure import CliError
from hansa.cli.grammar import Home
from hansa.cli.screen import Screen

if TYPE_CHECKING:
    from hansa.client.client import Client

P = ParamSpec("P")
Output = Literal["table", "json", "yaml", "name"]
_OUTPUTS: Final = ("table", "json", "yaml", "name")
_PANEL: Final = "Where, and what is printed"


def _text(flags: tuple[str, ...], text: str, metavar: str) -> Any:  # noqa: ANN401 - to typer, a type
    option = typer.Option(*flags, help=text, metavar=metavar, rich_help_panel=_PANEL)
    return Annotated[str, option]


def _flag(flags: tuple[str, ...], text: str) -> Any:  # noqa: ANN401 - to typer, a type
    return Annotated[bool, typer.Option(*flags, help=text, rich_help_panel=_PANEL)]


SHARED: Final[dict[str, tuple[Any, Any]]] = {
    "context": (_text(("--context", "-c"), "Context to use.", "NAME"), ""),
    "endpoint": (_text(("--endpoint",), "URL of a region, instead of the context's.", "URL"), ""),
    "tenant": (_text(("--tenant", "-t"), "Tenant.", "NAME"), ""),
    "workspace": (_text(("--workspace", "-w"), "Workspace.", "NAME"), ""),
    "output": (_text(("--output", "-o"), "table, json, yaml or name.", "FORM"), ""),
    "quiet": (_flag(("--quiet", "-q"), "Print results and errors only."), False),
    "verbose": (_flag(("--verbose", "-v"), "Print each request."), False),
    "no_color": (_flag(("--no-color",), "Print no colour."), False),
    "confirm": (_text(("--confirm",), "Name of a protected context, to change it.", "NAME"), ""),
}


class Session:
    """One command's surroundings."""

    def __init__(self, flags: Mapping[str, Any], env: Mapping[str, str]) -> None:
        """Keep the flags; read nothing yet."""
        self.flags, self.env = flags, env
        self.screen = Screen(
            is_quiet=bool(flags.get("quiet")),
            is_verbose=bool(flags.get("verbose")),
            has_colour=not flags.get("no_color"),
        )
        self._client: Client | None = None

    @property
    def output(self) -> str:
        """Return the form that results are printed in."""
        said = str(self.flags.get("output") or self.env.get("HANSA_OUTPUT") or "table")
        if said not in _OUTPUTS:
            raise CliError("usage", f'"{said}" is no form', fix=f"-o {'|'.join(_OUTPUTS)}")
        return said

    @cached_property
    def place(self) -> where.Place:
        """Return where the command lands."""
        config = where.read_config(where.config_path(self.env))
        said = {key: str(said) for key, said in self.flags.items() if isinstance(said, str)}
        return where.resolve(said, self.env, config)

    @property
    def home(self) -> Home:
        """Return where names are looked for."""
        return Home(self.place.tenant, self.place.workspace)

    @property
    def client(self) -> "Client":
        """Return the client of the region in force."""
        if self._client is None:
            from hansa.client.client import Client  # noqa: PLC0415 - slow, and often not needed

            place = self.place
            if not place.endpoint:
                raise CliError(
                    "usage",
                    "no region is named",
                    fix="start one: hansa up · or: --endpoint URL, or hansa use CONTEXT",
                )
            token, _ = where.token_of(place, self.env)
            ca = place.context.ca if place.is_own_endpoint else ""
            trace = self.screen.trace if self.screen.is_verbose else None
            self._client = Client(place.endpoint, token, ca=ca or None, trace=trace)
        return self._client

    def changing(self) -> None:
        """Let a change of a protected context pass only if its name is said."""
        context = self.place.context
        if not context.protected or self.flags.get("confirm") == context.name:
            return
        question = f'Context "{context.name}" is protected. Its name, to go on:'
        if self.screen.ask(question, f"--confirm {context.name}") != context.name:
            raise CliError(
                "confirmation-missing", "that is not its name", fix="nothing was changed"
            )

    def sure(self, question: str, *, is_yes: bool) -> None:
        """Ask before data goes; without a terminal it takes --yes."""
        if is_yes:
            return
        if self.screen.ask(f"{question} [y/N]", "say --yes").lower() not in ("y", "yes"):
            raise CliError("confirmation-missing", "nothing was changed", fix="say y, or --yes")

    def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            self._client.close()


def command(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Return a typer command: its own options, and the shared ones, which make its session."""
    own = [*signature(function).parameters.values()][1:]

    def run(**said: Any) -> None:  # noqa: ANN401 - options of many types
        ctx: typer.Context = said.pop("ctx")
        flags = dict(ctx.obj or {})
        flags |= {name: value for name in SHARED if (value := said.pop(name))}
        session = Session(flags, os.environ)
        try:
            function(session, **said)  # type: ignore[call-arg]  # typer passes all by name
        except KeyboardInterrupt:
            session.screen.error("Stopped waiting; what was asked for goes on.")
            raise
        finally:
            session.close()

    run.__name__ = function.__name__
    return _taking(run, own)


def shared_options() -> Callable[..., None]:
    """Return what takes the shared options where they stand before the command."""

    def take(**said: Any) -> None:  # noqa: ANN401 - options of many types
        ctx: typer.Context = said.pop("ctx")
        ctx.obj = {name: value for name, value in said.items() if value}
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    return _taking(take, [])


def _taking(run: Callable[..., None], own: list[Parameter]) -> Callable[..., None]:
    """Have typer see a function with these options, and the shared ones."""
    shared = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in SHARED.items()
    ]
    context = Parameter("ctx", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    named = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
    parameters = [*named, *shared, context]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
