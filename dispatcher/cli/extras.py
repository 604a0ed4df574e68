"""Says what to install when a command needs an extra that is not there."""

from __future__ import annotations

import importlib

from dispatcher.errors import ConfigInvalid


def need_demo(command: str) -> None:
    """Raise ConfigInvalid unless everything of the extra `demo` can be imported."""
    try:
        for name in ("embedded", "campaign", "sender"):
            importlib.import_module(f"dispatcher.simulator.{name}")
    except ModuleNotFoundError as error:
        what = f"{command} needs {error.name}; install pip's `sidep-dispatcher[demo]`"
        raise ConfigInvalid((what,)) from None
