"""A sync client: paths from the registry, refusals as exceptions that keep their data."""

import hashlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from hansa.errors import HansaError
from hansa.model.naming import path
from hansa.model.registry import BY_KIND

PIECE_BYTES: Final = 8 << 20
Json = dict[str, Any]


class ApiError(HansaError):
    """The server refused: `code` is ours where the server is Hansa, else by the status."""

    def __init__(self, status: int, problem: Json) -> None:
        """Keep what it said."""
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP {status}"))
        self.status, self.problem = status, problem
        self.code = problem.get("meta", {}).get("code", f"http-{status}")


class UnreachableError(HansaError):
    """No answer came."""

    code = "busy"
    retryable = True


class Client:
    """One server, one tenant, one workspace."""

    def __init__(
        self, endpoint: str, token: str, *, ca: str = "", tenant: str = "main",
        workspace: str = "default",
    ) -> None:  # fmt: skip
        """Keep where it is and who we are; nothing is asked yet."""
        self.tenant, self.workspace = tenant, workspace
        self._http = httpx.Client(
            base_url=endpoint,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=ca) if ca else False,
            timeout=60,
            trust_env=False,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def url(self, kind: str, name: str, verb: str = "") -> str:
        """Return the path of a noun; the name of a subnet says its network, as `net/name`."""
        network, _, own = name.rpartition("/")
        noun = BY_KIND[kind]
        where = path(kind).format(
            tenant=self.tenant, workspace=self.workspace, network=network, name=own
        )
        return f"/providers/{noun.provider}{where}{'/' + verb if verb else ''}"

    def get(self, kind: str, name: str) -> Json:
        """Return one object."""
        return self.ask("GET", self.url(kind, name))

    def each(self, kind: str, labels: str = "", network: str = "") -> Iterator[Json]:
        """Yield all objects of a collection, page by page."""
        url = self.url(kind, f"{network}/").rstrip("/")
        token = ""
        while True:
            asked = {name: v for name, v in (("labels", labels), ("skipToken", token)) if v}
            page = self.ask("GET", url, params=asked)
            yield from page["items"]
            token = page["metadata"].get("skipToken", "")
            if not token:
                return

    def put(self, kind: str, name: str, spec: Json, **more: Json) -> Json:
        """Create or update an object."""
        said = {"spec": spec, **{member: value for member, value in more.items() if value}}
        return self.ask("PUT", self.url(kind, name), json=said)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object; what is not there is deleted."""
        try:
            self.ask("DELETE", self.url(kind, name))
        except ApiError as error:
            if error.code != "not-found":
                raise

    def act(self, kind: str, name: str, verb: str) -> None:
        """Do one of a noun's verbs."""
        self.ask("POST", self.url(kind, name, verb))

    def explain(self, name: str) -> Json:
        """Return why an instance runs where it runs."""
        return self.ask("GET", f"{self._ours()}/instances/{name}/explain")

    def log(self, name: str) -> str:
        """Return the end of an instance's serial log."""
        return self._send("GET", f"{self._ours()}/instances/{name}/logs").text

    def audit(self) -> list[Json]:
        """Return what is assigned and not so."""
        found: list[Json] = self.ask("GET", "/providers/hansa.operator/v1/audit")["items"]
        return found

    def lose(self, node: str) -> None:
        """Declare a node lost."""
        self.ask("POST", f"/providers/hansa.operator/v1/nodes/{node}/lost")

    def backup(self, target: Path) -> None:
        """Write the region's state into a file."""
        reply = self._send("POST", "/providers/hansa.operator/v1/backup")
        with target.open("xb") as file:
            file.write(reply.content)

    def upload(
        self, image: str, part: str, source: Path, progress: Callable[[int, int], None]
    ) -> str:
        """Bring a blob of an image, from where an earlier try stopped; return its digest."""
        url = f"/providers/hansa.tenant/v1/tenants/{self.tenant}/images/{image}/content"
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            asked = {"part": part, "sha256": digest}
            total, said = source.stat().st_size, self._send("HEAD", url, params={"part": part})
            if said.headers.get("etag") == f'"{digest}"':
                return digest
            at = int(said.headers.get("upload-offset", 0))
            at = 0 if at >= total else at
            while at < total:
                file.seek(at)
                data = file.read(PIECE_BYTES)
                span = f"bytes {at}-{at + len(data) - 1}/{total}"
                self._send("PUT", url, params=asked, content=data, headers={"Content-Range": span})
                at += len(data)
                progress(at, total)
        return digest

    def ask(self, method: str, url: str, **more: Any) -> Json:  # noqa: ANN401 - httpx's own
        """Return the JSON of an answer; {} if it has none."""
        reply = self._send(method, url, **more)
        answer: Json = reply.json() if reply.content else {}
        return answer

    def _ours(self) -> str:
        return f"/providers/hansa.tenant/v1/tenants/{self.tenant}/workspaces/{self.workspace}"

    def _send(self, method: str, url: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        try:
            reply = self._http.request(method, url, **more)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self._http.base_url} does not answer: {error}") from error
        if reply.is_error:
            is_json = "json" in reply.headers.get("content-type", "")
            raise ApiError(reply.status_code, reply.json() if is_json else {})
        return reply
