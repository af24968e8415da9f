"""One object in full, and a placement explained: hansa.explain/1 as text.  Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from hansa.cli import columns
from hansa.cli.columns import Document, Facts
from hansa.cli.grammar import key_of, short_name
from hansa.cli.table import Head, render
from hansa.cli.units import age, local_time

SHOWN_MAX: Final = 12
"""Above so many candidates, refusals are counted by rule."""
_SHOWN: Final = ("labels", "annotations", "extensions", "spec", "status")


def describe_lines(document: Document, facts: Facts) -> list[str]:
    """Return an object as lines: its columns, then its parts, then its conditions."""
    kind = document["metadata"]["kind"]
    lines = [short_name(kind, key_of(document))]
    shown = (*columns.DEFAULT[kind], *columns.MORE.get(kind, ()))
    rows = [(column.head.name, columns.cell(column, document, facts)) for column in shown[1:]]
    lines += [f"  {line}" for line in _pairs(row for row in rows if row[1] != "-")]
    metadata = document["metadata"]
    when = [
        (title, local_time(metadata[member]))
        for title, member in (("created", "createdAt"), ("changed", "lastModifiedAt"))
        if metadata.get(member)
    ]
    lines += [f"  {line}" for line in _pairs(when)]
    for part in _SHOWN:
        flat = [pair for pair in _flat(document.get(part)) if not pair[0].startswith("conditions")]
        if flat:
            lines += [f"{part}", *(f"  {line}" for line in _pairs(flat))]
    conditions = columns.at(document, "status.conditions") or []
    if conditions:
        lines += [
            "conditions, newest first",
            *(f"  {line}" for line in _conditions(conditions, facts)),
        ]
    return lines


def explain_lines(name: str, said: Document, node: str, *, everything: bool) -> list[str]:
    """Return hansa.explain/1 as a person reads it."""
    candidates = [each for each in said.get("candidates") or () if node in ("", each["node"])]
    chosen = said.get("node")
    fits = sum(each["verdict"] != "refused" for each in said.get("candidates") or ())
    epoch = ".".join(map(str, said.get("epoch") or ()))
    lines = [
        f"{name} is on {chosen}: best of {fits} that fit · epoch {epoch}"
        if chosen
        else f"{name} runs nowhere: {fits} of {len(said.get('candidates') or ())} nodes fit now"
    ]
    if asked := said.get("asked"):
        told = (f"{key} {value}" for key, value in asked.items() if value not in ("", None))
        lines.append(f"asked: {' · '.join(told)}")
    if node and not candidates:
        return [*lines, f"{node} is no candidate: no such node, or in no zone of this region"]
    if len(candidates) > SHOWN_MAX and not everything:
        rules = Counter(_first_rule(each) for each in candidates if each["verdict"] == "refused")
        counts = ", ".join(f"{count} {rule}" for rule, count in rules.most_common())
        lines.append(f"refused: {counts}   one line each: --all")
        candidates = [each for each in candidates if each["verdict"] != "refused"][:SHOWN_MAX]
    lines += _candidates(candidates)
    again = said.get("again")
    if chosen and again:
        same = "same choice" if again == chosen else f"it would go to {again}"
        lines.append(f"again now: {same}")
    return lines


def _candidates(candidates: list[Document]) -> list[str]:
    if not candidates:
        return []
    names = list(dict.fromkeys(name for each in candidates for name in each.get("scores") or {}))
    heads = [Head("NODE"), Head("VERDICT")]
    heads += [Head(name.upper(), is_right=True) for name in names]
    heads.append(Head("FACTS"))
    rows = []
    for each in candidates:
        verdict = each["verdict"]
        if verdict == "refused":
            verdict = f"refused: {_first_rule(each)}"
        scores = [_score((each.get("scores") or {}).get(name)) for name in names]
        rows.append([each["node"], verdict, *scores, _reasons(each)])
    order = {"chosen": 0, "fits": 1}
    rows.sort(key=lambda row: order.get(row[1], 2))
    return render(heads, rows)


def _first_rule(candidate: Document) -> str:
    refused = candidate.get("refused_by") or ()
    return str(refused[0]["rule"]) if refused else "-"


def _reasons(candidate: Document) -> str:
    refused: list[Document] = list(candidate.get("refused_by") or ())
    also = ", ".join(f"{each['rule']}, {each['reason']}" for each in refused[1:])
    first = str(refused[0].get("reason", "")) if refused else ""
    return "; also: ".join(part for part in (first, also) if part)


def _score(value: object) -> str:
    return str(value) if isinstance(value, int) else "-"


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf with its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{number}]")
    elif value is not None:
        yield path, str(value)


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(pairs)
    return render([Head("A"), Head("B")], rows, has_heads=False) if rows else []


def _conditions(conditions: list[Document], facts: Facts) -> list[str]:
    rows = [
        [
            str(each.get("state")),
            f"{age(each.get('lastTransitionAt'), facts.now)} ago",
            " ".join(str(each[part]) for part in ("reason", "message") if each.get(part)),
        ]
        for each in conditions
    ]
    return render([Head("STATE"), Head("SINCE"), Head("WHY")], rows, has_heads=False)
