"""SECA's label filter: terms with commas between, all of which must hold.  Pure."""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Final

Labels = Mapping[str, str]
Filter = Callable[[Labels], bool]
_ORDERS: Final[dict[str, Callable[[float, float], bool]]] = {">=": ge, "<=": le, ">": gt, "<": lt}
_SIGNS: Final = ("!=", "==", *_ORDERS, "=")


def parse(text: str) -> Filter:
    """Return the filter that an expression says.  Raises ValueError that names the bad term."""
    terms = [_term(term.strip()) for term in _terms(text)]
    return lambda labels: all(term(labels) for term in terms)


def _terms(text: str) -> Iterator[str]:
    """Yield the terms: a comma in brackets is part of one."""
    term = ""
    for part in text.split(","):
        term = f"{term},{part}" if term else part
        if term.count("(") <= term.count(")"):
            yield term
            term = ""
    if term:
        raise ValueError(f'"{term}" opens a bracket and does not close it')


def _term(term: str) -> Filter:
    for word, is_in in ((" notin ", False), (" in ", True)):
        key, found, listed = term.partition(word)
        if found:
            return _one_of(key.strip(), listed.strip(), term, is_in=is_in)
    begin = next((at for at, letter in enumerate(term) if letter in "!=<>" and at), None)
    if begin is None:
        return _exists(term)
    sign = next((sign for sign in _SIGNS if term.startswith(sign, begin)), "")
    key, value = term[:begin].strip(), term[begin + len(sign) :].strip()
    if not sign or not key or key.startswith("!"):
        raise _bad(term)
    if sign in _ORDERS:
        return _compare(key, _ORDERS[sign], value, term)
    if sign == "!=":  # Who lacks the label is different, too.
        return lambda labels: not _matches(labels, key, value)
    return lambda labels: _matches(labels, key, value)


def _bad(term: str) -> ValueError:
    return ValueError(f'"{term}" is no term like env=prod, tier!=db, cores>4 or env in (a,b)')


def _exists(term: str) -> Filter:
    key = term.removeprefix("!").strip()
    if not key or not set(key).isdisjoint("! ()"):
        raise _bad(term)
    if term.startswith("!"):
        return lambda labels: key not in labels
    return lambda labels: key in labels


def _one_of(key: str, listed: str, term: str, *, is_in: bool) -> Filter:
    if not key or not (listed.startswith("(") and listed.endswith(")")):
        raise _bad(term)
    values = {each.strip() for each in listed[1:-1].split(",")}
    return lambda labels: (labels.get(key) in values) is is_in


def _compare(key: str, order: Callable[[float, float], bool], value: str, term: str) -> Filter:
    try:
        asked = float(value)
    except ValueError:
        raise ValueError(f'"{term}" compares with a number, and "{value}" is none') from None
    return lambda labels: _is_ordered(labels.get(key), order, asked)


def _matches(labels: Labels, key: str, value: str) -> bool:
    if "*" not in key and "*" not in value:
        return labels.get(key) == value
    key, value = _glob(key), _glob(value)
    return any(fnmatchcase(k, key) and fnmatchcase(v, value) for k, v in labels.items())


def _glob(text: str) -> str:
    """Return a pattern in which only the star is special."""
    return text.replace("[", "[[]").replace("?", "[?]")


def _is_ordered(has: str | None, order: Callable[[float, float], bool], asked: float) -> bool:
    try:
        return has is not None and order(float(has), asked)
    except ValueError:
        return False
