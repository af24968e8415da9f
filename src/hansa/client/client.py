"""A region as calls: each sends one request, or a stream of them, and raises what refuses it.

Documents are passed on as the server sent them: what we do not know of them is kept.
"""

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, NamedTuple, Self

import httpx

from hansa.client import paths
from hansa.client.errors import ApiError, UnreachableError

Document = dict[str, Any]
"""An object of the API, as JSON."""
Trace = Callable[[str], None]
"""Told of each request: method, path, status and time; never a header."""
Progress = Callable[[int, int], None]
"""Told of an upload: bytes that are there, of bytes in all."""

_CONNECT_S, _ANSWER_S, _QUIET_S, _VERIFY_S = 5, 30, 20, 600
PIECE_BYTES: Final = 4 << 20
_ATTEMPTS: Final = 5


class Content(NamedTuple):
    """What is to be uploaded: one part of an image, from a file of `total` bytes."""

    key: str
    part: str
    file: BinaryIO
    total: int
    digest: str


class Client:
    """Speaks to one endpoint in the name of one token."""

    def __init__(
        self,
        endpoint: str,
        token: str = "",
        *,
        ca: str | None = None,
        transport: httpx.BaseTransport | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Connect to nobody yet; `ca` is a file with the certificate of a region's own CA."""
        self.endpoint = endpoint.rstrip("/")
        self._trace = trace
        is_tls = self.endpoint.startswith("https:")
        # Nothing of the environment: a .netrc would send other credentials than the context's.
        self._http = httpx.Client(
            base_url=self.endpoint,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=ssl.create_default_context(cafile=ca) if is_tls else False,
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        """Be closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, kind: str, key: str) -> Document:
        """Return one object."""
        return _document(self._send("GET", paths.noun_path(kind, key)))

    def find(self, kind: str, key: str) -> Document | None:
        """Return one object, None if it is not there."""
        try:
            return self.get(kind, key)
        except ApiError as error:
            if error.code == "not-found":
                return None
            raise

    def list(self, kind: str, home: str = "", *, labels: str = "") -> Iterator[Document]:
        """Yield all objects that live in `home`, page by page."""
        path, token = paths.collection_path(kind, home), ""
        while True:
            asked = {"labels": labels, "skipToken": token}
            params = {name: said for name, said in asked.items() if said}
            page = _document(self._send("GET", path, params=params))
            yield from page.get("items") or ()
            token = (page.get("metadata") or {}).get("skipToken") or ""
            if not token or not page.get("items"):
                return

    def put(
        self, kind: str, key: str, document: Mapping[str, Any], *, version: int | None = None
    ) -> Document:
        """Create or replace one object; with `version`, only if it has that one."""
        headers = _only_if(version)
        path = paths.noun_path(kind, key)
        return _document(self._send("PUT", path, json=document, headers=headers))

    def delete(self, kind: str, key: str, *, version: int | None = None) -> None:
        """Ask that an object be deleted; it is gone when `find` does not find it."""
        self._send("DELETE", paths.noun_path(kind, key), headers=_only_if(version))

    def act(self, kind: str, key: str, verb: str) -> None:
        """Ask a noun's own verb of it: `start`, `stop`, `restart`."""
        self._send("POST", f"{paths.noun_path(kind, key)}/{verb}")

    def watch(
        self, tenant: str, *, since: str = "", kinds: tuple[str, ...] = (), workspace: str = ""
    ) -> Iterator[Document]:
        """Yield changes as they happen, and between them lines that only have a `revision`."""
        asked = {"since": since, "kind": ",".join(kinds), "workspace": workspace}
        params = {name: said for name, said in asked.items() if said}
        with self._stream("GET", f"{paths.TENANT}/{tenant}/watch", params=params) as reply:
            for line in reply.iter_lines():
                yield json.loads(line)

    def explain(self, key: str) -> Document:
        """Return `hansa.explain/1` of an instance."""
        return _document(self._send("GET", paths.instance_path(key, "explain")))

    def log(self, key: str, *, tail_bytes: int = 0) -> str:
        """Return the end of an instance's serial log."""
        params = {"tail": tail_bytes} if tail_bytes else {}
        return self._send("GET", paths.instance_path(key, "logs"), params=params).text

    def audit(self) -> tuple[Document, ...]:
        """Return what runs and should not, or should and does not."""
        found = _document(self._send("GET", f"{paths.OPERATOR}/audit")).get("items")
        return tuple(found or ())

    def lose(self, node: str) -> None:
        """Declare a node gone for good."""
        self._send("POST", f"{paths.noun_path('node', node)}/lost")

    def backup(self, file: BinaryIO) -> int:
        """Write the region's state into a file; return its bytes."""
        size = 0
        with self._stream("POST", f"{paths.OPERATOR}/backup") as reply:
            for chunk in reply.iter_bytes():
                size += file.write(chunk)
        return size

    def upload(self, content: Content, report: Progress) -> bool:
        """Bring an image's part in, from where an upload broke off; False if it was there."""
        for attempt in range(_ATTEMPTS):
            at = self._uploaded(content)
            if at is None:
                return False
            try:
                self._pieces(content, at, report)
            except (UnreachableError, ApiError) as error:
                is_cut = isinstance(error, UnreachableError) or error.code == "range-invalid"
                if not is_cut or attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        return True

    def _uploaded(self, content: Content) -> int | None:
        """Return how much of a part is there; None if all is, and verified."""
        params = {"part": content.part}
        reply = self._send("HEAD", paths.content_path(content.key), params=params)
        verified = reply.headers.get("ETag", "").strip('"')
        if verified == content.digest:
            return None
        said = reply.headers.get("Upload-Offset", "")
        offset = int(said) if said.isdigit() and not verified else 0
        return offset if offset < content.total else 0

    def _pieces(self, content: Content, at: int, report: Progress) -> None:
        content.file.seek(at)
        while at < content.total:
            piece = content.file.read(PIECE_BYTES)
            if not piece:
                raise OSError("the file became shorter while it was read")
            end = at + len(piece)
            self._send(
                "PUT",
                paths.content_path(content.key),
                params={"part": content.part, "sha256": content.digest},
                headers={"Content-Range": f"bytes {at}-{end - 1}/{content.total}"},
                content=piece,
                timeout=httpx.Timeout(_VERIFY_S, connect=_CONNECT_S),
            )
            at = end
            report(at, content.total)

    def _send(self, method: str, path: str, **how: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        try:
            reply = self._http.request(method, path, **how)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if self._trace:
            ms = reply.elapsed.total_seconds() * 1000
            self._trace(f"{method} {path} {reply.status_code} {ms:.0f} ms")
        _check(reply)
        return reply

    @contextmanager
    def _stream(self, method: str, path: str, **how: Any) -> Iterator[httpx.Response]:  # noqa: ANN401 - httpx's
        try:
            timeout = httpx.Timeout(_QUIET_S, connect=_CONNECT_S)
            with self._http.stream(method, path, timeout=timeout, **how) as reply:
                if self._trace:
                    self._trace(f"{method} {path} {reply.status_code}, a stream")
                if reply.is_error:
                    reply.read()
                _check(reply)
                yield reply
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.HTTPError) -> UnreachableError:
        return UnreachableError(self.endpoint, str(error) or type(error).__name__)


def _only_if(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Unmodified-Since": str(version)}


def _check(reply: httpx.Response) -> None:
    if reply.is_success:
        return
    try:
        problem = reply.json()
    except ValueError:
        problem = None
    request = f"{reply.request.method} {reply.request.url.path}"
    raise ApiError(reply.status_code, problem if isinstance(problem, dict) else {}, request)


def _document(reply: httpx.Response) -> Document:
    """Return the object that was answered."""
    try:
        said = reply.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        asked = f"{reply.request.method} {reply.request.url.path}"
        why = f"the answer to {asked} is no object of JSON: is this a region?"
        raise UnreachableError(str(reply.request.url), why)
    return said
