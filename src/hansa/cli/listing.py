"""Lists: which objects a command is about, and their table."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from hansa.cli import columns
from hansa.cli.columns import Column, Document, Facts
from hansa.cli.failure import CliError
from hansa.cli.grammar import SKUS, Target, key_in, key_of, natural
from hansa.cli.session import Session
from hansa.cli.table import Head, render
from hansa.client.errors import ApiError
from hansa.model.naming import scope


class Asked(NamedTuple):
    """Which of the objects of a kind."""

    labels: str = ""
    state: str = ""
    everywhere: bool = False


class Look(NamedTuple):
    """How a table looks."""

    columns: str = ""
    sort: str = ""
    has_heads: bool = True


def collect(session: Session, targets: Iterable[Target], asked: Asked) -> list[Document]:
    """Return what a command is about, in natural order; a name that is not there is an error."""
    found: list[Document] = []
    for target in targets:
        if target.name:
            found.append(_one(session, target))
        else:
            for kind in target.kinds:
                many = _all(session, kind, asked)
                found += sorted(many, key=lambda each: natural(key_of(each)))
    if asked.state:
        found = [each for each in found if columns.at(each, "status.state") == asked.state]
    return found


def _one(session: Session, target: Target) -> Document:
    """Return a named object: a word like `sku` means several kinds, one of which has it."""
    for kind in target.kinds[:-1]:
        known = session.client.find(kind, key_in(kind, target.name, session.home))
        if known is not None:
            return known
    kind = target.kinds[-1]
    return session.client.get(kind, key_in(kind, target.name, session.home))


def _all(session: Session, kind: str, asked: Asked) -> Iterator[Document]:
    for home in _homes(session, kind, everywhere=asked.everywhere):
        yield from session.client.list(kind, home, labels=asked.labels)


def _homes(session: Session, kind: str, *, everywhere: bool) -> Iterator[str]:
    """Yield all that nouns of a kind live in, as far as the command looks."""
    tenant, workspace = session.home
    where = scope(kind)
    if "workspace" not in where:
        yield tenant if where else ""
        return
    spaces = [workspace]
    if everywhere:
        spaces = [each["metadata"]["name"] for each in session.client.list("workspace", tenant)]
    for space in spaces:
        home = f"{tenant}/{space}"
        if "network" in where:
            for network in session.client.list("network", home):
                yield f"{home}/{network['metadata']['name']}"
        else:
            yield home


def facts_of(session: Session) -> Facts:
    """Return what is to be known beside the shown objects: each kind is asked for once."""

    @cache
    def lookup(kind: str) -> Sequence[Document]:
        try:
            return tuple(_all(session, kind, Asked()))
        except ApiError:
            return ()  # A column is empty where one may not look.

    return Facts(lookup, datetime.now(UTC))


def table(session: Session, documents: Sequence[Document], look: Look, *, wide: bool) -> list[str]:
    """Return a table a kind, with an empty line between."""
    facts, width = facts_of(session), session.screen.width
    lines: list[str] = []
    for kinds in _groups(documents):
        shown = [each for each in documents if each["metadata"]["kind"] in kinds]
        chosen = _chosen(kinds[0], look.columns, wide=wide)
        rows = [[columns.cell(column, each, facts) for column in chosen] for each in shown]
        rows = _sorted(rows, [column.head for column in chosen], look.sort)
        if lines:
            lines.append("")
        heads = [column.head for column in chosen]
        lines += render(heads, rows, width=width, has_heads=look.has_heads)
    return lines


def _groups(documents: Iterable[Document]) -> list[tuple[str, ...]]:
    """Return the kinds that share a table, in the order in which they came."""
    kinds = dict.fromkeys(each["metadata"]["kind"] for each in documents)
    return list(dict.fromkeys(SKUS if kind in SKUS else (kind,) for kind in kinds))


def _chosen(kind: str, said: str, *, wide: bool) -> list[Column]:
    default, more = list(columns.DEFAULT[kind]), list(columns.MORE.get(kind, ()))
    if wide and "workspace" in scope(kind):
        space = Column(Head("WORKSPACE", 8), lambda each, _: each["metadata"]["workspace"])
        default.insert(1, space)
    if not said:
        return default
    if said == "all":
        return [*default, *more]
    known = {column.head.name.lower(): column for column in (*default, *more)}
    names = [name.strip().lower() for name in said.removeprefix("+").split(",")]
    if unknown := [name for name in names if name not in known]:
        fix = f"columns: {', '.join(known)}"
        raise CliError("usage", f'there is no column "{unknown[0]}"', fix=fix)
    added = [known[name] for name in names]
    return [*default, *(each for each in added if each not in default)] if said[0] == "+" else added


def _sorted(rows: list[list[str]], heads: Sequence[Head], by: str) -> list[list[str]]:
    if not by:
        return rows
    names = [head.name.lower() for head in heads]
    if by.lower() not in names:
        fix = f"columns: {', '.join(names)}"
        raise CliError("usage", f'there is no column "{by}"', fix=fix)
    return sorted(rows, key=lambda row: natural(row[names.index(by.lower())]))
