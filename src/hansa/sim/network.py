"""The network: it delays, loses and doubles messages, and is cut one way or both."""

from collections.abc import Callable
from functools import partial

from hansa.sim.kernel import Kernel
from hansa.wire.messages import Message, decode, encode

REGION = "region"
Taker = Callable[[str, Message], None]
Filter = Callable[[str, str, Message], int | None]
"""Given sender, receiver and message: microseconds of delay, or None as usual; -1 loses it."""


class Network:
    """Carries bytes between named ends; what is under way when a cut begins still arrives."""

    def __init__(self, kernel: Kernel) -> None:
        """Begin whole and honest."""
        self._kernel, self._chance = kernel, kernel.chance("network")
        self._takers: dict[str, Taker] = {}
        self.cuts: set[tuple[str, str]] = set()
        self.loss = self.doubling = 0.0
        self.delay_max_us = 20_000
        self.rule: Filter | None = None
        self.carried: list[tuple[str, str, Message]] = []
        self.keeps = False  # A scenario that replays old messages wants them kept.

    def join(self, name: str, taker: Taker) -> None:
        """Deliver to `taker` what is sent to `name`."""
        self._takers[name] = taker

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """Lose what `one` sends to `other`, and the other way round."""
        self.cuts |= {(one, other), *([(other, one)] if both else [])}

    def heal(self) -> None:
        """End all cuts and tricks."""
        self.cuts.clear()
        self.loss = self.doubling = 0.0
        self.delay_max_us, self.rule = 20_000, None

    def send(self, sender: str, receiver: str, message: Message) -> None:
        """Carry a message, perhaps."""
        if self.keeps:
            self.carried.append((sender, receiver, message))
        if (sender, receiver) in self.cuts or self._chance.random() < self.loss:
            return
        for _ in range(2 if self._chance.random() < self.doubling else 1):
            delay_us = self._chance.randrange(200, self.delay_max_us)
            if self.rule and (told := self.rule(sender, receiver, message)) is not None:
                if told < 0:
                    return
                delay_us = told
            self.deliver(sender, receiver, message, delay_us)

    def deliver(self, sender: str, receiver: str, message: Message, delay_us: int) -> None:
        """Let it arrive then, whatever is cut."""
        data = encode(message)
        self._kernel.after(delay_us, partial(self._arrive, sender, receiver, data))

    def _arrive(self, sender: str, receiver: str, data: bytes) -> None:
        self._takers[receiver](sender, decode(data))
