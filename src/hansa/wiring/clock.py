"""The real clock."""

import time
from datetime import UTC, datetime


class RealClock:
    """CLOCK_BOOTTIME for who holds a lease, CLOCK_MONOTONIC for who waits one out."""

    def __init__(self, clock_id: int = time.CLOCK_MONOTONIC) -> None:
        """Choose the clock."""
        self._clock_id = clock_id

    def now_us(self) -> int:
        """Return the microseconds since this clock's epoch."""
        return time.clock_gettime_ns(self._clock_id) // 1000

    def today(self) -> datetime:
        """Return the instant in UTC."""
        return datetime.now(UTC)
