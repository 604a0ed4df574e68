"""Makes TLS certificates for one test run: an authority, a server, a client, and bad ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

_YEAR = 365


class Authority:
    """A certificate authority in a directory. Paths are PEM files readable by everyone."""

    def __init__(self, directory: Path, name: str = "test-authority") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(2 * _YEAR),
            "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def server(self, name: str, *alternatives: str, days: int = _YEAR) -> tuple[Path, Path]:
        """Return (certificate, key) for a server with these names (`DNS:x`, `IP:y`).

        Negative days make one that has ended already.
        """
        names = ",".join(alternatives)
        return self._issue(name, f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n", days)

    def client(self, name: str, *, days: int = _YEAR) -> tuple[Path, Path]:
        """Return (certificate, key) of a client whose common name is `name`."""
        return self._issue(name, "extendedKeyUsage=clientAuth\n", days)

    def pkcs12(self, pair: tuple[Path, Path], passphrase: str, *, legacy: bool = False) -> Path:
        """Return a PKCS#12 file of a certificate and its key, with the authority in it.

        `legacy` encrypts as older programs do (RC2 and 3DES).
        """
        certificate, key = pair
        path = certificate.with_suffix(".p12")
        self._openssl(
            "pkcs12", "-export", "-in", certificate, "-inkey", key,
            "-certfile", self.certificate, "-passout", f"pass:{passphrase}", "-out", path,
            *(["-legacy"] if legacy else []),
        )  # fmt: skip
        path.chmod(0o600)
        return path

    def encrypted(self, key: Path, passphrase: str) -> Path:
        """Return a PEM file of a key that only its passphrase opens."""
        path = key.with_suffix(".locked.key")
        self._openssl(
            "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", key,
            "-passout", f"pass:{passphrase}", "-out", path,
        )  # fmt: skip
        path.chmod(0o600)
        return path

    def _issue(self, name: str, extensions: str, days: int) -> tuple[Path, Path]:
        stem = self.directory / f"{name}{days}"
        certificate, key, request = (stem.with_suffix(s) for s in (".pem", ".key", ".csr"))
        extension_file = stem.with_suffix(".ext")
        extension_file.write_text(
            f"basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n{extensions}"
        )
        self._openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
            "-CAcreateserial", "-days", str(days), "-extfile", extension_file,
            "-out", certificate,
        )  # fmt: skip
        for path in (certificate, key):
            path.chmod(0o644)
        return certificate, key

    def _openssl(self, *arguments: str | Path) -> None:
        done = subprocess.run(
            ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")
