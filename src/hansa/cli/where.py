"""Where a command lands: flag, then environment, then context, then default; and why."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from hansa.cli.failure import CliError

DEFAULTS: Final = {"tenant": "main", "workspace": "default"}


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place, by name; a token itself never stands here."""

    name: str
    endpoint: str
    ca: str = ""
    tenant: str = ""
    workspace: str = ""
    token_file: str = ""
    token_command: str = ""
    protected: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file of contexts."""

    contexts: tuple[Context, ...] = ()
    current: str = ""
    hints: bool = True

    def named(self, name: str) -> Context:
        """Return a context.  Raises CliError that lists what there is."""
        for context in self.contexts:
            if context.name == name:
                return context
        known = ", ".join(context.name for context in self.contexts) or "none; make one: hansa up"
        raise CliError("usage", f'there is no context "{name}"', fix=f"contexts: {known}")

    def having(self, context: Context) -> "Config":
        """Return it with a context added or renewed; it is current only if none was."""
        others = tuple(each for each in self.contexts if each.name != context.name)
        return replace(self, contexts=(*others, context), current=self.current or context.name)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force; `sources` says where each part came from."""

    context: Context
    endpoint: str
    tenant: str
    workspace: str
    sources: Mapping[str, str]

    @property
    def is_own_endpoint(self) -> bool:
        """Whether it is the context's endpoint: another must not see its token."""
        return bool(self.endpoint) and self.endpoint == self.context.endpoint


def resolve(flags: Mapping[str, str], env: Mapping[str, str], config: Config) -> Place:
    """Return what is in force.  Pure."""
    said: dict[str, str] = {}
    sources: dict[str, str] = {}

    def pick(part: str, otherwise: Mapping[str, str]) -> None:
        variable = f"HANSA_{part.upper()}"
        candidates = {f"--{part}": flags.get(part, ""), variable: env.get(variable, "")}
        for source, value in {**candidates, **otherwise}.items():
            if value:
                said[part], sources[part] = value, source
                return
        said[part], sources[part] = "", "nowhere"

    pick("context", {"current of the config": config.current})
    name = said["context"]
    context = config.named(name) if name else Context(name="", endpoint="")
    for part in ("endpoint", "tenant", "workspace"):
        default = DEFAULTS.get(part, "")
        pick(part, {f"context {name}": getattr(context, part), "default": default})
    return Place(
        context=context,
        endpoint=said["endpoint"],
        tenant=said["tenant"],
        workspace=said["workspace"],
        sources=sources,
    )


def token_of(place: Place, env: Mapping[str, str]) -> tuple[str, str]:
    """Return the token, and where it came from; a context's goes to no other endpoint."""
    if env.get("HANSA_TOKEN"):
        return env["HANSA_TOKEN"].strip(), "HANSA_TOKEN"
    if env.get("HANSA_TOKEN_FILE"):
        return _read(env["HANSA_TOKEN_FILE"], "HANSA_TOKEN_FILE"), "HANSA_TOKEN_FILE"
    context = place.context
    if not place.is_own_endpoint:
        return "", "nowhere"
    if context.token_file:
        return _read(context.token_file, f"context {context.name}"), context.token_file
    if context.token_command:
        return _asked(context.token_command), context.token_command
    return "", "nowhere"


def config_path(env: Mapping[str, str]) -> Path:
    """Return where the contexts are."""
    if said := env.get("HANSA_CONFIG"):
        return Path(said)
    return Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "hansa/config.yaml"


def read_config(path: Path) -> Config:
    """Return the contexts; none if there is no file."""
    import yaml  # noqa: PLC0415 - slow, and seldom needed

    try:
        return msgspec.convert(yaml.safe_load(path.read_text()) or {}, Config)
    except FileNotFoundError:
        return Config()
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise CliError("settings", f"the config cannot be read: {error}", where=str(path)) from None


def write_config(path: Path, config: Config) -> None:
    """Write the contexts, whole or not at all, for their owner alone."""
    import yaml  # noqa: PLC0415 - slow, and seldom needed

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    text = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False, allow_unicode=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _read(path: str, whose: str) -> str:
    try:
        return Path(path).expanduser().read_text().strip()
    except OSError as error:
        why = f"{error.strerror}: {path}"
        raise CliError("settings", "the token cannot be read", where=whose, why=why) from None


def _asked(command: str) -> str:
    done = subprocess.run(  # noqa: S602 - its owner's own command, from a file that is theirs alone
        command, shell=True, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode or not done.stdout.strip():
        why = f"it ended with {done.returncode}"
        raise CliError("settings", "the token command told no token", where=command, why=why)
    return done.stdout.strip()
