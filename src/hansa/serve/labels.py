"""SECA's label filter: terms with commas between, all of which must hold.  Pure."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Final

Labels = Mapping[str, str]
Filter = Callable[[Labels], bool]
_ORDERS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": lambda has, asked: has >= asked,
    "<=": lambda has, asked: has <= asked,
    ">": lambda has, asked: has > asked,
    "<": lambda has, asked: has < asked,
}


def parse(text: str) -> Filter:
    """Return the filter that an expression says.  Raises ValueError that names the bad term."""
    terms = [_term(term.strip()) for term in text.split(",")]
    return lambda labels: all(term(labels) for term in terms)


def _term(term: str) -> Filter:
    for sign in ("!=", ">=", "<=", "==", "=", ">", "<"):
        key, found, value = term.partition(sign)
        if found and key.strip():
            return _compare(key.strip(), sign, value.strip(), term)
    raise ValueError(f'"{term}" is no term like env=prod, tier!=db or cores>4')


def _compare(key: str, sign: str, value: str, term: str) -> Filter:
    if sign == "!=":
        return lambda labels: not _matches(labels, key, value) if key in labels else True
    if sign in ("=", "=="):
        return lambda labels: _matches(labels, key, value)
    order = _ORDERS[sign]
    try:
        asked = float(value)
    except ValueError:
        raise ValueError(f'"{term}" compares with a number, and {value} is none') from None
    return lambda labels: _is_ordered(labels.get(key), order, asked)


def _matches(labels: Labels, key: str, value: str) -> bool:
    if "*" not in key and "*" not in value:
        return labels.get(key) == value
    return any(
        fnmatchcase(k, _glob(key)) and fnmatchcase(v, _glob(value)) for k, v in labels.items()
    )


def _glob(text: str) -> str:
    """Return a pattern in which only the star is special."""
    return text.replace("[", "[[]").replace("?", "[?]")


def _is_ordered(has: str | None, order: Callable[[float, float], bool], asked: float) -> bool:
    try:
        return has is not None and order(float(has), asked)
    except ValueError:
        return False
