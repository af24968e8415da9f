"""The demo of one region, told line by line: each line is proved, or it stops."""

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import httpx

from hansa.client.errors import ApiError, UnreachableError
from hansa.lab.desk import Desk, Json

GUESTS: Final = {
    "web": ("a", "fence", "sub-a"),
    "db": ("a", "stay", "sub-a"),
    "far": ("b", "stay", "sub-b"),
}
PUBLIC: Final = {"web": "web-ip", "far": "far-ip"}
GUEST_S: Final = 60.0


class World(Protocol):
    """What the story needs of its hosts."""

    def build(self) -> None:
        """Make the hosts."""
        ...

    def start(self) -> None:
        """Start what does not run."""
        ...

    def start_node(self, name: str) -> None:
        """Start one node again."""
        ...

    def client(self) -> Desk:
        """Return a client."""
        ...

    def image(self) -> dict[str, str | Path]:
        """Build the image."""
        ...

    def kill_control(self) -> None:
        """Kill region, NATS and agents."""
        ...

    def kill_node(self, name: str) -> None:
        """Kill a whole node."""
        ...

    def pids(self) -> dict[str, int]:
        """Return QEMU's pids."""
        ...


class Failed(AssertionError):  # noqa: N818 - it is a verdict
    """A line of the story is not so."""


