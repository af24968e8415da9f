"""What a seed makes happen: tenants who want this and that, and faults of every kind."""

from collections.abc import Callable
from functools import partial
from typing import Final

from hansa.errors import StoreFullError
from hansa.model.envelope import Key
from hansa.sim.clocks import SECOND_US
from hansa.sim.network import REGION
from hansa.sim.world import World

VERBS: Final = ("start", "stop", "restart", "restart")


class Chaos:
    """Tenants and faults until `end_s`; each fault passes by itself."""

    def __init__(self, world: World, names: int, end_s: float) -> None:
        """Begin at once."""
        self._world, self._names = world, [f"i{number}" for number in range(names)]
        self._end_us = world.kernel.now_us + int(end_s * SECOND_US)
        self._tenant, self._fault = world.kernel.chance("tenants"), world.kernel.chance("faults")
        for name in self._names[::2]:
            self._create(name)
        self._every("tenants", SECOND_US, self._wish)
        self._every("faults", 4 * SECOND_US, self._break)

    def _every(self, purpose: str, mean_us: int, call: Callable[[], None]) -> None:
        def again() -> None:
            if world.kernel.now_us < self._end_us:
                call()
                world.kernel.after(chance.randrange(1, 2 * mean_us), again)

        world, chance = self._world, self._world.kernel.chance(f"when {purpose}")
        world.kernel.after(chance.randrange(1, 2 * mean_us), again)

    def _create(self, name: str) -> None:
        choice = self._tenant.choice
        group = choice(("", "", "g1", "g2"))
        self._world.create(name, choice("aaab"), choice("SSL"), choice(("stay", "fence")), group)

    def _wish(self) -> None:
        name, dice = self._tenant.choice(self._names), self._tenant.random()
        world = self._world
        if dice < 0.45:  # noqa: PLR2004 - odds
            self._create(name)
        elif dice < 0.8:  # noqa: PLR2004 - odds
            world.act(self._tenant.choice(VERBS), name)
        else:
            world.delete(name)
        if home := world.runs(self._tenant.choice(self._names)):
            host = world.hosts[home]
            if self._tenant.random() < 0.2:  # noqa: PLR2004 - odds
                key = self._tenant.choice(sorted(host.running))
                host.end_guest(Key(key), self._tenant.choice(("shutdown", "crashed")))

    def _break(self) -> None:
        faults = (
            self._agent_dies,
            self._agent_is_stopped,
            self._host_dies,
            self._is_cut,
            self._is_cut,
            self._loses,
            self._region_dies,
            self._region_freezes,
            self._disk_is_slow,
            self._disk_is_full,
        )
        self._fault.choice(faults)()

    def _host(self) -> str:
        return self._fault.choice(sorted(self._world.hosts))

    def _passes(self, call: Callable[[], None], longest_s: float = 40) -> None:
        self._world.kernel.after(self._fault.randrange(int(longest_s * SECOND_US)), call)

    def _agent_dies(self) -> None:
        host = self._world.hosts[self._host()]
        host.kill_agent()
        self._passes(host.start_agent)

    def _agent_is_stopped(self) -> None:
        host = self._world.hosts[self._host()]
        host.wedge()
        self._passes(host.unwedge)

    def _host_dies(self) -> None:
        host = self._world.hosts[self._host()]
        host.crash()
        self._passes(host.boot, 60)

    def _is_cut(self) -> None:
        network = self._world.network
        ends = [self._host(), REGION]
        self._fault.shuffle(ends)
        network.cut(ends[0], ends[1], both=self._fault.random() < 1 / 2)
        cut = {(ends[0], ends[1]), (ends[1], ends[0])}
        self._passes(partial(network.cuts.difference_update, cut))

    def _loses(self) -> None:
        network = self._world.network
        network.loss, network.doubling = self._fault.random() / 4, self._fault.random() / 4
        network.delay_max_us = self._fault.choice((20_000, SECOND_US, 9 * SECOND_US))

        def pass_by() -> None:
            network.loss = network.doubling = 0.0
            network.delay_max_us = 20_000

        self._passes(pass_by, 20)

    def _region_dies(self) -> None:
        self._world.region.crash()
        self._passes(self._world.region.start, 15)

    def _region_freezes(self) -> None:
        self._world.region.freeze(self._fault.randrange(20 * SECOND_US))

    def _disk_is_slow(self) -> None:
        region = self._world.region
        region.sync_max_us = self._fault.choice((SECOND_US, 6 * SECOND_US))
        self._passes(partial(setattr, region, "sync_max_us", 8_000), 20)

    def _disk_is_full(self) -> None:
        disk, chance = self._world.region.disk, self._world.kernel.chance("disk")

        def fault(step: str, _number: int) -> StoreFullError | None:
            full = step == "write" and chance.random() < 1 / 2
            return StoreFullError("no space is left") if full else None

        disk.fault = fault
        self._passes(partial(setattr, disk, "fault", lambda _step, _number: None), 15)
