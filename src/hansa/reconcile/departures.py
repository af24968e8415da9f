"""What is being deleted leaves its node first, and then the state.

A node that lives is told by a stop order, and gives up by showing that it knows (P1).
"""

from typing import Self

import msgspec
from msgspec.structs import replace

from hansa.model.block_storage import BlockStorage, Kept
from hansa.model.envelope import Key, Lifecycle, Stateful
from hansa.model.instance import Instance, Unplaced
from hansa.model.network import Network
from hansa.model.node import Node
from hansa.model.registry import RESOURCES
from hansa.model.stamp import NOW
from hansa.model.state import Action, Commit, Delete, Set, State
from hansa.model.subnet import Subnet
from hansa.scheduling.fold import is_lost

_CHILDREN = {
    noun.type.kind: [child.type.kind for child in RESOURCES if child.parent == noun.type.kind]
    for noun in RESOURCES
}


class Leaving(msgspec.Struct, frozen=True):
    """The fold: what is being deleted."""

    nouns: frozenset[tuple[str, Key]] = frozenset()

    @classmethod
    def of(cls, state: State) -> Self:
        """Rebuild it."""
        return cls(
            frozenset(
                (kind, key)
                for kind, nouns in state.nouns.items()
                for key, noun in nouns.items()
                if isinstance(noun, Stateful) and noun.lifecycle.state == "deleting"
            )
        )

    def has(self, subnet: Key) -> bool:
        """Tell whether a subnet is being deleted."""
        return (Subnet.kind, subnet) in self.nouns

    def after(self, commit: Commit) -> Self:
        """Return it after a commit."""
        came, went = set[tuple[str, Key]](), set[tuple[str, Key]]()
        for change in commit.changes:
            new = change.new
            leaves = isinstance(new, Stateful) and new.lifecycle.state == "deleting"
            (came if leaves else went).add((change.kind, change.key))
        if came <= self.nouns and not went & self.nouns:
            return self
        return type(self)(self.nouns - went | came)


def plan(state: State, leaving: Leaving, _now_us: int) -> list[Action]:
    """Return the next step of each departure."""
    actions: list[Action] = []
    for kind, key in sorted(leaving.nouns):
        noun = state.nouns[kind][key]
        match noun:
            case Instance():
                actions += _instance(state, key, noun)
            case BlockStorage():
                actions += _disk(state, key, noun)
            case Network(lifecycle=life):
                inside = [name for name in state.of(Subnet) if name.startswith(f"{key}/")]
                actions += [
                    *(Delete(kind=Subnet.kind, key=name) for name in inside if leaving.has(name)),
                    *_begin(state, inside, life),
                    *([] if inside else [Delete(kind=kind, key=key)]),
                ]
            case _ if any(_has_children(state, child, key) for child in _CHILDREN[kind]):
                pass
            case Subnet() if (Network.kind, Key(key.rpartition("/")[0])) in leaving.nouns:
                pass  # With its network, above.
            case _:
                actions.append(Delete(kind=kind, key=key))
    return actions


def _begin(state: State, subnets: list[Key], life: Lifecycle) -> list[Action]:
    """Return the departures that a network's own begins."""
    at = life.conditions[0].last_transition_at
    return [
        Set(kind=Subnet.kind, key=key, part=noun.lifecycle.through(at, "deleting"))
        for key in subnets
        if (noun := state.of(Subnet)[key]).lifecycle.state != "deleting"
    ]


def _has_children(state: State, kind: str, key: Key) -> bool:
    return any(name.startswith(f"{key}/") for name in state.nouns.get(kind, {}))


def _instance(state: State, key: Key, instance: Instance) -> list[Action]:
    grant = instance.grant
    if grant is None:
        return [Delete(kind=Instance.kind, key=key)]
    if is_lost(grant, state.of(Node).get(grant.node)):
        return [Set(kind=Instance.kind, key=key, part=Unplaced())]
    if grant.stop is None:
        return [Set(kind=Instance.kind, key=key, part=replace(grant, stop=NOW))]
    return []  # Until its node shows that it has given it up.


def _disk(state: State, key: Key, disk: BlockStorage) -> list[Action]:
    kept = disk.assignment
    if not kept.node:
        return [Delete(kind=BlockStorage.kind, key=key)]
    if kept.node not in state.of(Node):
        return [Set(kind=BlockStorage.kind, key=key, part=Kept())]
    if kept.stop is None:
        return [Set(kind=BlockStorage.kind, key=key, part=replace(kept, stop=NOW))]
    return []
