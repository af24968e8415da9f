"""`hansa`: its commands put together, and how each of them ends."""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import typer
from typer.exceptions import TyperException

from hansa.cli import book, changing, images, instances, objects, operating, start
from hansa.cli.failure import CliError, Failure, as_json, as_text, failure_of
from hansa.cli.session import shared_options
from hansa.errors import HansaError

_DEFECT, _INTERRUPTED, _USAGE = 70, 130, 2
_FAILED: Final = 1


def main() -> None:
    """Run the command line, and end with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    app = make_app()
    if list(argv) in ([], ["-h"], ["--help"]):
        print(book.overview(app))
        return 0
    if list(argv) == ["--version"]:
        print(f"hansa {version('hansa')}")
        return 0
    try:
        code = app(args=list(argv), prog_name="hansa", standalone_mode=False)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where an error becomes lines
        failure = _failure(error, argv)
        text = as_json(failure) if is_json(argv, os.environ) else as_text(failure)
        print(text, file=sys.stderr, flush=True)
        return failure.exit
    return code if isinstance(code, int) else 0


def _failure(error: Exception, argv: Sequence[str]) -> Failure:
    match error:
        case HansaError():
            return failure_of(error)
        case TyperException():
            return _usage(error, argv)
        case OSError():
            message = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
            return Failure(code="system", exit=_FAILED, message=message)
        case _:
            return _defect(error)


def make_app() -> typer.Typer:
    """Return all commands."""
    app = book.group()
    app.callback(invoke_without_command=True)(shared_options())
    for part in (start, objects, changing, instances, images, operating):
        part.register(app)
    return app


def is_json(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Tell whether errors are to be JSON: also those of a line that cannot be parsed."""
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    said = [
        after if word in ("-o", "--output") else word.removeprefix("--output=").removeprefix("-o")
        for word, after in pairs
        if word.startswith(("-o", "--output"))
    ]
    return (said[-1] if said else env.get("HANSA_OUTPUT", "")) == "json"


def _usage(error: TyperException, argv: Sequence[str]) -> Failure:
    words = [word for word in argv if not word.startswith("-")][:1]
    message = error.format_message()
    known = [] if message.startswith("No such command") else words
    fix = f"hansa {' '.join([*known, '--help'])}"
    return failure_of(CliError("usage", message[:1].lower() + message[1:].rstrip("."), fix=fix))


def _defect(error: Exception) -> Failure:
    """Keep the report of a defect in a file: no values of variables, which may be secrets."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    path = Path(state) / f"hansa/defect-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(traceback.format_exception(error)))
    return Failure(
        code="defect",
        exit=_DEFECT,
        message=f"a defect of hansa: {type(error).__name__}",
        where=str(path),
        fix="send that file to who maintains hansa; it holds no secrets of a config",
    )
