"""Refusals: a no, as data; and the one catalogue of all codes, which server and client read.

To add one: a line in CATALOGUE, and a test that raises it.
"""

from typing import Final, Literal, NamedTuple

import msgspec

Profile = Literal["conformance", "spec"]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is not done: `code` is in the catalogue, the rest is for people and tools."""

    code: str
    message: str
    pointer: str = ""
    """The member of the request that is to blame, as a JSON pointer."""
    fix: str = ""
    """A line that cures it, fit to be pasted, if there is one."""
    facts: dict[str, str | int] = {}
    reasons: tuple[dict[str, str], ...] = ()


class Entry(NamedTuple):
    """What a code means to each who reads it."""

    title: str
    type: str  # The end of SECA's type URI.
    spec: int  # HTTP status under the profile `spec`,
    conformance: int  # and under `conformance`, in which nearly all is 412.
    exit: int  # Of the command line.
    retry: bool = False


CATALOGUE: Final[dict[str, Entry]] = {
    # The request.
    "body-not-json": Entry("The body is not JSON", "invalid-request", 400, 400, 3),
    "body-too-big": Entry("The body is too big", "invalid-request", 413, 413, 3),
    "parameter-invalid": Entry("A parameter cannot be read", "invalid-request", 400, 400, 2),
    "route-unknown": Entry("There is no such route", "resource-not-found", 404, 404, 4),
    "method-not-allowed": Entry("The route has no such method", "invalid-request", 405, 405, 2),
    "not-acceptable": Entry("Only JSON is answered", "invalid-request", 406, 406, 2),
    "media-type-unsupported": Entry("The body must be JSON", "invalid-request", 415, 415, 2),
    # Who asks.
    "token-missing": Entry("A bearer token is needed", "unauthorized", 401, 401, 5),
    "token-invalid": Entry("The token is not valid", "unauthorized", 401, 401, 5),
    "token-expired": Entry("The token has ended", "unauthorized", 401, 401, 5),
    "not-allowed": Entry("This is not allowed", "forbidden", 403, 403, 5),
    "invitation-invalid": Entry("The invitation is not valid", "forbidden", 403, 403, 5),
    # The document.
    "field-invalid": Entry("A field is not valid", "validation-error", 422, 412, 3),
    "name-invalid": Entry("The name is not valid", "validation-error", 422, 412, 3),
    "region-unknown": Entry("The region is not served here", "validation-error", 422, 412, 3),
    "zone-unknown": Entry("There is no such zone", "validation-error", 422, 412, 3),
    "parent-unknown": Entry("What it would live in is not there", "validation-error", 422, 412, 3),
    "reference-unknown": Entry("What it refers to is not there", "validation-error", 422, 412, 3),
    "field-immutable": Entry("A field cannot be changed", "validation-error", 422, 412, 3),
    "disk-shrink": Entry("A disk cannot shrink", "validation-error", 422, 412, 3),
    "cidr-outside": Entry("The block is not in its network", "validation-error", 422, 412, 3),
    "not-writable": Entry("This is written by its provider", "invalid-request", 405, 405, 3),
    # What is there.
    "not-found": Entry("It is not there", "resource-not-found", 404, 404, 4),
    "deleting": Entry("It is being deleted", "resource-conflict", 409, 409, 7, retry=True),
    "stale-version": Entry("It changed since it was read", "precondition-failed", 412, 412, 7),
    "has-dependents": Entry("Something lives in it", "resource-conflict", 409, 412, 3),
    "already-on": Entry("The instance is on", "resource-conflict", 409, 412, 3),
    "already-off": Entry("The instance is off", "resource-conflict", 409, 412, 3),
    # Start.
    "image-empty": Entry("The image has no content", "resource-conflict", 409, 412, 3),
    "address-in-use": Entry("An address is in use", "resource-conflict", 409, 412, 3),
    "disk-in-use": Entry("A disk is in use", "resource-conflict", 409, 412, 3),
    "disk-elsewhere": Entry("A disk is on another node", "resource-conflict", 409, 412, 3),
    "disk-lost": Entry("A disk is lost with its node", "resource-conflict", 409, 412, 3),
    "fence-keeps-data": Entry("A fence instance may lose data", "resource-conflict", 409, 412, 3),
    "no-capacity": Entry("No node has room", "resource-conflict", 409, 412, 6, retry=True),
    # Content.
    "range-invalid": Entry("The range does not fit", "invalid-request", 416, 416, 3),
    "checksum-mismatch": Entry("It is not the content announced", "validation-error", 422, 412, 3),
    "image-invalid": Entry("The content is no usable image", "validation-error", 422, 412, 3),
    "image-has-backing": Entry("The image needs another file", "validation-error", 422, 412, 3),
    "image-has-data-file": Entry("The image needs another file", "validation-error", 422, 412, 3),
    # Nodes.
    "node-up": Entry("The node is alive", "resource-conflict", 409, 412, 3),
    # The region.
    "revision-trimmed": Entry("The log begins later", "invalid-request", 410, 410, 7),
    "store-full": Entry("The disk is full", "internal-server-error", 507, 507, 8, retry=True),
    "busy": Entry("The region is busy", "internal-server-error", 503, 503, 8, retry=True),
    "internal": Entry("The region has a defect", "internal-server-error", 500, 500, 70),
}


def status_of(code: str, profile: Profile = "conformance") -> int:
    """Return the HTTP status of a refusal."""
    entry = CATALOGUE[code]
    return entry.conformance if profile == "conformance" else entry.spec
