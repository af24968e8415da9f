"""One simulated story: a seed, so many nodes, and perhaps a scenario by name."""

from typing import Final

import msgspec

from hansa.sim.chaos import Chaos
from hansa.sim.scenarios import SCENARIOS
from hansa.sim.world import World

CHAOS_S: Final = 150
QUIET_S: Final = 150


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; the last line replays it."""

    ok: bool
    lines: tuple[str, ...]
    digest: str
    """Of all placements."""


def run(seed: int, nodes: int, scenario: str | None = None) -> Report:
    """Tell it to its end.  Raises KeyError if there is no scenario of that name."""
    world = World(seed, nodes)
    if scenario is None:
        Chaos(world, names=2 * nodes, end_s=CHAOS_S)
        world.run_s(CHAOS_S)
    else:
        SCENARIOS[scenario](world)
    world.settle(QUIET_S)
    return _report(world, seed, nodes, scenario)


def _report(world: World, seed: int, nodes: int, scenario: str | None) -> Report:
    checkers = world.checkers
    seconds = world.kernel.now_us // 1_000_000
    what = f" --scenario {scenario}" if scenario else ""
    grew = f"{world.state.revision.counter} commits, {checkers.grants} grants"
    findings = f"{len(checkers.found)} findings"
    lines = (
        f"{seconds} s of {nodes} nodes: {grew}, {checkers.starts} starts, {findings}",
        *checkers.found,
        f"make sim SEED={seed} NODES={nodes}{what}",
    )
    return Report(ok=not checkers.found, lines=lines, digest=checkers.digest)
