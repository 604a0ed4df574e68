"""Delivers a group of orders into one open folder: written, then named, then durable."""

from __future__ import annotations

import contextlib
import queue
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from dispatcher.core.delivery import Order, Receipt
from dispatcher.edges.folder import faults
from dispatcher.edges.folder.names import candidates, folded, is_part, reference_of
from dispatcher.edges.folder.opened import OpenFolder, Part
from dispatcher.errors import InDoubt, InvariantBroken, Refused, Unavailable
from dispatcher.ports import Outcome

T = TypeVar("T")
R = TypeVar("R")

# Waiting for the disk is what costs; more threads than this gain nothing.
_THREADS: Final = 8
# A temporary file this old, in seconds, belongs to nobody who still lives.
_ABANDONED: Final = 3600.0


class Listing:
    """The names in a folder. Names equal but for case or NFC/NFD count as one."""

    def __init__(self, folder: OpenFolder) -> None:
        self._folder = folder
        self._possible: dict[str, tuple[tuple[str, str], ...]] = {}

    @cached_property
    def _all(self) -> list[str]:
        return self._folder.names()

    @cached_property
    def _names(self) -> defaultdict[str, list[str]]:
        names: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._all:
            names[folded(name)].append(name)
        return names

    @property
    def parts(self) -> list[str]:
        """The temporary names of ours."""
        return [name for name in self._all if is_part(name)]

    def add(self, name: str) -> None:
        """Note a name that appeared since."""
        if name not in self._names[folded(name)]:
            self._names[folded(name)].append(name)

    def holding(self, order: Order) -> str | None:
        """Return the file that is this very document, or None. Raises OSError.

        The folder is listed only when the document is not under its plain name.
        """
        plain, _ = self._candidates(order)[0]
        if self._folder.holds(plain, order.document.content):
            return plain
        return self.listed(order)

    def listed(self, order: Order) -> str | None:
        """As `holding`, of what was in the folder when it was listed or was added since."""
        content = order.document.content
        for _, fold in self._candidates(order):
            for name in self._names.get(fold, ()):
                if self._folder.holds(name, content):
                    return name
        return None

    def free(self, order: Order) -> str:
        """Return the first name that nothing has. Raises Refused, OSError."""
        for candidate, fold in self._candidates(order):
            taken = self._names.get(fold, ())
            if not taken:
                return candidate
            if any(self._is_symlink(name) for name in taken):
                raise Refused(
                    "a symlink has the name of the document",
                    hint="Find out who put it into the folder, and remove it.",
                )
        raise Refused("every name of the document is taken", hint="Look into the folder.")

    def _candidates(self, order: Order) -> tuple[tuple[str, str], ...]:
        """Return the names that an order's document may bear, each with what stands for it."""
        found = self._possible.get(order.id)
        if found is None:
            names = candidates(order.document.name, order.document.sha256)
            found = self._possible[order.id] = tuple((name, folded(name)) for name in names)
        return found

    def _is_symlink(self, name: str) -> bool:
        found = self._folder.look(name)
        return found is not None and stat.S_ISLNK(found.st_mode)


