"""Certificates to try mutual TLS with: ``python -m deploy.certs FOLDER``. Whoever has an authority of their own uses that."""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libs.runtime.tls import SERVER_NAME

CLIENT = "client"
"""Of programs of one's own that call the services."""
PROCESSES = ("dataset", "labeling", "trainer", "inference", "gateway", CLIENT)
"""Who gets a certificate."""
LIFE = timedelta(days=825)


def make_certificates(folder: Path, *, at: datetime) -> None:
    """Write ``authority.pem``, and for each process ``<process>.pem`` and ``<process>.key`` (0600).

    The authority's key is not kept: to add a process, all are made again.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _builder("Inkwright authority", authority_key, at, issuer="Inkwright authority")
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signs_certificates = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    signed_authority = authority.add_extension(signs_certificates, critical=True).sign(authority_key, hashes.SHA256())
    (folder / "authority.pem").write_bytes(signed_authority.public_bytes(serialization.Encoding.PEM))
    for process in PROCESSES:
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(process, key, at, issuer="Inkwright authority")
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if process != CLIENT:
            # Who calls alone cannot pose as a service.
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        certificate = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False).sign(authority_key, hashes.SHA256())
        (folder / f"{process}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(folder / f"{process}.key", key)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, at: datetime, *, issuer: str) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of other machines may be a little behind.
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + LIFE)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.certs", description="Certificates to try mutual TLS with.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    make_certificates(folder, at=datetime.now(UTC))
    parser.exit(0, f"{folder} holds authority.pem, and a certificate and a key for each of {', '.join(PROCESSES)}\n")


if __name__ == "__main__":
    main()
