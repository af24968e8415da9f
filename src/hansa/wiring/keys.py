"""The keys of a region and of a node: made once, kept in files of mode 0600."""

import ipaddress
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hansa.region.access import REGION_KEY
from hansa.trust.tokens import Claims, mint
from hansa.wiring.settings import write

YEARS_10 = timedelta(days=3650)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a file, made if it is not there."""
    if not path.exists():
        write(path, Ed25519PrivateKey.generate().private_bytes_raw(), secret=True)
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def public(key: Ed25519PrivateKey) -> bytes:
    """Return the raw public key."""
    return key.public_key().public_bytes_raw()


def chance() -> str:
    """Return 128 bits that nobody can guess."""
    return secrets.token_hex(16)


def administrator_token(path: Path, name: str, region: str, key: Ed25519PrivateKey) -> None:
    """Write the first-run token of an administrator, if there is none."""
    if path.exists():
        return
    now = datetime.now(UTC)
    claims = Claims(
        sub=name,
        iss=region,
        iat=int(now.timestamp()),
        exp=int((now + timedelta(days=365)).timestamp()),
    )
    write(path, mint(claims, REGION_KEY, key.sign).encode(), secret=True)


def certificates(folder: Path, host: str) -> tuple[Path, Path, Path]:
    """Return the files of the region's CA, and of its server's certificate and key for a host."""
    ca, cert, key = folder / "ca.pem", folder / f"{host}.pem", folder / f"{host}.key"
    ca_key = folder / "ca.key"
    if not ca.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hansa region CA")])
        signed = _builder(name, name, made.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        write(ca_key, _pem(made), secret=True)
        write(ca, signed.sign(made, hashes.SHA256()).public_bytes(Encoding.PEM))
    if not cert.exists():
        authority = x509.load_pem_x509_certificate(ca.read_bytes())
        signer = _load(ca_key)
        made = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        signed = _builder(name, authority.subject, made.public_key()).add_extension(
            alternative, critical=False
        )
        write(key, _pem(made), secret=True)
        write(cert, signed.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    return ca, cert, key


def fingerprint(pem: bytes) -> str:
    """Return the SHA-256 of a certificate, by which who joins knows the region."""
    return sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).hexdigest()


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + YEARS_10)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - one use
        load_pem_private_key,
    )

    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