class Group:
    """One attempt at several deliveries. `ready` is called just before names are given.

    It raises Unavailable or Refused when the folder is no longer the one meant.
    """

    def __init__(
        self, directory: Path, folder: OpenFolder, *, secret: bytes, ready: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._folder = folder
        self._secret = secret
        self._ready = ready
        self._outcomes: dict[str, Outcome] = {}

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        """Return one outcome each. Raises OSError when the folder cannot be listed."""
        listing = Listing(self._folder)
        # The same order twice in a group is one delivery.
        once = {order.id: order for order in orders}
        waiting = [order for order in once.values() if not self._there(order, listing)]
        parts = self._written(waiting)
        try:
            if parts and self._is_ready(parts):
                for order_id, part in parts.items():
                    self._outcomes[order_id] = self._published(once[order_id], part, listing)
        finally:
            self._tidy(parts.values(), listing)
        self._make_durable(frozenset(parts))
        return tuple(self._outcomes[order.id] for order in orders)

    def _there(self, order: Order, listing: Listing) -> bool:
        """Note the receipt of what lies there already, or the error met in looking."""
        try:
            name = listing.holding(order)
        except OSError as error:
            self._outcomes[order.id] = faults.cannot_look(self._directory, error)
            return True
        if name is not None:
            self._folder.remove_part(order.id)
            self._outcomes[order.id] = self._receipt(name, already_there=True)
        return name is not None

    def _written(self, orders: Sequence[Order]) -> dict[str, Part]:
        """Write each document under its temporary name; note what failed."""
        parts = {}
        for order, result in zip(orders, in_threads(self._write, orders), strict=True):
            if isinstance(result, Part):
                parts[order.id] = result
            else:
                self._outcomes[order.id] = result
        return parts

    def _write(self, order: Order) -> Part | Unavailable | Refused:
        try:
            return self._folder.write(order.id, order.document.content)
        except OSError as error:
            return faults.before_publishing(self._directory, error)
        except (Unavailable, Refused) as error:
            return error

    def _is_ready(self, parts: Iterable[str]) -> bool:
        try:
            self._ready()
        except OSError as error:
            self._outcomes.update(
                dict.fromkeys(parts, faults.before_publishing(self._directory, error))
            )
        except (Unavailable, Refused) as refusal:
            self._outcomes.update(dict.fromkeys(parts, refusal))
        else:
            return True
        return False

    def _published(self, order: Order, part: Part, listing: Listing) -> Outcome:
        """Give one part a name that is free, or find that it lies there by now."""
        # The folder was just looked into; what came since shows when the name is given.
        look = listing.listed
        while True:
            try:
                there = look(order)
                name = there or listing.free(order)
            except OSError as error:
                return faults.cannot_look(self._directory, error)
            except Refused as error:
                return error
            if there is not None:
                return self._receipt(there, already_there=True)
            outcome = self._named(order, part, name)
            listing.add(name)
            look = listing.holding
            if outcome is not None:
                return outcome

    def _named(self, order: Order, part: Part, name: str) -> Outcome | None:
        """Give the part this name; None: it is taken by now, by something else."""
        try:
            self._folder.publish(part, name)
        except FileExistsError:
            # Ours, when a server did it and its first answer was lost.
            if not self._shows(name, part):
                return None
        except OSError as error:
            outcome = faults.while_publishing(self._directory, error)
            if not isinstance(outcome, InDoubt) or not self._shows(name, part):
                return outcome
        return self._confirmed(order, part, name)

    def _confirmed(self, order: Order, part: Part, name: str) -> Outcome:
        """Make sure that the name shows our document: the part could have been swapped."""
        try:
            # Some shares number the same file anew: then its content decides.
            ours = self._shows(name, part) or self._folder.holds(name, order.document.content)
        except OSError:
            ours = False
        if ours:
            return self._receipt(name)
        return InDoubt(
            f"a document in {self._directory} was replaced at once",
            hint="Find out which other program writes there.",
        )

    def _shows(self, name: str, part: Part) -> bool:
        try:
            return part.is_at(self._folder.look(name))
        except OSError:
            return False

    def _tidy(self, parts: Iterable[Part], listing: Listing) -> None:
        """Remove our temporary names, and those that a crash left long ago."""
        newest = 0.0
        for part in parts:
            self._folder.remove(part.name)
            newest = max(newest, part.written.st_mtime)
        # Both times are the file server's: its clock may differ from ours.
        for name in listing.parts if newest else ():
            try:
                found = self._folder.look(name)
            except OSError:
                continue
            if (
                found is not None
                and stat.S_ISREG(found.st_mode)
                and found.st_mtime < newest - _ABANDONED
            ):
                self._folder.remove(name)

    def _make_durable(self, written: frozenset[str]) -> None:
        """Flush the folder once for all; without it there is no receipt."""
        receipts = [key for key, made in self._outcomes.items() if isinstance(made, Receipt)]
        if not receipts:
            return
        try:
            self._folder.flush()
        except OSError as error:
            code = faults.code_of(error)
            doubt = InDoubt(f"published in {self._directory}, not durable: {code}")
            later = faults.cannot_look(self._directory, error)
            for key in receipts:
                self._outcomes[key] = doubt if key in written else later

    def _receipt(self, name: str, *, already_there: bool = False) -> Receipt:
        return Receipt(reference_of(self._secret, name), already_there=already_there)


def in_threads(job: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return `job` of each, done in a few threads. It must not raise.

    The threads are daemons: one that hangs on a dead share must not keep the program from
    ending, as those of concurrent.futures would.
    """
    if len(items) == 1:
        return [job(items[0])]
    results: dict[int, R] = {}
    left: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    for numbered in enumerate(items):
        left.put(numbered)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                at, item = left.get_nowait()
                results[at] = job(item)

    # The caller's own thread works too.
    helpers = [
        threading.Thread(target=work, name="folder-write", daemon=True)
        for _ in range(min(_THREADS, len(items)) - 1)
    ]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if len(results) != len(items):
        raise InvariantBroken("a thread that writes documents ended without an answer")
    return [results[at] for at in range(len(items))]
