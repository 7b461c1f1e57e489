# SPDX-License-Identifier: Apache-2.0
"""Certificates for a lab: one authority, push's own, one per host, and one for the operator.

A certificate is good for one use: a host cannot pose as push, nor as another host. Real clouds bring their own
authority; push asks only that the name stands in the certificate.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPERATOR = "alcor-operator"  # whoever shows this name may ask push about every host; no host may be called so

_AUTHORITY_DAYS = 3650
_CERTIFICATE_DAYS = 825
_SKEW = timedelta(hours=1)  # clocks of a lab differ
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in files; the key is readable by its owner alone."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates in one folder."""

    folder: Path
    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def file(self) -> Path:
        """The authority's certificate, for all who are to trust it."""
        return self.folder / "ca.pem"

    def issue_server(self, address: str, now: datetime) -> Issued:
        """Push's certificate, for the name or IP address by which agents reach it."""
        return self._issue("push", address, "server", now)

    def issue_host(self, host: str, now: datetime) -> Issued:
        """A host's certificate. Raises ValueError for a name that no host may have."""
        if host == OPERATOR or not _NAME.fullmatch(host):
            raise ValueError(f"'{host}' is no name for a host: use letters, digits, dots and dashes.")
        return self._issue(f"host-{host}", host, "client", now)

    def issue_operator(self, now: datetime) -> Issued:
        """The certificate with which `alcor show` asks."""
        return self._issue("operator", OPERATOR, "client", now)

    def _issue(self, file: str, name: str, use: str, now: datetime) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = (
            _builder(name, now, _CERTIFICATE_DAYS)
            .issuer_name(self.cert.subject)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USES[use]]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        issued = Issued(self.folder / f"{file}.pem", self.folder / f"{file}-key.pem")
        _write_key(issued.key, key)
        issued.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return issued


def authority(folder: Path, now: datetime) -> Authority:
    """The authority of the folder, made if there is none. Raises OSError, or ValueError if its files are broken."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    cert_file, key_file = folder / "ca.pem", folder / "ca-key.pem"
    if cert_file.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_file} is not a key that `alcor pki` has made.")
        return Authority(folder, x509.load_pem_x509_certificate(cert_file.read_bytes()), key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = "Alcor lab authority"
    cert = (
        _builder(name, now, _AUTHORITY_DAYS)
        .issuer_name(_subject(name))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return Authority(folder, cert, key)


def make_lab(folder: Path, server: str, hosts: Sequence[str], now: datetime) -> list[Path]:
    """Authority (kept, if there is one), push's, the operator's and the hosts' certificates; answers the files.

    Raises ValueError for a name that no host may have, before anything is written for hosts.
    """
    signs = authority(folder, now)
    issued = [signs.issue_host(host, now) for host in hosts]
    issued += [signs.issue_server(server, now), signs.issue_operator(now)]
    return [signs.file, *(file for one in issued for file in (one.cert, one.key))]


def _builder(name: str, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:  # noqa: PTH123  # mode
        opened.write(text)
