"""The client, against servers that are functions."""

import hashlib
import io
import json
from collections.abc import Callable

import httpx
import pytest

from hansa.client.client import PIECE_BYTES, Client, Content
from hansa.client.errors import ApiError, UnreachableError

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, lines: list[str] | None = None) -> Client:
    trace = None if lines is None else lines.append
    transport = httpx.MockTransport(answer)
    return Client("http://region.example/", "secret", transport=transport, trace=trace)


def test_an_object_is_asked_for_at_its_path_with_the_token() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b'{"spec": {"x": 1}}'))

    lines: list[str] = []
    with client(answer, lines) as region:
        assert region.get("subnet", "main/default/net/a") == {"spec": {"x": 1}}
    path = "/providers/seca.network/v1/tenants/main/workspaces/default/networks/net/subnets/a"
    assert path == asked[0].url.path
    assert asked[0].headers["authorization"] == "Bearer secret"
    assert f"GET {path} 200" in lines[0]
    assert "secret" not in lines[0]


def test_a_name_cannot_lead_to_another_path() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"path": request.url.raw_path.decode()})

    with client(answer) as region:
        said = region.get("node", "a?b=1#c")
    assert said["path"] == "/providers/hansa.operator/v1/nodes/a%3Fb%3D1%23c"


def test_a_list_walks_all_pages_under_the_same_filter() -> None:
    pages = {"": (["a", "b"], "t1"), "t1": (["c"], "t2"), "t2": ([], None)}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["labels"] == "env=prod"
        names, token = pages[request.url.params.get("skipToken", "")]
        metadata = {"skipToken": token} if token else {}
        return httpx.Response(200, json={"items": [{"n": n} for n in names], "metadata": metadata})

    with client(answer) as region:
        found = [each["n"] for each in region.list("instance", "main/default", labels="env=prod")]
    assert found == ["a", "b", "c"]


def test_a_refusal_is_known_by_its_code_and_not_by_its_status() -> None:
    problem = {
        "type": "http://secapi.cloud/errors/resource-conflict",
        "status": 412,
        "detail": "no node has room",
        "sources": [{"pointer": "/spec/zone"}],
        "meta": {
            "code": "no-capacity",
            "retry": True,
            "fix": "wait",
            "reasons": [{"rule": "room"}],
        },
    }
    with (
        client(lambda _: httpx.Response(412, json=problem)) as region,
        pytest.raises(ApiError) as told,
    ):
        region.act("instance", "main/default/web", "start")
    error = told.value
    assert (error.code, error.status, error.retryable) == ("no-capacity", 412, True)
    assert (error.pointer, error.fix, error.reasons) == ("/spec/zone", "wait", ({"rule": "room"},))
    assert str(error) == "no node has room"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not-found"),
        (403, "not-allowed"),
        (409, "refused"),
        (503, "busy"),
        (500, "server-error"),
    ],
)
def test_of_a_foreign_server_the_status_must_do(status: int, code: str) -> None:
    replies = iter([httpx.Response(status, text="<html>no"), httpx.Response(status, json=["no"])])
    with client(lambda _: next(replies)) as region:
        for _ in range(2):
            with pytest.raises(ApiError) as told:
                region.get("region", "r")
            assert code == told.value.code


def test_what_is_not_there_is_none() -> None:
    with client(lambda _: httpx.Response(404)) as region:
        assert region.find("image", "main/tiny") is None


def test_a_version_is_sent_as_the_precondition() -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("if-unmodified-since"))
        return httpx.Response(200, json={})

    with client(answer) as region:
        region.put("image", "main/tiny", {"spec": {}}, version=7)
        region.delete("image", "main/tiny")
    assert sent == ["7", None]


def test_who_does_not_answer_is_unreachable() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with client(answer) as region, pytest.raises(UnreachableError, match=r"region\.example"):
        next(region.watch("main"))
    with (
        client(lambda _: httpx.Response(200, text="hello")) as region,
        pytest.raises(UnreachableError),
    ):
        region.get("region", "r")


def test_a_watch_yields_its_lines() -> None:
    lines = [{"revision": "1.1"}, {"revision": "1.2", "change": "put"}]

    def answer(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"since": "1.0", "kind": "nic,instance"}
        return httpx.Response(200, text="".join(json.dumps(each) + "\n" for each in lines))

    with client(answer) as region:
        assert lines == list(region.watch("main", since="1.0", kinds=("nic", "instance")))


class Store:
    """A server of content that loses one piece on its way."""

    def __init__(self, *, has: bytes = b"", cuts: int = 1) -> None:
        self.bytes, self.cuts, self.etag = bytearray(has), cuts, ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            headers = {"Upload-Offset": str(len(self.bytes)), "ETag": f'"{self.etag}"'}
            return httpx.Response(200, headers=headers)
        said = request.headers["content-range"]
        begin, total = int(said.split()[1].partition("-")[0]), int(said.rpartition("/")[2])
        if begin == PIECE_BYTES and self.cuts:
            self.cuts -= 1
            self.bytes += request.content[:1000]
            raise httpx.ReadError("cut", request=request)
        assert begin in (0, len(self.bytes))
        self.bytes[begin:] = request.content
        if len(self.bytes) == total:
            self.etag = hashlib.sha256(self.bytes).hexdigest()
        return httpx.Response(200 if self.etag else 202, json={})


def content_of(data: bytes) -> Content:
    digest = hashlib.sha256(data).hexdigest()
    return Content("main/it", "disk", io.BytesIO(data), len(data), digest)


def test_an_upload_goes_on_where_it_was_cut() -> None:
    data, store, told = b"x" * (2 * PIECE_BYTES + 5000), Store(), list[tuple[int, int]]()
    with client(store) as region:
        assert region.upload(content_of(data), lambda at, total: told.append((at, total)))
        assert data == store.bytes
        assert [PIECE_BYTES, 2 * PIECE_BYTES + 1000, len(data)] == [at for at, _ in told]
        assert not region.upload(content_of(data), lambda *_: None)


def test_an_upload_that_is_always_cut_ends() -> None:
    data = b"x" * (PIECE_BYTES + 5)
    store = Store(cuts=100)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Upload-Offset": str(PIECE_BYTES)})
        return store(request)

    with client(answer) as region, pytest.raises(UnreachableError):
        region.upload(content_of(data), lambda *_: None)
    assert store.cuts == 95
