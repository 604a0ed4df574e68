"""Loads dispatcher.yaml: reads, merges, checks, and tells everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from dispatcher.settings.coherence import discords, secret_of, secrets_of
from dispatcher.settings.secret import SECRETS
from dispatcher.settings.shape import Settings
from dispatcher.settings.sources import Environment, Source, environment, plain
from dispatcher.settings.telling import Teller
from dispatcher.yaml_text import Problems, Table, read_table

LIMIT: Final = 1_000_000

_PATHS: Final = frozenset(
    {"ca_file", "client_certificate", "client_key", "directory", "routing"}
    | {f"{name}_file" for name in SECRETS}
)
_SQLITE: Final = "sqlite:///"


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a file, overruled by the environment.

    Paths in them are absolute; relative ones start at the file's directory. Passwords are
    not read here. Raises ConfigInvalid with every problem at once.
    """
    problems = Problems(path)
    tree, _ = read_table(path, problems, limit=LIMIT)
    boxes = tree.get("mailboxes")
    names = [key.text for key, _ in boxes.entries] if isinstance(boxes, Table) else []
    said = environment(environ, names)
    teller = Teller(tree, said.origins, problems)
    for name, what, instead in said.problems:
        problems.add_elsewhere(name, what, instead)
    settings, merged = _merge(tree, said, path, teller)
    for keys, what, instead in discords(merged, environ):
        teller.tell(keys, what, instead)
    if settings is None:
        raise problems.error()
    problems.raise_if_any()
    _guard(settings, environ)
    return settings


def json_schema() -> dict[str, Any]:
    """Return the schema of dispatcher.yaml (JSON Schema, draft 2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_tidied(Settings.model_json_schema()),
        "title": "sidep-dispatcher dispatcher.yaml",
    }


def _tidied(schema: Any) -> Any:
    """Drop what helps no editor: titles made of names, examples for messages only."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _tidied(value) for key, value in schema.items()}
    if isinstance(found.get("title"), str):
        del found["title"]
    if isinstance(found.get("examples"), list):
        del found["examples"]
    return found


def _merge(
    tree: Table, said: Environment, path: Path, teller: Teller
) -> tuple[Settings | None, dict[str, Any]]:
    base = Path(os.path.abspath(path)).parent
    merged: dict[str, Any] = {}

    class Loaded(Settings):
        """The settings with their sources bound to this file and environment."""

        @classmethod
        def settings_customise_sources(  # noqa: PLR0917 - the base class's signature
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return Source(settings_cls, said.values), Source(settings_cls, plain(tree))

        @model_validator(mode="before")
        @classmethod
        def _resolve(cls, given: dict[str, Any]) -> dict[str, Any]:
            merged.update(_resolved({"routing": "routing.yaml", **given}, base))
            return merged

    try:
        # Its sources give it every value.
        loaded = Loaded()  # type: ignore[call-arg]
    except ValidationError as error:
        teller.tell_all(error)
        return None, merged
    # One class for all files, so that two loads of one file are equal.
    checked = {name: getattr(loaded, name) for name in Settings.model_fields}
    return Settings.model_construct(**checked), merged


def _resolved(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Make every relative path start at the file's directory."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            found[key] = _resolved(value, base)
        elif key in _PATHS and type(value) is str and value and value[0] != "~":
            found[key] = os.path.normpath(base / value)
        elif key == "ledger" and isinstance(value, str) and value.startswith(_SQLITE):
            found[key] = _resolved_ledger(value.removeprefix(_SQLITE), base)
        else:
            found[key] = value
    return found


def _resolved_ledger(name: str, base: Path) -> str:
    if not name or name.startswith(":"):
        return _SQLITE + name
    return _SQLITE + os.path.normpath(base / name)


def _guard(settings: Settings, environ: Mapping[str, str]) -> None:
    for name, mailbox in settings.mailboxes.items():
        mailbox.christen(name)
        files = {
            "password": mailbox.password_file,
            "client_passphrase": mailbox.client_passphrase_file,
            "proxy_password": mailbox.proxy_password_file,
        }
        for secret in secrets_of(("mailboxes", name), files, environ).values():
            mailbox.guard(secret)
    smtp = None if settings.alerts is None else settings.alerts.smtp
    if smtp is not None:
        smtp.guard(secret_of(("alerts", "smtp"), smtp.password_file, environ))
