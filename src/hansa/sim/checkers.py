"""What must never be, looked for at each commit and at each start of a guest; and what must come.

The checkers see everything at once, as nobody in the real world does.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256

import msgspec

from hansa.model.block_storage import BlockStorage
from hansa.model.envelope import Key
from hansa.model.instance import Instance, Placed, Unplaced
from hansa.model.node import Node
from hansa.model.stamp import Stamp  # noqa: TC001 - among imports that are needed
from hansa.model.state import Commit, State
from hansa.ports import Running
from hansa.reconcile.instances import wanted_of
from hansa.region.core import Core
from hansa.scheduling.fold import Fold
from hansa.scheduling.place import place
from hansa.sim.host import Host
from hansa.sim.kernel import Kernel


class Checkers:
    """Keeps what was told, and all that was found wrong."""

    def __init__(self, kernel: Kernel, hosts: Mapping[str, Host]) -> None:
        """Begin with nothing told."""
        self._kernel, self._hosts = kernel, hosts
        self.told = State()
        self.found: list[str] = []
        self._epochs: dict[tuple[Key, Stamp], Key] = {}
        self._placements = sha256()
        self.grants = self.starts = 0

    @property
    def digest(self) -> str:
        """The digest of all placements, in their order."""
        return self._placements.hexdigest()

    def say(self, what: str) -> None:
        """Keep a finding."""
        if len(self.found) < 20:  # noqa: PLR2004 - the first ones are those that matter
            self.found.append(f"{self._kernel.now_us / 1e6:.3f} s: {what}")

    def loaded(self, state: State) -> None:
        """Compare what a region starts from with what it had told: one commit may be in doubt."""
        if state.revision not in (self.told.revision, self.told.revision.next()):
            self.say(f"the store is at {state.revision}, and {self.told.revision} was told")
        elif state.revision == self.told.revision and _nouns(state) != _nouns(self.told):
            self.say(f"what was told as of {state.revision} is not what was stored")
        else:
            for key, now in state.of(Instance).items():
                was = self.told.of(Instance).get(key)
                self._grant(key, was.grant if was else None, now.grant, state)
        self.told = state

    def took(self, commit: Commit, core: Core) -> None:
        """Look at a commit that took effect."""
        if not commit.state.revision > self.told.revision:
            self.say(f"{commit.state.revision} comes after {self.told.revision}")
        self.told = commit.state
        for key, old, new in commit.of(Instance):
            self._grant(key, old.grant if old else None, new.grant if new else None, commit.state)
        self._room(commit, core.folds.placement)

    def began(self, host: Host, guest: Running) -> None:
        """Look at a guest that begins to run."""
        self.starts += 1
        instance = self.told.of(Instance).get(guest.key)
        grant = instance.grant if instance else None
        if grant is None or (grant.node, grant.epoch) != (host.name, guest.epoch):
            self.say(f"{guest.key} begins on {host.name} without a grant that stands")
        for other in self._hosts.values():
            if other is not host and guest.key in other.running:
                self.say(f"{guest.key} runs on {other.name} and on {host.name}")

    def _grant(self, key: Key, was: Placed | None, now: Placed | None, state: State) -> None:
        ends = was if was and (now is None or now.epoch != was.epoch) else None
        if ends and (host := self._hosts.get(ends.node)):
            guest = host.running.get(key)
            moved = now is None or now.node != ends.node
            if moved and guest and guest.epoch == ends.epoch:
                self.say(f"{key} runs on {ends.node}, which lost its grant")
            by_time = ends.stop is None and moved
            if by_time and ends.on_partition == "stay" and not host.is_lost:
                self.say(f"{key} stays, and was taken from {ends.node}")
        if now and now != was and now.stop is None:
            self._new_epoch(key, now, state)
        if now != was:
            self._placements.update(msgspec.json.encode((key, now)))

    def _new_epoch(self, key: Key, grant: Placed, state: State) -> None:
        self.grants += 1
        if (key, grant.epoch) in self._epochs:
            self.say(f"epoch {grant.epoch} of {key} is used again")
        if grant.epoch != state.revision:
            self.say(f"{key} was granted at {state.revision} under {grant.epoch}")
        self._epochs[key, grant.epoch] = grant.node

    def _room(self, commit: Commit, fold: Fold) -> None:
        for node in {new.grant.node for _, _, new in commit.of(Instance) if new and new.grant}:
            sizes = [grant.size for grant in fold.on.get(node, {}).values()]
            has = commit.state.of(Node)[node].observed
            vcpus, ram_gb = sum(s.vcpus for s in sizes), sum(s.ram_gb for s in sizes)
            if vcpus > has.vcpus or ram_gb > has.ram_gb:
                self.say(f"{node} was granted {vcpus} vCPU and {ram_gb} GB")

    def at_rest(self, core: Core) -> None:
        """Look at a world whose faults are over: everything is as wished, or knows why not."""
        if not core.check_folds():
            self.say("what is folded is not what is rebuilt")
        for what in (*self._unrest(core), *self._strays(core.state)):
            self.say(what)

    def _unrest(self, core: Core) -> Iterator[str]:
        fold = core.folds.placement
        for key, instance in core.state.of(Instance).items():
            if instance.lifecycle.state == "deleting":
                yield f"{key} is still being deleted"
            elif instance.power.wanted == "on" and instance.grant is None:
                yield from _unplaced(core.state, fold, key, instance)
            elif instance.power.wanted == "on" and not instance.has_shut_itself_down:
                yield from self._not_running(key, instance)

    def _not_running(self, key: Key, instance: Instance) -> Iterator[str]:
        grant = instance.grant
        assert grant
        host = self._hosts[grant.node]
        guest = host.running.get(key)
        if guest is None or (guest.epoch, guest.life) != (grant.epoch, instance.power.restarts):
            why = instance.seen.code or "nothing is said of it"
            yield f"{key} is wanted on, and does not run on {grant.node}: {why}"

    def _strays(self, state: State) -> Iterator[str]:
        for host in self._hosts.values():
            for key, guest in host.running.items():
                instance = state.of(Instance).get(key)
                grant = instance.grant if instance else None
                is_off = instance is not None and instance.power.wanted == "off"
                if grant is None or is_off or grant.epoch != guest.epoch:
                    yield f"{key} runs on {host.name}, and should not"
        for key, disk in state.of(BlockStorage).items():
            if disk.lifecycle.state == "deleting":
                yield f"disk {key} is still being deleted"


def _unplaced(state: State, fold: Fold, key: Key, instance: Instance) -> Iterator[str]:
    assert isinstance(instance.assignment, Unplaced)
    if instance.assignment.removed_by is None:
        yield f"{key} is on no node, and nothing says why"
    wanted = wanted_of(state, fold, key)
    if isinstance(wanted, str):
        return
    rows = fold.zones.get(wanted.zone)
    if rows is not None and isinstance(place(wanted, rows), int):
        yield f"{key} is on no node, and would fit"


def _nouns(state: State) -> dict[str, dict[Key, object]]:
    return {kind: dict(nouns) for kind, nouns in state.nouns.items() if nouns}
