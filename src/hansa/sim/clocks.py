"""Clocks that drift: each measures lengths, up to one percent wrong, from its own beginning."""

import msgspec

from hansa.sim.kernel import Kernel

SECOND_US = 1_000_000
DRIFT_PER_MILLE = 10


class Clock(msgspec.Struct, frozen=True):
    """One machine's clock, since it was begun."""

    kernel: Kernel
    per_mille: int
    offset_us: int = 0

    def now_us(self) -> int:
        """Return what it shows."""
        return self.kernel.now_us * (1000 + self.per_mille) // 1000 + self.offset_us

    def true_us(self, length_us: int) -> int:
        """Return how long it really takes until it has moved on that far."""
        return length_us * 1000 // (1000 + self.per_mille) + 1


def drawn(kernel: Kernel, name: str) -> Clock:
    """Return a clock of its own drift."""
    chance = kernel.chance(f"clock {name}")
    drift = chance.choice((-DRIFT_PER_MILLE, chance.randint(-9, 9), DRIFT_PER_MILLE))
    return Clock(kernel, drift, chance.randrange(3600 * SECOND_US))
