"""Ages, times and sizes as people read them.  Pure."""

from datetime import datetime
from typing import Final

_STEPS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def moment(text: object) -> datetime | None:
    """Return the instant that an answer says, None if it says none."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def age(text: object, now: datetime) -> str:
    """Return how long ago something was: 4s, 12m, 3h, 5d."""
    then = moment(text)
    if then is None:
        return "-"
    seconds = max(0, int((now - then).total_seconds()))
    size, unit = next((step for step in _STEPS if seconds >= step[0]), (1, "s"))
    return f"{seconds // size}{unit}"


def local_time(text: str) -> str:
    """Return an instant in this machine's zone, with its offset; other texts as they are."""
    then = moment(text)
    return then.astimezone().isoformat(sep=" ", timespec="seconds") if then else text


def measured(size_bytes: int) -> str:
    """Return measured bytes: in MiB, GiB from one on, KiB below one."""
    if size_bytes >= 1 << 30:
        return f"{size_bytes / (1 << 30):.1f} GiB"
    if size_bytes >= 1 << 20:
        return f"{size_bytes >> 20} MiB"
    return f"{-(-size_bytes >> 10)} KiB" if size_bytes else "-"


def duration_s(text: str) -> float:
    """Return the seconds of 90, 90s, 5m or 1h.  Raises ValueError."""
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    return float(text[:-1]) * factor if factor else float(text)
