"""The nasty scenarios, by name: each was the shortest counter-example of a broken protocol.

They only make it happen: that it does no harm is the checkers' to say.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hansa.model.envelope import Key
from hansa.model.node import Node
from hansa.sim.clocks import Clock
from hansa.sim.network import REGION
from hansa.sim.world import World
from hansa.wire.messages import Ack, Document, Message, Poke, Status


def _worst_clocks(world: World) -> None:
    """Let every node's clock be slow, and the region's fast: as far as they may."""
    for host in world.hosts.values():
        host.clock = _drifting(world, host.clock, -10)
    world.region.clock = _drifting(world, world.region.clock, 10)


def _drifting(world: World, clock: Clock, per_mille: int) -> Clock:
    """Return a clock that shows the same now, and goes on at another pace."""
    passed_us = world.kernel.now_us * (1000 + per_mille) // 1000
    return Clock(world.kernel, per_mille, clock.now_us() - passed_us)


def _runs_somewhere(world: World, fate: str, zone: str = "a") -> str:
    """Have x run; return where."""
    _worst_clocks(world)
    world.network.keeps = True
    world.create("x", zone, "S", fate)
    world.until(lambda: bool(world.runs("x")))
    world.run_s(15)
    return world.home_of("x")


def _replaced(world: World, home: str) -> None:
    world.until(lambda: world.home_of("x") != home, 60)


def _replay(world: World, kind: type[Message], name: str) -> None:
    """Let everything of this kind that was ever said by, or to, a node arrive once more."""
    for sender, receiver, message in list(world.network.carried):
        if isinstance(message, kind) and name in {sender, receiver}:
            world.network.deliver(sender, receiver, message, 1)


def _keep_ignorant(world: World, name: str) -> None:
    """Lose every document for a node, and every word that there is one."""

    def rule(_sender: str, receiver: str, message: Message) -> int | None:
        return -1 if receiver == name and isinstance(message, Document | Poke) else None

    world.network.rule = rule


def late_heartbeat(world: World) -> None:
    """Silence a node, replace it, and then hear it with its old generation."""
    home = _runs_somewhere(world, "fence")
    world.network.cut(home, REGION, both=False)
    _replaced(world, home)
    _keep_ignorant(world, home)
    world.network.cuts.clear()
    world.run_s(20)


def slow_ack(world: World) -> None:
    """Acknowledgements wait in the network for almost a lease; then the node is cut off."""
    home = _runs_somewhere(world, "fence")

    def rule(_sender: str, receiver: str, message: Message) -> int | None:
        return 8_500_000 if receiver == home and isinstance(message, Ack) else None

    world.network.rule = rule
    world.run_s(20)
    world.network.cut(home, REGION, both=False)
    _replaced(world, home)
    world.run_s(20)


def ack_of_past_life(world: World) -> None:
    """Restart an agent, cut off; acknowledgements of its former session arrive."""
    home = _runs_somewhere(world, "fence")
    world.hosts[home].kill_agent()
    world.network.cut(home, REGION)
    world.hosts[home].start_agent()
    for _ in range(20):
        world.run_s(1.5)
        _replay(world, Ack, home)
    _replaced(world, home)


def wedged_agent(world: World) -> None:
    """Stop the agent while its guest runs on."""
    home = _runs_somewhere(world, "fence")
    world.hosts[home].wedge()
    _replaced(world, home)
    world.run_s(5)
    world.hosts[home].unwedge()
    world.run_s(10)


def blinking_region(world: World) -> None:
    """Restart the region, and let it hear nobody for a while."""
    _runs_somewhere(world, "fence")
    world.region.crash()
    world.run_s(1)
    world.network.rule = lambda _sender, receiver, _message: (
        4_000_000 if receiver == REGION else None
    )
    world.region.start()
    world.run_s(10)


def heard_while_falling(world: World) -> None:
    """Have a heartbeat arrive while the verdict *down* is being written."""
    home = _runs_somewhere(world, "fence")
    world.network.cut(home, REGION, both=False)
    node = Key(home)
    world.until(lambda: world.state.of(Node)[node].health.verdict == "unknown")
    world.region.sync_min_us, world.region.sync_max_us = 6_000_000, 6_000_001
    world.run_s(2.8)
    world.network.cuts.clear()
    world.run_s(40)


def old_disk(world: World) -> None:
    """Boot a node with a disk of last week, and let it hear the documents of then again."""
    home = _runs_somewhere(world, "fence")
    host = world.hosts[home]
    document, disks = host.document, dict(host.disks)
    host.crash()
    _replaced(world, home)
    host.document, host.disks = document, disks
    world.network.cut(home, REGION)
    host.boot()
    world.run_s(10)
    world.network.cuts.clear()
    world.run_s(20)
    _replay(world, Document, home)
    world.run_s(5)


def changed_mind(world: World) -> None:
    """Silence a node, and have the tenant change `stay` to `fence`."""
    home = _runs_somewhere(world, "stay")
    world.network.cut(home, REGION)
    world.run_s(5)
    world.change("x", "a", "S", "fence")
    world.run_s(30)


def second_stop(world: World) -> None:
    """X comes back to a node that once released it, and is to leave it again."""
    home = _runs_somewhere(world, "stay", "b")
    key = Key("t/w/x")
    world.delete("x")
    world.until(lambda: key not in world.state.nouns["instance"])
    world.run_s(5)
    world.create("x", "b", "S", "stay")
    world.until(lambda: world.runs("x") == home)
    world.hosts[home].kill_agent()
    world.hosts[home].start_agent()
    world.run_s(10)
    world.delete("x")
    _keep_ignorant(world, home)
    world.run_s(1)
    _replay(world, Status, home)
    world.run_s(1)


SCENARIOS: Final[Mapping[str, Callable[[World], None]]] = {
    told.__name__.replace("_", "-"): told
    for told in (
        late_heartbeat,
        slow_ack,
        ack_of_past_life,
        wedged_agent,
        blinking_region,
        heard_while_falling,
        old_disk,
        changed_mind,
        second_stop,
    )
}
