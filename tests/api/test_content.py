"""Content of images: whole, in pieces, broken off, and not what was announced."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from hansa.model.envelope import Key
from hansa.model.image import Content, Image
from hansa.model.refusal import Refusal
from hansa.serve import content as uploads

from .inmemory import GUEST, ROOT, URL, Api

IMAGE = "/seca.storage/v1/tenants/t1/images/it"
CONTENT = "/hansa.tenant/v1/tenants/t1/images/it/content"
BLOBS = "/hansa.operator/v1/blobs"
DATA = bytes(range(256)) * 40
DIGEST = sha256(DATA).hexdigest()


@pytest.fixture
def api(tmp_path: Path) -> Api:
    made = Api(tmp_path)
    made.make(IMAGE, {"blockStorageRef": {"resource": "images/it"}, "cpuArchitecture": "amd64"})
    return made


def send(api: Api, first: int, end: int, query: str = "") -> httpx.Response:
    said = f"bytes {first}-{end - 1}/{len(DATA)}"
    return api.call("PUT", CONTENT + query, content=DATA[first:end], content_range=said)


def manifest(api: Api) -> dict[str, Content]:
    return dict(api.backend.state.of(Image)[Key("t1/it")].manifest.blobs)


def refused(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["meta"]["code"]


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*") if each.is_file())


def test_a_whole_one_is_verified_kept_by_its_digest_and_read_again(
    api: Api, tmp_path: Path
) -> None:
    reply = api.call("PUT", f"{CONTENT}?sha256={DIGEST}", content=DATA)
    expected = {"digest": DIGEST, "sizeBytes": len(DATA), "virtualBytes": 1 << 20}
    assert (reply.status_code, reply.json()) == (200, expected)
    assert files(tmp_path) == [DIGEST]
    assert api.call("GET", IMAGE).json()["status"]["content"] == {"disk": expected}
    assert api.call("GET", CONTENT).content == DATA
    assert api.call("GET", f"{BLOBS}/{DIGEST}").content == DATA


def test_its_pieces_are_put_together_and_another_part_is_beside_it(api: Api) -> None:
    assert api.call("HEAD", CONTENT).headers["upload-offset"] == "0"
    first = send(api, 0, 4000)
    assert (first.status_code, first.headers["upload-offset"]) == (202, "4000")
    assert api.call("HEAD", CONTENT).headers["upload-offset"] == "4000"
    assert manifest(api) == {}
    last = send(api, 4000, len(DATA), f"?sha256={DIGEST}")
    assert (last.status_code, last.json()["digest"]) == (200, DIGEST)
    kernel = api.call("PUT", f"{CONTENT}?part=kernel", content=b"kernel")
    assert kernel.json()["virtualBytes"] == 0
    assert manifest(api).keys() == {"disk", "kernel"}
    done = api.call("HEAD", CONTENT).headers
    assert (done["upload-offset"], done["etag"]) == (str(len(DATA)), f'"{DIGEST}"')


def test_a_piece_out_of_place_is_told_where_to_go_on(api: Api) -> None:
    send(api, 0, 4000)
    for first in (3999, 4001):
        reply = send(api, first, 5000)
        assert refused(reply) == (416, "range-invalid")
        assert reply.headers["upload-offset"] == "4000"
        assert reply.json()["meta"]["facts"] == {"offset": 4000}
    assert send(api, 0, 3000).headers["upload-offset"] == "3000"  # It begins anew.


async def cut(api: Api, body: bytes, then: MutableMapping[str, Any]) -> None:
    events = [{"type": "http.request", "body": body, "more_body": True}, then]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return events.pop(0)

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    headers = [
        (b"authorization", f"Bearer {ROOT}".encode()),
        (b"content-length", str(len(DATA)).encode()),
    ]
    path = f"/providers{CONTENT}"
    scope = {"type": "http", "method": "PUT", "path": path, "query_string": b"", "headers": headers}
    await api.app(scope, receive, send)


def test_one_that_breaks_off_resumes_where_it_did(api: Api) -> None:
    asyncio.run(cut(api, DATA[:5000], {"type": "http.disconnect"}))
    assert manifest(api) == {}
    assert api.call("HEAD", CONTENT).headers["upload-offset"] == "5000"
    assert send(api, 5000, len(DATA)).json()["digest"] == DIGEST


def test_a_short_body_is_no_whole_one(api: Api) -> None:
    asyncio.run(cut(api, DATA[:5000], {"type": "http.request", "body": b""}))
    assert manifest(api) == {}
    assert api.call("HEAD", CONTENT).headers["upload-offset"] == "5000"


def test_a_long_body_is_not_written_beyond_its_range(api: Api) -> None:
    said = f"bytes 0-9/{len(DATA)}"
    reply = api.call("PUT", CONTENT, content=DATA[:11], content_range=said)
    assert refused(reply) == (416, "range-invalid")
    assert api.call("HEAD", CONTENT).headers["upload-offset"] == "0"


def test_one_without_a_length_ends_where_it_ends(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield DATA[:100]
        yield DATA[100:]

    async def upload() -> httpx.Response:
        transport = httpx.ASGITransport(app=api.app)
        headers = {"authorization": f"Bearer {ROOT}"}
        async with httpx.AsyncClient(transport=transport, base_url=URL, headers=headers) as client:
            return await client.put(f"/providers{CONTENT}", content=pieces())

    assert asyncio.run(upload()).json()["digest"] == DIGEST


def test_other_content_than_announced_is_not_kept(api: Api, tmp_path: Path) -> None:
    announced = sha256(b"other").hexdigest()
    reply = api.call("PUT", f"{CONTENT}?sha256={announced}", content=DATA)
    assert refused(reply) == (412, "checksum-mismatch")
    assert reply.json()["meta"]["facts"] == {"announced": announced, "found": DIGEST}
    assert (files(tmp_path), manifest(api)) == ([], {})


def test_what_is_no_image_is_not_kept(api: Api, tmp_path: Path) -> None:
    api.backend.inspected = Refusal(code="image-has-backing", message="it needs another file")
    assert refused(api.call("PUT", CONTENT, content=DATA)) == (412, "image-has-backing")
    assert refused(api.call("PUT", f"{CONTENT}?part=initrd", content=b"")) == (412, "image-invalid")
    assert (files(tmp_path / "partial"), manifest(api)) == (["t1~it.initrd"], {})


def test_a_raw_image_has_the_digest_of_what_it_became(api: Api) -> None:
    reply = api.call("PUT", f"{CONTENT}?sha256={sha256(b'raw!').hexdigest()}", content=b"raw!")
    assert reply.json()["digest"] == sha256(b"cooked!").hexdigest()


def test_it_begins_only_if_there_is_room(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MARGIN_BYTES", 1 << 62)
    reply = api.call("PUT", CONTENT, content=DATA)
    assert refused(reply) == (507, "store-full")
    assert reply.headers["retry-after"]


@pytest.mark.parametrize(
    ("query", "said", "expected"),
    [
        ("?part=bios", "", (400, "parameter-invalid")),
        ("?sha256=abc", "", (400, "parameter-invalid")),
        ("", "bytes */10", (400, "parameter-invalid")),
        ("", "bytes 5-4/10", (416, "range-invalid")),
        ("", "bytes 0-10/10", (416, "range-invalid")),
    ],
)
def test_what_it_says_must_make_sense(
    api: Api, query: str, said: str, expected: tuple[int, str]
) -> None:
    reply = api.call("PUT", CONTENT + query, content=b"x", content_range=said)
    assert refused(reply) == expected


def test_who_may_not_write_the_image_may_not_write_its_content(api: Api, tmp_path: Path) -> None:
    assert refused(api.call("PUT", CONTENT, content=DATA, who=GUEST)) == (403, "not-allowed")
    other = CONTENT.replace("/it/", "/other/")
    assert refused(api.call("PUT", other, content=DATA)) == (404, "not-found")
    assert refused(api.call("GET", CONTENT)) == (404, "not-found")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=10-19", 10, 20),
        ("bytes=10-", 10, None),
        ("bytes=-7", -7, None),
        ("bytes=0-", 0, None),
    ],
)
def test_a_range_of_a_blob_is_read(api: Api, asked: str, begin: int, end: int | None) -> None:
    api.call("PUT", CONTENT, content=DATA)
    reply = api.call("GET", f"{BLOBS}/{DIGEST}", range=asked)
    part = DATA[begin:end]
    assert (reply.status_code, reply.content) == (206, part)
    first = begin % len(DATA)
    said = f"bytes {first}-{first + len(part) - 1}/{len(DATA)}"
    assert reply.headers["content-range"] == said


def test_a_range_that_is_not_there_and_a_blob_that_is_not_are_refused(api: Api) -> None:
    api.call("PUT", CONTENT, content=DATA)
    for asked in ("bytes=99999-", "bytes=5-4", "bytes=-0", "bits=1-2", "bytes=a-b"):
        reply = api.call("GET", f"{BLOBS}/{DIGEST}", range=asked)
        assert refused(reply) == (416, "range-invalid")
    assert refused(api.call("GET", f"{BLOBS}/{'0' * 64}")) == (404, "not-found")
    assert refused(api.call("GET", f"{BLOBS}/partial")) == (400, "parameter-invalid")
