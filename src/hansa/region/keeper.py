"""The keeper of leases (P1): who was heard when.  It alone judges, and stores nothing.

It waits out what a node holds: from *acknowledgement*, longer than the lease by the drift of clocks
and the time that killing takes.  Nobody is judged before he could have been heard for a whole wait.
"""

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from hansa.errors import SettingsError
from hansa.model.envelope import Key
from hansa.model.node import Verdict

SECOND_US = 1_000_000
DRIFT_PERCENT = 1


class Timers(msgspec.Struct, frozen=True, kw_only=True):
    """P1's h, L, K and W, in seconds."""

    heartbeat_s: float = 3
    lease_s: float = 10
    kill_s: float = 1
    wait_s: float = 12

    def __post_init__(self) -> None:
        """Refuse what could let an instance run twice."""
        rho = DRIFT_PERCENT / 100
        if not self.wait_s * (1 - rho) > self.lease_s * (1 + rho) + self.kill_s:
            raise SettingsError(
                f"timers.wait_s: {self.wait_s} s is too short for a lease of {self.lease_s} s; "
                f"make it more than {(self.lease_s * (1 + rho) + self.kill_s) / (1 - rho):.1f}"
            )
        if self.heartbeat_s > self.lease_s / 2.5:
            raise SettingsError(
                f"timers.heartbeat_s: {self.heartbeat_s} s is too long for a lease of "
                f"{self.lease_s} s; make it at most {self.lease_s / 2.5:g}"
            )

    @property
    def lease_us(self) -> int:
        """L."""
        return int(self.lease_s * SECOND_US)

    @property
    def wait_us(self) -> int:
        """W."""
        return int(self.wait_s * SECOND_US)


class Keeper:
    """Remembers when each node was acknowledged; deadlines wait in a queue, checked when due."""

    def __init__(self, timers: Timers, nodes: Iterable[Key], now_us: int) -> None:
        """Begin by hearing everyone now."""
        self._timers, self._looked_us = timers, now_us
        self._heard: dict[Key, int] = {}
        self._silent: dict[Key, Verdict] = {}
        self._due: deque[tuple[int, Key]] = deque()
        self._waited: deque[tuple[int, Key]] = deque()
        for node in nodes:
            self.hear(node, now_us)

    def hear(self, node: Key, now_us: int) -> None:
        """Count a node's silence from now; call it when its heartbeat is acknowledged."""
        is_new = node not in self._heard or node in self._silent
        # Who asked before another was acknowledged may be answered after: that takes nothing back.
        self._heard[node] = max(now_us, self._heard.get(node, now_us))
        self._silent.pop(node, None)
        if is_new:
            self._due.append((self._heard[node] + self._timers.lease_us, node))

    def is_falling(self, node: Key) -> bool:
        """Whether *down* is proposed or taken: it gets no acknowledgement until that is back."""
        return self._silent.get(node) == "down"

    def forget(self, node: Key) -> None:
        """Judge it no more."""
        self._heard.pop(node, None)
        self._silent.pop(node, None)

    def judge(self, now_us: int, known: Mapping[Key, Verdict]) -> list[tuple[Key, Verdict]]:
        """Return the verdicts that have come due and differ from those that are known."""
        stood_still = now_us - self._looked_us > self._timers.wait_us // 4
        self._looked_us = now_us
        if stood_still:
            for node in self._heard:
                if not self.is_falling(node):
                    self._heard[node] = now_us
        verdicts: list[tuple[Key, Verdict]] = []
        for queue, after_us, verdict in (
            (self._due, self._timers.lease_us, "unknown"),
            (self._waited, self._timers.wait_us, "down"),
        ):
            verdicts += self._pass(queue, after_us, verdict, now_us)  # type: ignore[arg-type]  # of literals
        # Who is down is heard first, before it is anything else.
        return [
            (node, verdict)
            for node, verdict in verdicts
            if known.get(node) not in (verdict, "down")
        ]

    def _pass(
        self, queue: deque[tuple[int, Key]], after_us: int, verdict: Verdict, now_us: int
    ) -> list[tuple[Key, Verdict]]:
        """Take what is due off a queue; what was heard meanwhile goes back to its end."""
        reached: list[tuple[Key, Verdict]] = []
        for _ in range(len(queue)):
            if queue[0][0] > now_us:
                break
            _, node = queue.popleft()
            # It was taken out; or heard again, and has a new place in the first queue.
            if node not in self._heard or (verdict == "down") != (node in self._silent):
                continue
            due_us = self._heard[node] + after_us
            if due_us > now_us:
                queue.append((due_us, node))
                continue
            self._silent[node] = verdict
            reached.append((node, verdict))
            if verdict == "unknown":
                self._waited.append((self._heard[node] + self._timers.wait_us, node))
        return reached
