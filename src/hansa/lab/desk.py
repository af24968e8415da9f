"""One tenant's desk: a client that is in one workspace, as a person at a command line is."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hansa.client.client import Client, Content
from hansa.model.naming import scope

Json = dict[str, Any]


class Desk:
    """Names are of this workspace; that of a subnet says its network: `net/sub`."""

    def __init__(self, client: Client, tenant: str, workspace: str) -> None:
        """Sit down."""
        self.client = client
        self._at = {"tenant": tenant, "workspace": workspace}

    def key(self, kind: str, name: str) -> str:
        """Return the key of a noun."""
        return "/".join((*self._home(kind), name))

    def get(self, kind: str, name: str) -> Json:
        """Return one object."""
        return self.client.get(kind, self.key(kind, name))

    def find(self, kind: str, name: str) -> Json | None:
        """Return one object, if it is there."""
        return self.client.find(kind, self.key(kind, name))

    def each(self, kind: str) -> Iterator[Json]:
        """Yield all objects of a kind."""
        return self.client.list(kind, "/".join(self._home(kind)))

    def put(self, kind: str, name: str, spec: Json, **more: Json) -> Json:
        """Create or update one."""
        return self.client.put(kind, self.key(kind, name), {"spec": spec, **more})

    def delete(self, kind: str, name: str) -> None:
        """Ask that one be deleted."""
        self.client.delete(kind, self.key(kind, name))

    def start(self, name: str) -> None:
        """Turn an instance on."""
        self.client.act("instance", self.key("instance", name), "start")

    def explain(self, name: str) -> Json:
        """Return why an instance runs where it runs."""
        return self.client.explain(self.key("instance", name))

    def upload(self, image: str, part: str, path: Path) -> str:
        """Bring a part of an image in; return its digest."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = Content(self.key("image", image), part, file, path.stat().st_size, digest)
            self.client.upload(content, lambda _done, _total: None)
        return digest

    def _home(self, kind: str) -> list[str]:
        return [self._at[member] for member in scope(kind) if member in self._at]
