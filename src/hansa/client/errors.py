"""What a server says no with, and what keeps us from hearing it."""

from collections.abc import Mapping
from typing import Any, Final

from hansa.errors import HansaError
from hansa.model.refusal import CATALOGUE

_BY_STATUS: Final = {
    400: "parameter-invalid",
    401: "token-invalid",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    410: "revision-trimmed",
    413: "body-too-big",
    429: "busy",
    502: "busy",
    503: "busy",
    504: "busy",
    507: "store-full",
}
_SERVER_ERROR: Final = 500


class UnreachableError(HansaError):
    """No answer came: nothing is known of what was asked."""

    code = "unreachable"
    retryable = True

    def __init__(self, endpoint: str, why: str) -> None:
        """Keep who does not answer."""
        super().__init__(f"{endpoint} does not answer")
        self.endpoint, self.why = endpoint, why


class ApiError(HansaError):
    """A server refused; `code` is stable, and in model.refusal's catalogue if the server is ours.

    Of another server only the status is known: its code is the nearest one, or `refused`.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], request: str) -> None:
        """Keep what it said: `problem` is the whole body, `request` what was asked."""
        meta = _mapping(problem.get("meta"))
        self.status, self.problem, self.request = status, problem, request
        self.code = str(meta.get("code") or "") or _code_of(status)
        entry = CATALOGUE.get(self.code)
        self.retryable = bool(meta.get("retry", entry.retry if entry else False))
        self.place = ""
        """A file and a line of it, where who asked knows them."""
        title = problem.get("title") or (entry.title if entry else f"it answers {status}")
        super().__init__(str(problem.get("detail") or title))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what it named."""
        return _mapping(_mapping(self.problem.get("meta")).get("facts"))

    @property
    def reasons(self) -> tuple[Mapping[str, Any], ...]:
        """Return each rule that refused."""
        said = _mapping(self.problem.get("meta")).get("reasons")
        return tuple(_mapping(each) for each in said) if isinstance(said, list) else ()

    @property
    def fix(self) -> str:
        """Return the line that cures it, or ""."""
        return str(_mapping(self.problem.get("meta")).get("fix") or "")

    @property
    def pointer(self) -> str:
        """Return the member of the request that is to blame, as a JSON pointer, or ""."""
        said = self.problem.get("sources")
        sources = [_mapping(each) for each in said] if isinstance(said, list) else []
        return next((str(each["pointer"]) for each in sources if each.get("pointer")), "")


def _code_of(status: int) -> str:
    return _BY_STATUS.get(status) or ("server-error" if status >= _SERVER_ERROR else "refused")


def _mapping(said: object) -> Mapping[str, Any]:
    """Return an object of JSON, or an empty one: what a stranger sends may be anything."""
    return said if isinstance(said, dict) else {}
