"""Paths to nouns, from the registry: a path is split once, and looked up as a shape."""

from functools import cache
from typing import NamedTuple

from hansa.model.envelope import Key, Metadata
from hansa.model.naming import path
from hansa.model.registry import RESOURCES, Declaration


class Target(NamedTuple):
    """What a path names: a noun (`name` is set), a collection, or a noun's verb."""

    noun: Declaration
    scope: dict[str, str]
    name: str = ""
    verb: str = ""

    @property
    def key(self) -> Key:
        """The key of the noun."""
        return Key("/".join((*self.scope.values(), self.name)))

    @property
    def prefix(self) -> str:
        """What the keys of the collection begin with."""
        return "".join(f"{part}/" for part in self.scope.values())

    @property
    def home(self) -> Metadata:
        """Where the noun is."""
        return Metadata(name=self.name, **self.scope)

    @property
    def resource(self) -> str:
        """What authorisation calls it."""
        steps = path(self.noun.type.kind, below=("tenant", "workspace"))
        one = steps.format(**self.scope, name=self.name)[1:]
        return one if self.name else one.rstrip("/")


def _shapes() -> dict[tuple[str, ...], tuple[Declaration, tuple[str, ...]]]:
    """Return by the fixed steps of a path which noun it is, and what stands between them."""
    shapes = {}
    for noun in RESOURCES:
        steps = path(noun.type.kind)[1:].split("/")
        shapes[(noun.provider, *steps[::2])] = (noun, tuple(step[1:-1] for step in steps[1::2]))
    return shapes


_SHAPES = _shapes()


@cache
def _shape(provider: str, fixed: tuple[str, ...]) -> tuple[Declaration, tuple[str, ...]] | None:
    return _SHAPES.get((provider, *fixed))


def find(text: str) -> Target | None:
    """Return what a path names; None if it is none of a noun's."""
    # "", "providers", NAME, VERSION, collection, name, collection, name, ...
    steps = text.split("/")
    if len(steps) < 5 or steps[1] != "providers":  # noqa: PLR2004 - the least that names something
        return None
    provider, rest = f"{steps[2]}/{steps[3]}", steps[4:]
    if not all(rest):
        return None
    found = _shape(provider, tuple(rest[::2]))
    values = rest[1::2]
    if found:
        noun, members = found
        if len(values) == len(members):
            return Target(noun, dict(zip(members[:-1], values, strict=False)), values[-1])
        if len(values) == len(members) - 1:
            return Target(noun, dict(zip(members[:-1], values, strict=True)))
    if len(rest) % 2 and (found := _shape(provider, tuple(rest[:-1:2]))):
        noun, members = found
        if rest[-1] in noun.type.verbs and len(values) == len(members):
            return Target(noun, dict(zip(members[:-1], values, strict=False)), values[-1], rest[-1])
    return None
