"""Paths to nouns, from the registry: a path is split once, and its fixed steps are looked up."""

from typing import Final, NamedTuple

from hansa.model.envelope import Key, Metadata
from hansa.model.naming import path, scope
from hansa.model.registry import RESOURCES, Declaration
from hansa.serve.backend import Object

_LEAST: Final = 5
"""Steps of the shortest path that names something: "", providers, NAME, VERSION, collection."""


class Route(NamedTuple):
    """Where nouns of a kind are."""

    noun: Declaration
    members: tuple[str, ...]
    """What they live in, outermost first: members of Metadata."""
    outer: int
    """Steps of tenant and workspace, which authorisation is told apart from the rest."""


class Target(NamedTuple):
    """What a path names: a noun (`name` is set), a collection, or a noun's verb."""

    route: Route
    scope: tuple[str, ...]
    name: str
    verb: str
    resource: str
    """What authorisation calls it."""

    @property
    def kind(self) -> str:
        """The kind of what is named."""
        return self.route.noun.type.kind

    @property
    def key(self) -> Key:
        """The key of the noun."""
        return Key("/".join((*self.scope, self.name)))

    @property
    def prefix(self) -> str:
        """What the keys of the collection begin with."""
        return "".join(f"{part}/" for part in self.scope)

    @property
    def home(self) -> Metadata:
        """Where the noun is."""
        return Metadata(name=self.name, **dict(zip(self.route.members, self.scope, strict=True)))

    @property
    def thing(self) -> Object:
        """What authorisation is asked about."""
        has, inner = self.scope, self.route.outer // 2
        # A workspace is in itself: who may only be in it, may look at it.
        own = self.name if self.kind == "workspace" else ""
        return Object(
            provider=self.route.noun.provider,
            resource=self.resource,
            tenant=has[0] if inner else "",
            workspace=has[1] if inner > 1 else own,
        )


def _routes() -> dict[tuple[str, ...], Route]:
    routes = {}
    for noun in RESOURCES:
        members = scope(noun.type.kind)
        outer = 2 * sum(member in ("tenant", "workspace") for member in members)
        fixed = path(noun.type.kind)[1:].split("/")[::2]
        routes[(*noun.provider.split("/"), *fixed)] = Route(noun, members, outer)
    return routes


_ROUTES: Final = _routes()


def find(text: str) -> Target | None:
    """Return what a path names; None if it is none of a noun's."""
    steps = text.split("/")
    if len(steps) < _LEAST or steps[1] != "providers" or "" in steps[1:]:
        return None
    rest = steps[4:]
    route = _ROUTES.get((steps[2], steps[3], *rest[::2]))
    if route is not None:
        values, resource = rest[1::2], "/".join(rest[route.outer :])
        if len(rest) % 2:
            return Target(route, tuple(values), "", "", resource)
        return Target(route, tuple(values[:-1]), values[-1], "", resource)
    if len(rest) % 2 and (route := _ROUTES.get((steps[2], steps[3], *rest[:-1:2]))):
        *values, name = rest[1::2]
        if rest[-1] in route.noun.type.verbs:
            resource = "/".join(rest[route.outer : -1])
            return Target(route, tuple(values), name, rest[-1], resource)
    return None
