"""Finds a secret where the operator put it, afresh each time it is asked for."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dispatcher.errors import Refused

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
PREFIX: Final = "SIDEP_DISPATCHER__"
# Each stands in a file whose key ends in `_file`, in the environment, or in a credential.
SECRETS: Final = frozenset({"password", "client_passphrase", "proxy_password"})
_LARGEST: Final = 65_536
_OTHERS: Final = stat.S_IRWXO


def variable(*keys: str) -> str:
    """Return the environment name of a setting: MAILBOXES, LBM, PORT."""
    return PREFIX + "__".join(re.sub(r"[^A-Z0-9]", "_", key.upper()) for key in keys)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Where one secret may stand: a file, the environment, a systemd credential.

    It is read at each call, so that a new one is taken without a restart. It never stands in
    a message or a repr. `name` is one of SECRETS.
    """

    owner: str
    variable: str
    credential: str
    environ: Mapping[str, str] = field(compare=False)
    file: Path | None = None
    name: str = "password"

    @property
    def credentials(self) -> Path | None:
        """The directory that systemd put this service's credentials into."""
        directory = self.environ.get(CREDENTIALS_DIRECTORY)
        return Path(directory) if directory else None

    def sources(self) -> tuple[str, ...]:
        """Return the places that hold one now, in words; empty: there is none."""
        found = []
        if self.file is not None:
            found.append(f"{self.name}_file")
        if self._from_environment() is not None:
            found.append(f"${self.variable}")
        if self._credential() is not None:
            found.append(f"the credential {self.credential}")
        return tuple(found)

    def read(self) -> str | None:
        """Return the secret, or None where there is none.

        The file comes first, then the environment, then the credential. Raises Refused
        when a file cannot be used.
        """
        if self.file is not None:
            return self._read(self.file)
        given = self._from_environment()
        if given is not None:
            return self._usable(given)
        credential = self._credential()
        return None if credential is None else self._read(credential)

    def _from_environment(self) -> str | None:
        return next(
            (value for name, value in self.environ.items() if name.upper() == self.variable),
            None,
        )

    def _credential(self) -> Path | None:
        if self.credentials is None:
            return None
        path = self.credentials / self.credential
        try:
            return path if path.is_file() else None
        except OSError:  # a directory that is not ours to look into holds nothing for us
            return None

    def _read(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise Refused(
                f"{self.owner}: the secret file {path} cannot be read: {reason}",
                hint="check that it exists and that the service's user may read it",
            ) from error
        flaw = exposed(path, self.credentials)
        if flaw is not None:
            raise Refused(f"{self.owner}: {flaw[0]}", hint=flaw[1])
        try:
            return self._usable(content.decode())
        except UnicodeDecodeError:
            # Not chained: the library's error repeats the bytes.
            raise Refused(
                f"{self.owner}: the secret file {path} is not UTF-8 text", hint="write it anew"
            ) from None

    def _usable(self, text: str) -> str:
        secret = text.removesuffix("\n").removesuffix("\r")
        if secret and len(secret) <= _LARGEST and not re.search(r"[\x00\r\n]", secret):
            return secret
        raise Refused(
            f"{self.owner}: the {self.name} is empty or has several lines",
            hint=f"let the file, variable or credential hold the {self.name} alone",
        )


def exposed(path: Path, credentials: Path | None) -> tuple[str, str] | None:
    """Return what is wrong with a secret file's mode and what to do, or None.

    systemd guards its credentials directory itself, whatever the modes of the files.
    """
    try:
        mode = path.stat().st_mode
        inside = credentials is not None and path.resolve().is_relative_to(
            credentials.resolve()
        )
    except OSError:
        return None
    if inside or not stat.S_IMODE(mode) & _OTHERS:
        return None
    return (
        f"the secret file {path} is open to every user (mode {stat.S_IMODE(mode):04o})",
        f"run: chmod 0400 {path}",
    )
