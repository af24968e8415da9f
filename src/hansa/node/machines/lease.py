"""The node's side of its lease (P1): counted from the sending of what was acknowledged.

Times are of CLOCK_BOOTTIME, which runs on through suspend.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from hansa.wire.messages import Ack

SENT_MAX: Final = 64
FIRST_US: Final = 1_000_000
"""Between heartbeats before the lease is known."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What this life of the agent has sent, and until when its fence guests may run."""

    session: str  # Random at each start: an answer to a former life counts for nothing.
    number: int = 0
    sent: dict[int, int] = {}
    end_us: int = 0
    length_us: int = 0
    next_us: int = 0

    def is_live(self, now_us: int) -> bool:
        """Whether a fence guest may begin."""
        return now_us < self.end_us


def beat(lease: Lease, now_us: int) -> Lease:
    """Return it with one more heartbeat sent now; its number is the one to send."""
    number = lease.number + 1
    kept = {each: at for each, at in lease.sent.items() if each > number - SENT_MAX}
    # h <= L / 2.5; a third leaves room for one that is lost.
    pause_us = lease.length_us * 3 // 10 or FIRST_US
    return replace(lease, number=number, sent={**kept, number: now_us}, next_us=now_us + pause_us)


def hear(lease: Lease, ack: Ack) -> Lease:
    """Return it after an acknowledgement: a late, doubled one, or of a past life, is harmless."""
    if ack.session != lease.session or ack.number not in lease.sent:
        return lease
    end_us = max(lease.end_us, lease.sent[ack.number] + ack.lease_us)
    return replace(lease, end_us=end_us, length_us=ack.lease_us)
