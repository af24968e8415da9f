"""Bearer tokens: JWTs signed with Ed25519.  Pure: keys, time and chance come in as data.

`alg` is a field of the header, and the one that is expected is pinned by the caller's key.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ALGORITHM: Final = "EdDSA"
SKEW_S: Final = 5


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """To what a token narrows its bearer; empty narrows nothing."""

    tenants: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says."""

    sub: str
    exp: int
    iat: int = 0
    iss: str = ""
    scope: Scope = Scope()


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """How it is signed, and with which key."""

    alg: str
    kid: str = ""
    typ: str = "JWT"


class BadTokenError(ValueError):
    """It is no token, or not signed by whom it says."""


def mint(claims: Claims, kid: str, sign: Callable[[bytes], bytes]) -> str:
    """Return a token."""
    head = _encode(msgspec.json.encode(Header(alg=ALGORITHM, kid=kid)))
    body = f"{head}.{_encode(msgspec.json.encode(claims))}"
    return f"{body}.{_encode(sign(body.encode()))}"


def check(token: str, key_of: Callable[[str], bytes | None]) -> tuple[Header, Claims]:
    """Return what a token says, if the key that it names signed it; `key_of` gives raw keys.

    Whether it has ended is the caller's to see: an old token is another refusal than a forged one.
    """
    try:
        head, body, signature = token.split(".")
        header = msgspec.json.decode(_decode(head), type=Header)
        claims = msgspec.json.decode(_decode(body), type=Claims)
        signed = _decode(signature)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise BadTokenError(f"it is no token: {error}") from error
    if header.alg != ALGORITHM:
        raise BadTokenError(f"it is signed by {header.alg}, and must be by {ALGORITHM}")
    raw = key_of(header.kid)
    if raw is None:
        raise BadTokenError(f'the key "{header.kid}" is not known here')
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signed, f"{head}.{body}".encode())
    except InvalidSignature:
        raise BadTokenError("its signature is not right") from None
    return header, claims


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
