"""Pages of a collection: keys in order, and bytes that are made once an object."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from hansa.model.envelope import Key, Resource
from hansa.serve.backend import Backend
from hansa.serve.labels import Labels
from hansa.serve.labels import parse as parse_labels
from hansa.serve.view import to_answer

LIMIT_MAX, LIMIT_DEFAULT = 10_000, 1000
PAGES_MAX: Final = 16
SLACK: Final = 4096
"""Answers kept of what is no more, before they are looked for."""

_Answer = tuple[Resource, bytes]


class Asked(NamedTuple):
    """What a list is asked for."""

    prefix: str
    """What the keys begin with: "" or scopes, with a slash at the end."""
    after: str = ""
    """The name that the page before ended with."""
    limit: int = LIMIT_DEFAULT
    labels: str = ""
    only_leaving: bool = False


class Page(NamedTuple):
    """A page of a list."""

    items: bytes
    """Joined by commas."""
    last: str
    """The name that the next page begins after, "" if there is none."""


class Answers:
    """What each noun looks like to who reads it: kept as long as the noun is the same."""

    def __init__(self, backend: Backend) -> None:
        """Begin with none."""
        self._backend = backend
        self._whole: dict[tuple[str, Key], _Answer] = {}
        self._less: dict[tuple[str, Key], _Answer] = {}
        self._sorted: dict[str, tuple[Mapping[Key, Resource], list[Key]]] = {}
        self._pages: dict[tuple[str, Asked], tuple[Mapping[Key, Resource], bytes]] = {}
        self._enough = SLACK

    def whole(self, key: Key, noun: Resource) -> bytes:
        """Return the answer to a GET of the one object."""
        known = self._whole.get((noun.kind, key))
        if known and known[0] is noun:
            return known[1]
        made = to_answer(noun, "GET", self._backend.region)
        self._keep(self._whole, key, noun, made)
        return made

    def reduced(self, key: Key, noun: Resource) -> bytes:
        """Return what a list or a watch shows of it: no secrets."""
        known = self._less.get((noun.kind, key))
        if known and known[0] is noun:
            return known[1]
        less = noun.reduced()
        is_same = less is noun
        made = self.whole(key, noun) if is_same else to_answer(less, "GET", self._backend.region)
        self._keep(self._less, key, noun, made)
        return made

    def page(self, kind: str, asked: Asked, shown: Callable[[Page], bytes]) -> bytes:
        """Return a page as it is shown.  Raises ValueError if its label filter cannot be read."""
        nouns = self._backend.state.nouns.get(kind, {})
        known = self._pages.get((kind, asked))
        if known and known[0] is nouns:
            return known[1]
        made = shown(self._page(kind, nouns, asked))
        while len(self._pages) >= PAGES_MAX:
            del self._pages[next(iter(self._pages))]
        self._pages[kind, asked] = nouns, made
        return made

    def _page(self, kind: str, nouns: Mapping[Key, Resource], asked: Asked) -> Page:
        prefix, keep = asked.prefix, parse_labels(asked.labels) if asked.labels else _any
        keys = self._keys(kind, nouns)
        begin = bisect_right(keys, prefix + asked.after)
        # "0" is what comes after "/".
        end = bisect_left(keys, prefix[:-1] + "0") if prefix else len(keys)
        found: list[bytes] = []
        last = ""
        for at in range(begin, end):
            key = keys[at]
            noun = nouns[key]
            if not keep(noun.labels) or (asked.only_leaving and not _is_leaving(noun)):
                continue
            if len(found) == asked.limit:
                return Page(b",".join(found), last)
            found.append(self.reduced(key, noun))
            last = key[len(prefix) :]
        return Page(b",".join(found), "")

    def _keys(self, kind: str, nouns: Mapping[Key, Resource]) -> list[Key]:
        """Return the keys in order; they are sorted anew only if others are there."""
        base, known = self._sorted.get(kind, (None, list[Key]()))
        if base is nouns:
            return known
        if len(known) != len(nouns) or not all(map(nouns.__contains__, known)):
            known = sorted(nouns)
        self._sorted[kind] = nouns, known
        return known

    def _keep(
        self, answers: dict[tuple[str, Key], _Answer], key: Key, noun: Resource, made: bytes
    ) -> None:
        answers[noun.kind, key] = noun, made
        if len(self._whole) + len(self._less) > self._enough:
            self._sweep()

    def _sweep(self) -> None:
        """Let go of what is no more, or is another by now."""
        nouns = self._backend.state.nouns
        for answers in (self._whole, self._less):
            gone = [
                (k, key) for (k, key), (of, _) in answers.items() if nouns[k].get(key) is not of
            ]
            for each in gone:
                del answers[each]
        self._enough = 2 * (len(self._whole) + len(self._less)) + SLACK


def _any(_: Labels) -> bool:
    return True


def _is_leaving(noun: Resource) -> bool:
    return bool(getattr(getattr(noun, "record", None), "deleted_at", False))
