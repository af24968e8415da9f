"""Tables without frames: nothing is cut, and on a narrow terminal whole columns go.  Pure."""

from collections.abc import Sequence
from typing import NamedTuple

GAP = "  "


class Head(NamedTuple):
    """One column: what goes first on a narrow terminal has the lowest rank."""

    name: str
    rank: int = 5
    is_right: bool = False


def render(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    has_heads: bool = True,
) -> list[str]:
    """Return the lines; `width` None, a pipe, keeps every column."""
    cells = [[head.name for head in heads], *([tell(cell) for cell in row] for row in rows)]
    wide = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    kept, gone = _fitting(heads, wide, width)
    shown = cells if has_heads else cells[1:]
    lines = [_line([row[at] for at in kept], [(wide[at], heads[at].is_right) for at in kept])
             for row in shown]  # fmt: skip
    if gone:
        names = ", ".join(heads[at].name for at in sorted(gone))
        lines.append(f"too narrow for {names}: widen the terminal, or use -o json")
    return lines


def tell(cell: str) -> str:
    """Return a cell in one line, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in cell) or "-"


def _fitting(
    heads: Sequence[Head], wide: Sequence[int], width: int | None
) -> tuple[list[int], set[int]]:
    """Return the columns that are shown, and those that are not; the first always is."""
    order = sorted(range(1, len(heads)), key=lambda at: (heads[at].rank, -at))
    gone = set[int]()
    while width is not None and order:
        kept = [at for at in range(len(heads)) if at not in gone]
        if sum(wide[at] for at in kept) + len(GAP) * (len(kept) - 1) <= width:
            break
        gone.add(order.pop(0))
    return [at for at in range(len(heads)) if at not in gone], gone


def _line(cells: Sequence[str], shapes: Sequence[tuple[int, bool]]) -> str:
    padded = [
        cell.rjust(wide) if is_right else cell.ljust(wide)
        for cell, (wide, is_right) in zip(cells, shapes, strict=True)
    ]
    return GAP.join(padded).rstrip()
