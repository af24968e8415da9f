"""What is printed, and where: results on stdout, all else on stderr; a pipe gets no colour."""

import os
import shutil
import sys
import time
from collections.abc import Iterable
from typing import Final, TextIO

from hansa.cli.failure import CliError
from hansa.cli.table import tell

_COLOURS: Final = {"good": "36", "wait": "33", "bad": "1;31", "dim": "2"}
_SIGNS: Final = {
    "good": ("✓", "ok"),
    "wait": ("◐", ".."),
    "bad": ("✗", "!!"),
    "dim": ("○", "-"),
    "unknown": ("?", "?"),
}
_BETWEEN_S: Final = 60
"""In a pipe, at most one line of progress in this time."""


class Screen:
    """Standard output and error, as the flags want them."""

    def __init__(self, *, is_quiet: bool, is_verbose: bool, has_colour: bool) -> None:
        """Look what the streams are."""
        self.is_quiet, self.is_verbose = is_quiet, is_verbose
        self.is_terminal = sys.stdout.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._has_colour = has_colour and not plain
        self._told_s = time.monotonic()
        self._live = False

    @property
    def width(self) -> int | None:
        """Return how many cells a line has; None is a pipe, and no limit."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def result(self, lines: Iterable[str]) -> None:
        """Print what was asked for."""
        self.end_live()
        for line in lines:
            print(line)
        sys.stdout.flush()

    def step(self, name: str, result: str, sign: str = "good") -> None:
        """Print a step that is done."""
        self._note(f"{self._sign(sign)} {name:<8} {tell(result)}")

    def hint(self, text: str) -> None:
        """Print what may be of use."""
        self._note(text)

    def warn(self, text: str) -> None:
        """Print what was not expected."""
        self._note(f"{self._sign('unknown')} {text}")

    def trace(self, text: str) -> None:
        """Print a request, if that is asked for."""
        if self.is_verbose:
            self.end_live()
            print(tell(text), file=sys.stderr)

    def progress(self, name: str, done: int, total: int) -> None:
        """Show how far a step is: a live line on a terminal, one a minute in a pipe."""
        if self.is_quiet:
            return
        text = f"{name:<8} {done >> 20} of {total >> 20} MiB  {100 * done // max(1, total)} %"
        if sys.stderr.isatty():
            print(f"\r{self._sign('wait')} {text}\033[K", end="", file=sys.stderr, flush=True)
            self._live = True
        elif time.monotonic() - self._told_s >= _BETWEEN_S:
            self._told_s = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        """Print an error: nothing keeps it back."""
        self.end_live()
        print(text, file=sys.stderr, flush=True)

    def ask(self, question: str, otherwise: str) -> str:
        """Return what a person answers.  Without a terminal nobody can: exit 2."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            message = "this is asked first, and there is no terminal to ask on"
            raise CliError("confirmation-missing", message, why=question, fix=otherwise)
        self.end_live()
        print(question, end=" ", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()

    def end_live(self) -> None:
        """Take a live line away, which the step's own line follows."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._live = False

    def paint(self, text: str, colour: str, stream: TextIO | None = None) -> str:
        """Return a text in a colour, where the stream has any."""
        if not self._has_colour or not (stream or sys.stdout).isatty() or colour not in _COLOURS:
            return text
        return f"\033[{_COLOURS[colour]}m{text}\033[0m"

    def _note(self, text: str) -> None:
        if not self.is_quiet:
            self.end_live()
            print(text, file=sys.stderr, flush=True)

    def _sign(self, sign: str) -> str:
        is_unicode = (sys.stderr.encoding or "").lower().replace("-", "") == "utf8"
        return self.paint(_SIGNS[sign][0 if is_unicode else 1], sign, sys.stderr)