class Story:
    """Tells what it does, with the time since it began."""

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        """Begin."""
        self._world, self._say, self._began_s = world, say, time.monotonic()
        self._writes: dict[tuple[str, str], Json] = {}

    def tell(self) -> None:
        """Tell all of it."""
        self._world.build()
        self._world.start()
        client = self._world.client()
        try:
            self._nodes_up(client, 3)
            self._line(
                "region demo: 2 zones, 3 nodes, each in its own network", "TLS, joined by token"
            )
            self._image(client)
            self._make(client)
            before = self._guests_answer(client)
            self._table(client)
            client = self._survive(client, before)
            self._lose_a_node(client, before)
            self._delete(client)
        finally:
            client.client.close()

    def _line(self, what: str, more: str = "") -> None:
        took_s = int(time.monotonic() - self._began_s)
        self._say(f" {took_s // 60}:{took_s % 60:02} ✓ {what:<66} {more}".rstrip())

    def _nodes_up(self, client: Desk, count: int) -> None:
        def up() -> bool:
            nodes = list(client.each("node"))
            return sum(bool(node["status"]["verdict"] == "up") for node in nodes) >= count

        _until(up, 20, f"{count} nodes are up")

    def _put(self, client: Desk, kind: str, name: str, spec: Json, **more: Json) -> None:
        self._writes[kind, name] = client.put(kind, name, spec, **more)

    def _image(self, client: Desk) -> None:
        made = self._world.image()
        spec = {
            "blockStorageRef": {"resource": "images/tiny"},
            "cpuArchitecture": "amd64",
            "initializer": "cloudinit-22",
        }
        extensions = {"hansa.eu/cmdline": made["cmdline"], "hansa.eu/machine": "microvm"}
        self._put(client, "image", "tiny", spec, extensions=extensions)
        digests = []
        size = 0
        for part in ("kernel", "initrd"):
            source = Path(made[part])
            size += source.stat().st_size
            digests.append(client.upload("tiny", part, source))
        self._line(f"image tiny built and uploaded ({size >> 20} MiB, sha256 {digests[0][:6]}…)")

    def _make(self, client: Desk) -> None:
        ref = _ref
        self._put(client, "workspace", "demo", {})
        self._put(
            client, "network", "net", {"cidr": {"ipv4": "10.0.0.0/16"}, "skuRef": ref("skus/N1K")}
        )
        for index, zone in enumerate("ab", 1):
            cidr = {"ipv4": f"10.0.{index}.0/24"}
            self._put(client, "subnet", f"net/sub-{zone}", {"cidr": cidr, "zone": zone})
        for name, (zone, fate, subnet) in GUESTS.items():
            disk = {"sizeGB": 1, "skuRef": ref("skus/LD1K"), "sourceImageRef": ref("images/tiny")}
            self._put(client, "block-storage", f"{name}-boot", disk)
            nic: Json = {"subnetRef": ref(f"networks/net/subnets/{subnet}")}
            if name in PUBLIC:
                self._put(client, "public-ip", PUBLIC[name], {"version": "IPv4"})
                nic["publicIpRefs"] = [ref(f"public-ips/{PUBLIC[name]}")]
            self._put(client, "nic", f"{name}-nic", nic)
            spec = {
                "skuRef": ref("skus/D2XS"),
                "zone": zone,
                "bootVolume": {"deviceRef": ref(f"block-storages/{name}-boot")},
                "primaryNicRef": ref(f"nics/{name}-nic"),
                "userData": f"I am {name}",
            }
            self._put(client, "instance", name, spec, extensions={"hansa.eu/on-partition": fate})
        self._line(f"{len(self._writes)} objects active")
        for name in GUESTS:
            client.start(name)
            _until(partial(self._runs, client, name), GUEST_S, f"{name} runs")

    def _runs(self, client: Desk, name: str) -> bool:
        """Tell whether a guest is on; one after the other, since two cores boot one at a time."""
        status = client.get("instance", name)["status"]
        if status.get("code"):
            raise Failed(f"{name}: {status['code']}: {status.get('detail')}")
        return bool(status["powerState"] == "on")

    def _page(self, client: Desk, name: str) -> Json:
        """Return what a guest says of itself: from outside, or asked by a guest that has a door."""
        door = next(iter(PUBLIC))
        if name in PUBLIC:
            return _fetch(f"http://{self._public(client, name)}/")
        return _fetch(
            f"http://{self._public(client, door)}/cgi-bin/fetch?http://{_address(client, name)}/"
        )

    def _public(self, client: Desk, name: str) -> str:
        return str(client.get("public-ip", PUBLIC[name])["status"]["ipAddress"])

    def _guests_answer(self, client: Desk) -> dict[str, Json]:
        pages: dict[str, Json] = {}
        for name in GUESTS:
            answers = partial(_try, partial(self._page, client, name))
            _until(answers, GUEST_S, f"{name} answers")
            pages[name] = page = self._page(client, name)
            mac = client.get("nic", f"{name}-nic")["status"]["macAddress"]
            said = (page["user_data"].strip(), page["mac"])
            if said != (f"I am {name}", mac):
                raise Failed(f"{name} says {said}, not its own user data and MAC {mac}")
        if len({page["boot_id"] for page in pages.values()}) != len(GUESTS):
            raise Failed("guests share a boot id")
        across = _fetch(
            f"http://{self._public(client, 'far')}/cgi-bin/fetch?http://{_address(client, 'web')}/"
        )
        if across["boot_id"] != pages["web"]["boot_id"]:
            raise Failed("far, in another subnet on another node, does not reach web")
        self._line(
            "3 guests answer HTTP, from outside and from a guest of another subnet and node,"
        )
        self._say(
            f"         each with its own boot id, kernel {pages['web']['kernel']}, MAC, user data"
        )
        return pages

    def _table(self, client: Desk) -> None:
        rows = [("NAME", "POWER", "ZONE", "NODE", "ADDRESS", "PUBLIC", "EPOCH", "WHY")]
        for instance in client.each("instance"):
            name, status = instance["metadata"]["name"], instance["status"]
            why = client.explain(name)
            fits = [each["node"] for each in why["candidates"] if each["verdict"] != "refused"]
            no = [
                f"{e['node']}: {e['refused_by'][0]['rule']}"
                for e in why["candidates"]
                if e["refused_by"]
            ]
            reason = (
                f"best of {len(fits)}, score {sum(why['scores'].values())}; not {', '.join(no)}"
            )
            public = self._public(client, name) if name in PUBLIC else "-"
            epoch = ".".join(str(part) for part in status["epoch"])
            rows.append(
                (name, status["powerState"], instance["spec"]["zone"], status["node"],
                 _address(client, name), public, epoch, reason)
            )  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._say(f"         {'  '.join(cells)}".rstrip())

    def _survive(self, client: Desk, before: dict[str, Json]) -> Desk:
        pids = self._world.pids()
        self._world.kill_control()
        client.client.close()
        self._world.start()
        client = self._world.client()
        _until(lambda: _try(lambda: list(client.each("node"))), 20, "the region is back")
        self._nodes_up(client, 3)
        if self._world.pids() != pids:
            raise Failed(f"QEMU's pids were {pids}, and are {self._world.pids()}")
        for name, page in before.items():
            if self._page(client, name)["boot_id"] != page["boot_id"]:
                raise Failed(f"{name} has booted anew")
        for (kind, name), written in self._writes.items():
            if client.get(kind, name)["spec"] != written["spec"]:
                raise Failed(f"{kind} {name} is not as it was acknowledged")
        self._line("region, NATS and all three agents killed (SIGKILL) and started again;")
        count = len(self._writes)
        self._say(
            f"         3 of 3 guests kept boot id and process; {count} of {count} writes are there"
        )
        return client

    def _lose_a_node(self, client: Desk, before: dict[str, Json]) -> None:
        node = client.get("instance", "web")["status"]["node"]
        epoch = client.get("instance", "web")["status"]["epoch"]
        db_at = client.get("instance", "db")["status"]
        if db_at["node"] != node:
            raise Failed(f"web is on {node}, and db on {db_at['node']}: one node was to have both")
        self._world.kill_node(node)
        said: Json = {}

        def moved() -> bool:
            said.update(client.get("instance", "web")["status"])
            return said.get("node", node) != node and bool(said["powerState"] == "on")

        _until(moved, 90, "web is back elsewhere")
        _until(lambda: _try(lambda: self._page(client, "web")), GUEST_S, "web answers")
        if (
            said["epoch"] <= epoch
            or self._page(client, "web")["boot_id"] == before["web"]["boot_id"]
        ):
            raise Failed(f"web came back under epoch {said['epoch']}, after {epoch}")
        self._line(
            f"{node} killed: web (fence) is back on {said['node']}, epoch {said['epoch'][1]},"
        )
        self._say("         its disk made anew from its image")
        waits = client.get("instance", "db")["status"]
        if (waits["node"], waits["epoch"]) != (node, db_at["epoch"]):
            raise Failed(f"db is stay, and was taken from {node}: {waits}")
        self._say(f"         db (stay) waits for {node}, whose disk it needs")
        self._world.start_node(node)
        self._nodes_up(client, 3)

        def back() -> bool:
            return bool(self._page(client, "db")["boot_id"] != before["db"]["boot_id"])

        _until(lambda: _try(back) and back(), GUEST_S, "db is back")
        self._line(f"{node} is back: it has given web up, and db runs there again")

    def _delete(self, client: Desk) -> None:
        findings = client.client.audit()
        if findings:
            raise Failed(f"audit finds {json.dumps(findings)}")
        _delete_all(client)
        if findings := client.client.audit():
            raise Failed(f"audit finds {json.dumps(findings)}")
        self._line("all deleted; audit clean")


def _delete_all(client: Desk) -> None:
    for kind in ("instance", "block-storage", "nic", "public-ip", "network", "workspace", "image"):
        names = [each["metadata"]["name"] for each in client.each(kind)]
        for name in names:
            client.delete(kind, name)

        def gone(kind: str = kind, names: Iterable[str] = names) -> bool:
            return not any(client.find(kind, name) for name in names)

        _until(gone, 40, f"all {kind}s are gone")


def _ref(resource: str) -> Json:
    return {"resource": resource}


def _address(client: Desk, name: str) -> str:
    return str(client.get("nic", f"{name}-nic")["status"]["addresses"][0])


def _fetch(url: str) -> Json:
    reply = httpx.get(url, timeout=5, trust_env=False)
    reply.raise_for_status()
    page: Json = reply.json()
    return page


def _try(call: Callable[[], object]) -> bool:
    """Tell whether it works now."""
    try:
        call()
    except (ApiError, UnreachableError, httpx.HTTPError, ValueError, KeyError):
        return False
    return True


def _until(holds: Callable[[], bool], limit_s: float, what: str) -> None:
    end_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end_s:
            raise Failed(f"not within {limit_s:g} s: {what}")
        time.sleep(0.1)
