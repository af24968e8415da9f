"""NATS' keys, JWTs and configuration as text.  Pure: what is random or secret comes in.

An NKey is an Ed25519 key in base32 with a prefix byte and a CRC-16; a JWT of NATS names the issuer
by its NKey.  Source: the formats of nats-io/nkeys and nats-io/jwt, version 2.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Final

Signer = Callable[[bytes], bytes]
PREFIXES: Final = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_UNLIMITED = ("subs", "data", "payload", "conn", "leaf", "imports", "exports")


def nkey(raw: bytes, role: str) -> str:
    """Return the public NKey of 32 raw bytes."""
    body = bytes([PREFIXES[role]]) + raw
    return base64.b32encode(body + _crc16(body).to_bytes(2, "little")).decode().rstrip("=")


def operator_jwt(operator: str, sign: Signer, now_s: int) -> str:
    """Return the operator's own JWT."""
    return _jwt(operator, operator, "hansa", {"type": "operator", "version": 2}, sign, now_s)


def account_jwt(operator: str, account: str, sign: Signer, now_s: int) -> str:
    """Return the JWT of the one account that a region and its nodes are in."""
    limits = dict.fromkeys(_UNLIMITED, -1) | {"wildcards": True}
    said = {"type": "account", "version": 2, "limits": limits}
    return _jwt(operator, account, "region", said, sign, now_s)


def user_jwt(  # noqa: PLR0913 - one claim a parameter
    account: str,
    user: str,
    name: str,
    sign: Signer,
    now_s: int,
    *,
    pub: Sequence[str],
    sub: Sequence[str],
) -> str:
    """Return the JWT of a user who may publish and subscribe only what is said."""
    said = {
        "type": "user",
        "version": 2,
        **dict.fromkeys(("subs", "data", "payload"), -1),
        "pub": {"allow": list(pub)},
        "sub": {"allow": list(sub)},
    }
    return _jwt(account, user, name, said, sign, now_s)


def up(node: str) -> str:
    """Return the subject on which a node speaks."""
    return f"hansa.{_token(node)}.up"


def down(node: str) -> str:
    """Return the subject on which a node is spoken to."""
    return f"hansa.{_token(node)}.down"


def node_of(subject: str) -> str:
    """Return which node speaks on a subject."""
    return subject.split(".")[1].replace("~", ".")


def _token(node: str) -> str:
    """Return a node's name as one token: dots part tokens."""
    return node.replace(".", "~")


def config(  # noqa: PLR0913, PLR0917 - one setting a parameter
    host: str, port: int, ports_dir: str, operator: str, account: str, account_jwt: str,
    tls: tuple[str, str] | None,
) -> str:  # fmt: skip
    """Return the server's configuration; port -1 lets it choose, and tell in `ports_dir`."""
    lines = [
        f'listen: "{host}:{port}"',
        f'ports_file_dir: "{ports_dir}"',
        f'operator: "{operator}"',
        "resolver: MEMORY",
        f'resolver_preload: {{ {account}: "{account_jwt}" }}',
        "max_payload: 8MB",
        "write_deadline: 5s",
    ]
    if tls:
        cert, key = tls
        lines.append(f'tls {{ cert_file: "{cert}", key_file: "{key}" }}')
    return "\n".join(lines) + "\n"


def _jwt(  # noqa: PLR0913, PLR0917 - one claim a parameter
    issuer: str, subject: str, name: str, said: dict[str, object], sign: Signer, now_s: int
) -> str:
    claims = {
        "jti": f"{subject}.{now_s}",
        "iat": now_s,
        "iss": issuer,
        "sub": subject,
        "name": name,
        "nats": said,
    }
    head = _b64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = head + b"." + _b64(json.dumps(claims).encode())
    return (body + b"." + _b64(sign(body))).decode()


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    return crc
