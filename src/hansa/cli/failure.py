"""Errors as people read them, in four lines, and as tools do: hansa.error/1.  Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from hansa.client.errors import ApiError, UnreachableError
from hansa.errors import HansaError
from hansa.model.refusal import CATALOGUE

OWN: Final[dict[str, int]] = {
    "usage": 2,
    "settings": 2,
    "confirmation-missing": 2,
    "document-invalid": 3,
    "exists": 3,
    "refused": 3,
    "file-not-found": 4,
    "unreachable": 8,
    "server-error": 8,
    "guest-silent": 9,
    "timeout": 9,
    "defect": 70,
}
"""Exit codes of what no region says: the rest is in model.refusal's catalogue."""
WORK_FAILED: Final = 1
CODE_COLUMN: Final = 84
_CURES: Final = {
    "token-missing": "hansa use shows the context and its token; or set HANSA_TOKEN_FILE",
    "token-invalid": "hansa use shows which token was sent; ask the region's operator for another",
    "token-expired": "ask the region's operator for another token",
    "not-allowed": "ask whoever administers the tenant for a role; hansa use shows who you are",
    "unreachable": "nothing is known to have changed; run it again · here: hansa up, hansa status",
    "stale-version": "get it anew, redo the change · or overwrite: --force",
    "busy": "run it again",
    "no-capacity": "hansa get sku · hansa get node · it starts by itself when room comes",
}


class CliError(HansaError):
    """What the command line itself says no with."""

    def __init__(
        self, code: str, message: str, *, where: str = "", why: str = "", fix: str = ""
    ) -> None:
        """Keep the four lines."""
        super().__init__(message)
        self.code, self.where, self.why, self.fix = code, where, why, fix


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`hansa.error/1`: a no, ready to be shown."""

    format: str = msgspec.field(default="hansa.error/1")
    code: str
    exit: int
    message: str
    where: str = ""
    why: tuple[str, ...] = ()
    fix: str = ""
    retry: bool = False


def exit_of(code: str) -> int:
    """Return the exit code that a code means."""
    entry = CATALOGUE.get(code)
    return entry.exit if entry else OWN.get(code, WORK_FAILED)


def failure_of(error: HansaError) -> Failure:
    """Return what is to be shown of an error."""
    where, why, fix = "", tuple[str, ...](), ""
    match error:
        case CliError():
            where, fix = error.where, error.fix
            why = tuple(error.why.splitlines())
        case ApiError():
            where, fix = _where(error), error.fix
            why = tuple(_why(error))
        case UnreachableError():
            where, why = error.endpoint, (error.why,)
        case _:
            pass
    return Failure(
        code=error.code,
        exit=exit_of(error.code),
        message=str(error),
        where=where,
        why=why,
        fix=fix or _CURES.get(error.code, ""),
        retry=error.retryable,
    )


def as_text(failure: Failure) -> str:
    """Return the lines that a person reads."""
    what = f"error: {' '.join(failure.message.split())}".ljust(CODE_COLUMN)
    lines = [f"{what}{'' if what.endswith(' ') else '  '}{failure.code} ({failure.exit})"]
    if failure.where:
        lines.append(f"  where  {failure.where}")
    for at, why in enumerate(failure.why):
        lines.append(f"  {'why  ' if at == 0 else '     '}  {why}")
    if failure.fix:
        lines.append(f"  fix    {failure.fix}")
    return "\n".join(lines)


def as_json(failure: Failure) -> str:
    """Return the one object that a tool reads."""
    said = msgspec.to_builtins(failure)
    return msgspec.json.encode({"format": failure.format, **said, "retry": failure.retry}).decode()


def field_of(pointer: str) -> str:
    """Return a JSON pointer as people write it: /spec/addresses/0 is spec.addresses[0]."""
    steps = [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]
    text = "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
    return text.removeprefix(".")


def _where(error: ApiError) -> str:
    path = str(error.problem.get("instance") or error.request.partition(" ")[2])
    said = re.sub(r"^.*?/v\d\w*/(tenants/[^/]+/)?(workspaces/[^/]+/)?", "", path)
    at = f"{error.place} " if error.place else ""
    field = field_of(error.pointer)
    return f"{at}{field}, {said}" if field else f"{at}{said}"


def _why(error: ApiError) -> Iterable[str]:
    facts = _told(error.facts)
    if facts:
        yield facts
    for reason in error.reasons:
        first = " ".join(str(reason[key]) for key in ("node", "rule") if key in reason)
        rest = {key: said for key, said in reason.items() if key not in ("node", "rule")}
        yield f"{first}  {' · '.join(str(each) for each in rest.values())}".strip()


def _told(facts: Mapping[str, Any]) -> str:
    return " · ".join(f"{name} {said}" for name, said in facts.items())
