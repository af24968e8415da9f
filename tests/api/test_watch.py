"""Watches: what is new, since when, and for whom."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.model.state import Delete
from hansa.serve import watch

from .inmemory import GUEST, ROOT, Api

T = "/seca.workspace/v1/tenants/t1/workspaces"
WATCH = "/hansa.tenant/v1/tenants/t1/watch"
Line = dict[str, Any]


class Stream:
    """One open watch."""

    def __init__(self) -> None:
        self.gone, self.status = asyncio.Event(), 0
        self._lines: asyncio.Queue[Line] = asyncio.Queue()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: MutableMapping[str, Any]) -> None:
        self.status = event.get("status", self.status)
        for line in event.get("body", b"").splitlines():
            self._lines.put_nowait(msgspec.json.decode(line))

    def end(self, _: object) -> None:
        self._lines.put_nowait({"ended": True})

    async def line(self) -> Line:
        return await asyncio.wait_for(self._lines.get(), 60)


@asynccontextmanager
async def watching(api: Api, query: str = "", who: str = ROOT) -> AsyncIterator[Stream]:
    stream = Stream()
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/providers{WATCH}",
        "query_string": query.encode(),
        "headers": [(b"authorization", f"Bearer {who}".encode())],
    }
    task = asyncio.ensure_future(api.app(scope, stream.receive, stream.send))
    task.add_done_callback(stream.end)
    try:
        yield stream
    finally:
        stream.gone.set()
        await task


def run(work: Callable[[Api], Coroutine[None, None, None]], folder: Path) -> None:
    """Run it with a new region, and see that nobody reads the news any more at its end."""

    async def whole() -> None:
        api = Api(folder)
        await work(api)
        assert api.backend.readers == 0

    asyncio.run(whole())


async def make(api: Api, name: str, tenant: str = "t1", **more: object) -> None:
    path = f"{T.replace('t1', tenant)}/{name}"
    reply = await api.send("PUT", path, {"spec": {}, **more})
    assert reply.status_code in (200, 201)


def test_from_now_on_each_change_is_told_as_a_get_would(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        await make(api, "before")
        async with watching(api) as stream:
            begin = await stream.line()
            assert (stream.status, begin) == (200, {"revision": "1.2"})
            await make(api, "elsewhere", "t2")
            await make(api, "w1", labels={"a": "b"})
            line = await stream.line()
            shown = (await api.send("GET", f"{T}/w1")).json()
            said = {"revision": "1.4", "change": "put", "kind": "workspace", "key": "t1/w1"}
            assert line == said | {"object": shown}
            api.backend.commit(Delete(kind="workspace", key=Key("t1/w1")))
            assert await stream.line() == said | {"revision": "1.5", "change": "delete"}

    run(work, tmp_path)


def test_it_goes_on_where_a_list_was_read_and_where_another_watch_ended(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        await make(api, "w1")
        page = (await api.send("GET", T)).json()["metadata"]["revision"]
        await make(api, "w2")
        async with watching(api, f"since={page}") as stream:
            assert (await stream.line())["key"] == "t1/w2"
            await make(api, "w3")
            assert (await stream.line())["key"] == "t1/w3"
            async with watching(api, f"since={page}") as other:
                assert [(await other.line())["key"] for _ in range(2)] == ["t1/w2", "t1/w3"]

    run(work, tmp_path)


def test_only_what_is_asked_for_and_allowed_is_told(tmp_path: Path) -> None:
    instances = "/seca.compute/v1/tenants/t1/workspaces"
    vm = {"skuRef": {"resource": "D2XS"}, "zone": "a"}
    disk = {"bootVolume": {"deviceRef": {"resource": "block-storages/d"}}}
    size = {"sizeGB": 1, "skuRef": {"resource": "RD500"}}

    async def work(api: Api) -> None:
        async with (
            watching(api, "kind=instance,block-storage&workspace=w2") as some,
            watching(api, who=GUEST) as guest,
        ):
            for each in (some, guest):
                await each.line()
            for w in ("w1", "w2"):
                await make(api, w)
                disks = f"/seca.storage/v1/tenants/t1/workspaces/{w}/block-storages/d"
                await api.send("PUT", disks, {"spec": size})
                spec = vm | disk | {"userData": "c2VjcmV0"}
                made = await api.send("PUT", f"{instances}/{w}/instances/i", {"spec": spec})
                assert made.status_code == 201
            told = [await some.line() for _ in range(2)]
            assert [each["kind"] for each in told] == ["block-storage", "instance"]
            assert {each["key"].split("/")[1] for each in told} == {"w2"}
            assert "userData" not in told[1]["object"]["spec"]
            kinds = [(await guest.line())["kind"] for _ in range(4)]
            assert kinds == ["workspace", "instance"] * 2

    run(work, tmp_path)


def test_who_is_too_slow_for_the_memory_is_served_by_the_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "KEPT", 1)

    async def work(api: Api) -> None:
        async with watching(api) as stream:
            await stream.line()
            for at in range(5):
                await make(api, f"w{at}")
            keys = [(await stream.line()).get("key") for _ in range(5)]
            assert keys == [f"t1/w{at}" for at in range(5)]

    run(work, tmp_path)


def test_a_quiet_watch_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUIET_S", 0)

    async def work(api: Api) -> None:
        async with watching(api) as stream:
            assert [await stream.line() for _ in range(2)] == [{"revision": "1.1"}] * 2
            await make(api, "elsewhere", "t2")
            assert await stream.line() == {"revision": "1.2"}

    run(work, tmp_path)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since=0.9", (410, "revision-trimmed")),
        ("since=1.99", (400, "parameter-invalid")),
        ("since=yesterday", (400, "parameter-invalid")),
        ("kind=dragon", (400, "parameter-invalid")),
        ("kind=node", (400, "parameter-invalid")),
    ],
)
def test_what_cannot_be_told_is_refused_at_once(
    tmp_path: Path, query: str, expected: tuple[int, str]
) -> None:
    async def work(api: Api) -> None:
        api.backend.base = Stamp(1, 1)
        reply = await api.send("GET", f"{WATCH}?{query}")
        assert (reply.status_code, reply.json()["meta"]["code"]) == expected

    run(work, tmp_path)


@pytest.mark.parametrize("query", ["kind=image", "kind=workspace,image"])
def test_who_may_not_list_a_kind_may_not_watch_it(tmp_path: Path, query: str) -> None:
    async def work(api: Api) -> None:
        reply = await api.send("GET", f"{WATCH}?{query}", who=GUEST)
        assert (reply.status_code, reply.json()["meta"]["code"]) == (403, "not-allowed")

    run(work, tmp_path)
