"""Pages of a collection: keys in order, bytes made once an object."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from hansa.model.envelope import Key, Resource
from hansa.serve.labels import Filter
from hansa.serve.view import to_answer

LIMIT_MAX, LIMIT_DEFAULT = 10_000, 1000


class Answers:
    """What each noun looks like to who reads it: kept as long as the noun is the same."""

    def __init__(self, region: str) -> None:
        """Begin with none."""
        self._region = region
        self._whole: dict[tuple[str, Key], tuple[Resource, bytes]] = {}
        self._reduced: dict[tuple[str, Key], tuple[Resource, bytes]] = {}
        self._sorted: dict[str, tuple[int, list[Key]]] = {}
        self._maps: dict[str, Mapping[Key, Resource]] = {}

    def whole(self, key: Key, noun: Resource) -> bytes:
        """Return the answer to a GET of the one object."""
        known = self._whole.get((noun.kind, key))
        if known and known[0] is noun:
            return known[1]
        made = to_answer(noun, "GET", self._region)
        self._whole[noun.kind, key] = noun, made
        return made

    def reduced(self, key: Key, noun: Resource) -> bytes:
        """Return what a list or a watch shows of it: no secrets."""
        known = self._reduced.get((noun.kind, key))
        if known and known[0] is noun:
            return known[1]
        less = noun.reduced()
        made = self.whole(key, noun) if less is noun else to_answer(less, "GET", self._region)
        self._reduced[noun.kind, key] = noun, made
        return made

    def forget(self, kind: str, key: Key) -> None:
        """Let go of what is no more."""
        self._whole.pop((kind, key), None)
        self._reduced.pop((kind, key), None)

    def keys(self, kind: str, nouns: Mapping[Key, Resource]) -> list[Key]:
        """Return the keys in order; what changed nothing of the set of keys is not sorted anew."""
        if self._maps.get(kind) is nouns:
            return self._sorted[kind][1]
        _, known = self._sorted.get(kind, (0, list[Key]()))
        if len(known) != len(nouns) or any(key not in nouns for key in known):
            known = sorted(nouns)
        self._maps[kind], self._sorted[kind] = nouns, (len(nouns), known)
        return known


def page(  # noqa: PLR0913, PLR0917 - what a list can be asked for
    answers: Answers,
    kind: str,
    nouns: Mapping[Key, Resource],
    prefix: str,
    after: str,
    limit: int,
    keep: Filter | None,
) -> tuple[list[bytes], str]:
    """Return the objects of one page, and the name that the next begins after ("" if none)."""
    keys = answers.keys(kind, nouns)
    begin = bisect_right(keys, Key(prefix + after)) if after else bisect_left(keys, Key(prefix))
    end = bisect_left(keys, Key(prefix[:-1] + "0")) if prefix else len(keys)
    found: list[bytes] = []
    last = ""
    for key, noun in _of_scope(keys[begin:end], nouns, prefix):
        if keep and not keep(noun.labels):
            continue
        if len(found) == limit:
            return found, last
        found.append(answers.reduced(key, noun))
        last = key[len(prefix) :]
    return found, ""


def _of_scope(
    keys: list[Key], nouns: Mapping[Key, Resource], prefix: str
) -> Iterator[tuple[Key, Resource]]:
    """Yield what lives right in a scope: keys of a kind all have the same depth."""
    assert not prefix or prefix.endswith("/")
    for key in keys:
        yield key, nouns[key]
