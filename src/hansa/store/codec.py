"""Nouns to rows and back: one decoder a kind and schema version.

To change how a kind is stored: raise its `schema`, and add to UPGRADES how the last version reads.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from hansa.errors import UnknownVersionError
from hansa.model.envelope import Key, Resource
from hansa.model.registry import RESOURCES
from hansa.model.stamp import Stamp
from hansa.model.state import Commit, State
from hansa.ports import Row

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Resource]]] = {
    noun.type.kind: msgspec.json.Decoder(noun.type) for noun in RESOURCES
}
_ENCODER: Final = msgspec.json.Encoder()
UPGRADES: Final[Mapping[tuple[str, int], Callable[[bytes], bytes]]] = {}
"""By kind and the older version: what makes the bytes of the next version of it."""


def rows_of(commit: Commit) -> list[Row]:
    """Return what a commit changed, as it is stored."""
    revision = commit.state.revision
    return [
        Row(
            change.kind,
            change.key,
            revision,
            change.new.schema if change.new else 0,
            _ENCODER.encode(change.new) if change.new else None,
        )
        for change in commit.changes
    ]


def noun_of(row: Row) -> Resource:
    """Return the noun of a row.  Raises UnknownVersionError if a later release wrote it."""
    assert row.data is not None, f"{row.kind} {row.key} was deleted"
    if row.kind not in _DECODERS:
        raise UnknownVersionError(f"the store has a {row.kind}, which this release does not know")
    schema, data = row.schema, row.data
    now = next(noun.type.schema for noun in RESOURCES if noun.type.kind == row.kind)
    while schema < now:
        data, schema = UPGRADES[row.kind, schema](data), schema + 1
    if schema > now:
        raise UnknownVersionError(f"{row.kind} {row.key} was stored by a later release")
    return _DECODERS[row.kind].decode(data)


def state_of(revision: Stamp, rows: Iterable[Row]) -> State:
    """Return the state that the rows of a store make."""
    nouns: dict[str, dict[Key, Resource]] = {}
    for row in rows:
        nouns.setdefault(row.kind, {})[Key(row.key)] = noun_of(row)
    return State(revision, nouns)
