"""Whose name goes to the audit trail."""

from __future__ import annotations

import os
import pwd

import pytest

from dispatcher.cli.decide import user

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        pytest.param(None, ME, id="without sudo"),
        pytest.param(str(os.getuid()), ME, id="sudo to oneself"),
        pytest.param("1", f"{pwd.getpwuid(1).pw_name} (as {ME})", id="behind sudo"),
        pytest.param("4294967293", f"uid 4294967293 (as {ME})", id="a user that has gone"),
        pytest.param("claire", ME, id="no number"),
        pytest.param("٣", ME, id="no ASCII digit"),
        pytest.param("9" * 30, f"uid {'9' * 30} (as {ME})", id="too large a number"),
    ],
)
def test_a_person_is_named_by_uid_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, uid: str | None, name: str
) -> None:
    for variable in ("LOGNAME", "USER", "SUDO_USER", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    monkeypatch.delenv("SUDO_UID", raising=False)
    if uid is not None:
        monkeypatch.setenv("SUDO_UID", uid)
    assert user() == name
