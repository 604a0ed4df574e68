"""Reads our own TLS certificate and its key, PEM or PKCS#12; the key stays in memory."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from dispatcher.edges.imap.account import Account
from dispatcher.edges.imap.trouble import network_error
from dispatcher.errors import Refused

_LARGEST: Final = 1024 * 1024
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)

# The kinds of key that TLS signs with.
_Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A TLS certificate of ours, its intermediates, and the key that belongs to it."""

    chain: tuple[x509.Certificate, ...]
    key: _Key = field(repr=False)

    @property
    def ends_at(self) -> datetime:
        """When it stops being valid."""
        return self.chain[0].not_valid_after_utc

    @property
    def begins_at(self) -> datetime:
        """When it begins to be valid."""
        return self.chain[0].not_valid_before_utc

    def present(self, context: ssl.SSLContext) -> None:
        """Let connections of this context prove who we are.

        OpenSSL takes keys from files only: this one is in memory, has no name, and is
        encrypted all the same, because memory may be swapped out to a disk.
        """
        phrase = secrets.token_hex(32).encode()
        pem = self.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(phrase)
        )
        pem += b"".join(one.public_bytes(Encoding.PEM) for one in self.chain)
        with _nameless(pem) as path:
            try:
                context.load_cert_chain(path, password=phrase)
            except OSError as error:  # SSLError is one
                raise Refused(
                    f"client_certificate cannot be used: {network_error(error)}",
                    hint="ask who issued it for one with a longer key and a newer digest",
                ) from error


def load(account: Account) -> OwnCertificate | None:
    """Read the client certificate of an account, afresh; None: it has none.

    Raises Refused, each time with what to do, when a file cannot be read, is neither PEM
    nor PKCS#12, is not opened by its passphrase, or when key and certificate do not belong
    together.
    """
    if account.client_certificate is None:
        return None
    content = _read(account.client_certificate, "client_certificate")
    passphrase = account.client_passphrase()
    phrase = None if passphrase is None else passphrase.encode()
    if b"-----BEGIN" in content:
        keys = content
        if account.client_key is not None:
            keys = _read(account.client_key, "client_key")
        return _matched(_key(keys, phrase), _certificates(content))
    if account.client_key is not None:
        raise Refused(
            "client_certificate is not PEM, and client_key belongs to a PEM file",
            hint="a PKCS#12 file holds its key: delete client_key",
        )
    return _from_pkcs12(content, phrase)


def _read(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise Refused(
            f"{setting} cannot be read: {network_error(error)}",
            hint=f"correct {setting} or the rights of the file",
        ) from error


def _from_pkcs12(content: bytes, phrase: bytes | None) -> OwnCertificate:
    try:
        found = load_pkcs12(content, phrase)
    except UnsupportedAlgorithm:
        raise Refused(
            "client_certificate is encrypted in a way that is not known here",
            hint="export the PKCS#12 file anew, with AES-256",
        ) from None
    except (ValueError, TypeError) as error:
        # The library's own words for it; it raises the same class for both.
        if "password" in str(error).lower():
            raise _not_opened("client_certificate", phrase) from None
        raise Refused(
            "client_certificate is neither PEM nor PKCS#12",
            hint="give the file that the operator or IGC-Santé issued, unchanged",
        ) from None
    if found.key is None or found.cert is None:
        raise Refused(
            "client_certificate holds no certificate together with its private key",
            hint="export the PKCS#12 file anew, with the private key in it",
        )
    return _matched(
        _signing(found.key),
        [found.cert.certificate, *(one.certificate for one in found.additional_certs)],
    )


def _certificates(content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise Refused(
            "client_certificate holds no certificate that can be read",
            hint="give the PEM file that begins with BEGIN CERTIFICATE",
        ) from None


def _key(content: bytes, phrase: bytes | None) -> _Key:
    found = _KEY.search(content)
    if found is None:
        raise Refused(
            "there is no private key beside the client certificate",
            hint="set client_key to the PEM file that begins with BEGIN PRIVATE KEY",
        )
    encrypted = b"ENCRYPTED" in found[0]
    try:
        key = load_pem_private_key(found[0], phrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise _not_opened("client_key", phrase) from None
        key = None
    return _signing(key)


def _signing(key: object) -> _Key:
    if isinstance(key, _Key):
        return key
    raise Refused(
        "the client's private key cannot be read, or is of a kind that TLS does not know",
        hint="give the unchanged file that belongs to client_certificate; RSA or EC",
    )


def _not_opened(setting: str, phrase: bytes | None) -> Refused:
    if phrase is None:
        return Refused(
            f"{setting} is encrypted and there is no passphrase for it",
            hint="give it as client_passphrase_file, environment or credential",
        )
    return Refused(
        f"the passphrase does not open {setting}, or the file is damaged",
        hint="correct the client_passphrase; it came with the file",
    )


def _matched(key: _Key, found: Sequence[x509.Certificate]) -> OwnCertificate:
    """Put the certificate that the key belongs to first: PEM bundles come in any order."""
    ours = _public(key)
    for one in found:
        if _same(one, ours):
            others = tuple(other for other in found if other is not one)
            return OwnCertificate((one, *others), key)
    raise Refused(
        "the private key does not belong to client_certificate",
        hint="give the key that the certificate was requested with",
    )


def _public(key: _Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _same(certificate: x509.Certificate, public: bytes) -> bool:
    try:
        found = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):  # an intermediate with a key of another kind
        return False
    return found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public


@contextlib.contextmanager
def _nameless(content: bytes) -> Iterator[str]:
    """Yield the path of a file that no directory has; it is gone at the end."""
    number = os.memfd_create("tls", os.MFD_CLOEXEC)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{number}"
