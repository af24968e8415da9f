"""Waiting until objects are as asked for: what counts is what the region says, not the time."""

import socket
import time
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from hansa.cli.columns import Document, at, last
from hansa.cli.describing import explain_lines
from hansa.cli.failure import CliError
from hansa.cli.grammar import short_name
from hansa.cli.session import Session
from hansa.cli.units import duration_s

Goal = Literal["active", "on", "off", "answering", "gone"]
ANSWERS: Final = "hansa.eu/answers"
"""The annotation of an image that says how its guests show that they work: `http:80`, `tcp:22`."""
_POLL_S, _POLL_MAX_S, _PROBE_S = 0.1, 1.0, 2.0
_ROOM_S: Final = 10.0
"""For so long a lack of room may be one that passes: a node that is just starting."""
_NO_ROOM: Final = "no-capacity"


class Wish(NamedTuple):
    """One object, and what is waited for."""

    kind: str
    key: str
    goal: Goal


class Probe(NamedTuple):
    """How a guest is asked whether it works."""

    protocol: str
    address: str
    port: int

    @property
    def url(self) -> str:
        """Return what a person opens."""
        port = "" if (self.protocol, self.port) == ("http", 80) else f":{self.port}"
        return f"{self.protocol}://{self.address}{port}/"


def is_reached(document: Document | None, goal: Goal) -> bool:
    """Tell whether an object is as asked for, as far as the region knows.  Pure."""
    match goal:
        case "gone":
            return document is None
        case "active":
            return bool(at(document or {}, "status.state") == "active")
        case "on" | "answering":
            return bool(at(document or {}, "status.powerState") == "on")
        case "off":
            status = (document or {}).get("status") or {}
            return status.get("powerState") == "off" and status.get("powerWanted", "off") == "off"


def deadline_after(timeout: str) -> float:
    """Return the instant at which waiting ends, on the monotonic clock."""
    try:
        return time.monotonic() + duration_s(timeout)
    except ValueError:
        raise CliError("usage", f'"{timeout}" is no time', fix="--timeout 90s, 5m or 1h") from None


def wait_for(session: Session, wishes: Iterable[Wish], deadline: float) -> None:
    """Return when all are as asked for.  Raises CliError `timeout` that says what is missing."""
    for wish in wishes:
        _until(session, wish, deadline)


def _until(session: Session, wish: Wish, deadline: float) -> None:
    pause_s, enough_s = _POLL_S, time.monotonic() + _ROOM_S
    while said := _missing(session, wish):
        if _NO_ROOM in said and time.monotonic() > min(enough_s, deadline):
            raise _no_room(session, wish)
        if time.monotonic() + pause_s > deadline:
            name = short_name(wish.kind, wish.key)
            raise CliError(
                "guest-silent" if wish.goal == "answering" else "timeout",
                f'"{name}" is not {wish.goal} yet',
                why=said,
                fix=f"wait on: hansa wait {name} --for {wish.goal} · hansa describe {name}",
            )
        time.sleep(pause_s)
        pause_s = min(_POLL_MAX_S, pause_s * 1.5)


def _no_room(session: Session, wish: Wish) -> CliError:
    """Return the error that says of each node why it is refused."""
    name = wish.key.rpartition("/")[2]
    lines = explain_lines(name, session.client.explain(wish.key), "", everything=False)
    return CliError(
        _NO_ROOM,
        f'no node has room for "{name}"',
        why="\n".join(lines),
        fix=f"hansa get sku · or wait: it starts when room comes (hansa stop {name} ends that)",
    )


def _missing(session: Session, wish: Wish) -> str:
    """Return what keeps an object from being as asked for; "" if nothing does."""
    document = session.client.find(wish.kind, wish.key)
    if document is None and wish.goal != "gone":
        raise CliError("not-found", f"there is no {short_name(wish.kind, wish.key)}")
    if not is_reached(document, wish.goal):
        status = (document or {}).get("status") or {}
        told = ("state", "powerState", "code", "detail")
        return " · ".join(str(status[part]) for part in told if status.get(part)) or "it is there"
    if wish.goal != "answering":
        return ""
    probe = probe_of(session, document or {})
    if probe is None or answers(probe):
        return ""
    return f"{probe.url} does not answer"


def probe_of(session: Session, instance: Document) -> Probe | None:
    """Return how a guest is asked; None if its image says none, or the outside reaches it not."""
    tenant, workspace = session.home
    disk_name = last(at(instance, "spec.bootVolume.deviceRef"))
    disk = session.client.find("block-storage", f"{tenant}/{workspace}/{disk_name}") or {}
    image_name = last(at(disk, "spec.sourceImageRef"))
    image = session.client.find("image", f"{tenant}/{image_name}") if image_name else None
    said = str(((image or {}).get("annotations") or {}).get(ANSWERS, ""))
    protocol, _, port = said.partition(":")
    address = public_address(session, instance)
    if not address or not port.isdigit():
        return None
    return Probe(protocol, address, int(port))


def public_address(session: Session, instance: Document) -> str:
    """Return the first address at which the outside reaches an instance, or ""."""
    tenant, workspace = session.home
    nic_name = last(at(instance, "spec.primaryNicRef"))
    nic = session.client.find("nic", f"{tenant}/{workspace}/{nic_name}") if nic_name else None
    for each in at(nic or {}, "spec.publicIpRefs") or ():
        found = session.client.find("public-ip", f"{tenant}/{workspace}/{last(each)}")
        if address := at(found or {}, "status.ipAddress"):
            return str(address)
    return ""


def answers(probe: Probe) -> bool:
    """Ask a guest once: any answer is one."""
    if probe.protocol == "http":
        import httpx  # noqa: PLC0415 - slow

        try:
            httpx.get(probe.url, timeout=_PROBE_S, trust_env=False)
        except httpx.HTTPError:
            return False
        return True
    try:
        with socket.create_connection((probe.address, probe.port), timeout=_PROBE_S):
            return True
    except OSError:
        return False
