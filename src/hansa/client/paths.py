"""Where a region has what: its nouns' paths from the registry, and our own groups beside them."""

from typing import Final
from urllib.parse import quote

from hansa.model.naming import path, scope
from hansa.model.registry import BY_KIND

OPERATOR: Final = "/providers/hansa.operator/v1"
TENANT: Final = "/providers/hansa.tenant/v1/tenants"


def noun_path(kind: str, key: str) -> str:
    """Return the path of one noun."""
    members = (*scope(kind), "name")
    return _base(kind) + path(kind).format(**_named(kind, members, key))


def collection_path(kind: str, home: str) -> str:
    """Return the path of all nouns of a kind in `home`, which is a key, or "" for nowhere."""
    members = scope(kind)
    pattern = path(kind).rpartition("/")[0]
    return _base(kind) + pattern.format(**_named(kind, members, home))


def content_path(key: str) -> str:
    """Return the path of an image's content."""
    tenant, name = _parts(key)
    return f"{TENANT}/{tenant}/images/{name}/content"


def instance_path(key: str, what: str) -> str:
    """Return the path of what is told of an instance beside itself: `explain` or `logs`."""
    tenant, workspace, name = _parts(key)
    return f"{TENANT}/{tenant}/workspaces/{workspace}/instances/{name}/{what}"


def _base(kind: str) -> str:
    return f"/providers/{BY_KIND[kind].provider}"


def _named(kind: str, members: tuple[str, ...], key: str) -> dict[str, str]:
    parts = _parts(key)
    assert len(parts) == len(members), f"a {kind} is in {members}, and not at {key!r}"
    return dict(zip(members, parts, strict=True))


def _parts(key: str) -> list[str]:
    return [quote(part, safe="") for part in key.split("/")] if key else []
