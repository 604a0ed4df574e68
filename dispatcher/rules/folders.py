"""Finds two sites that would read each other's certificates in one folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from dispatcher.rules.sharing import Use, refuse_groups
from dispatcher.yaml_text import Problems

# A share that hangs must not keep every other site from starting: after this many seconds
# without an answer its folder is compared by its name alone. The folder edge follows no
# symbolic link in a folder's last place, so nothing goes astray by it.
_PATIENCE: Final = 2.0
_HUNG_AT_MOST: Final = 3


def refuse_common(uses: Sequence[Use], problems: Problems) -> None:
    """Record each folder that several sites use without `shared: true` on all of them."""
    refuse_groups(_groups(uses), "folder", problems)


def _groups(uses: Sequence[Use]) -> Iterable[list[Use]]:
    """Join the uses that have any identity in common, however many steps away."""
    seen = _seen_on_disk(tuple(dict.fromkeys(use.place for use in uses)))
    leads_to: dict[Hashable, Hashable] = {}

    def last(identity: Hashable) -> Hashable:
        while (following := leads_to.setdefault(identity, identity)) != identity:
            leads_to[identity] = leads_to[following]
            identity = following
        return identity

    for use in uses:
        own = last(_spelling(use.place))
        for identity in seen.get(use.place, ()):
            leads_to[last(identity)] = own
    groups: dict[Hashable, list[Use]] = {}
    for use in uses:
        groups.setdefault(last(_spelling(use.place)), []).append(use)
    return groups.values()


def _spelling(path: str) -> str:
    # Windows shares know neither letter case nor Unicode forms. normpath takes care of
    # `..`, doubled and trailing slashes; POSIX leaves two leading slashes alone.
    plain = os.path.normpath("/" + path.lstrip("/"))
    return unicodedata.normalize("NFC", plain.casefold())


def _seen_on_disk(paths: tuple[str, ...]) -> Mapping[str, tuple[Hashable, ...]]:
    found: dict[str, tuple[Hashable, ...]] = {}
    for _ in range(_HUNG_AT_MOST):
        answers: SimpleQueue[tuple[str, tuple[Hashable, ...]]] = SimpleQueue()
        Thread(target=_look, args=(paths, answers), daemon=True, name="folders").start()
        answered = 0
        try:
            while answered < len(paths):
                path, found_there = answers.get(timeout=_PATIENCE)
                found[path] = found_there
                answered += 1
        except Empty:
            paths = paths[answered + 1 :]
        else:
            break
    return found


def _look(paths: Sequence[str], answers: SimpleQueue[tuple[str, tuple[Hashable, ...]]]) -> None:
    for path in paths:
        identities: tuple[Hashable, ...] = (_spelling(os.path.realpath(path)),)
        try:
            status = os.stat(path)
        except OSError:
            pass  # not there, or not for us to see: its name is all we have
        else:
            identities += ((status.st_dev, status.st_ino),)
        answers.put((path, identities))
