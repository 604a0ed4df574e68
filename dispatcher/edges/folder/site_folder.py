"""A directory from which one site takes its certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.vitals import PlaceHealth
from dispatcher.edges.folder import faults, removing
from dispatcher.edges.folder.group import Group, Listing
from dispatcher.edges.folder.health import findings, health
from dispatcher.edges.folder.mounts import SYSTEM, MountMemory, MountTables, ensure_mounted
from dispatcher.edges.folder.names import candidates, reference_of
from dispatcher.edges.folder.opened import OpenFolder
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Finding, Outcome, Removal

T = TypeVar("T")


class SiteFolder:
    """See `dispatcher.ports.Destination`. Safe to share between threads.

    A call can last as long as a share hangs: the service gives each folder a lane of its
    own. `secret` keys the references, so that they tell nothing of the files' names.
    """

    def __init__(
        self,
        directory: Path,
        *,
        secret: bytes,
        remembered_mount: MountMemory | None = None,
        tables: MountTables | None = None,
    ) -> None:
        self._directory = directory
        self._secret = secret
        self._memory = remembered_mount
        self._tables = tables or SYSTEM

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        """Deliver a group of orders; see `Destination.deliver`.

        All are written and flushed, then all are named, then the folder is flushed once:
        only then does any have a receipt.
        """
        outcomes = list(self._attempt(orders))
        stale = [at for at, found in enumerate(outcomes) if isinstance(found, faults.Stale)]
        if stale:
            again = self._attempt([orders[at] for at in stale])
            for at, outcome in zip(stale, again, strict=True):
                outcomes[at] = outcome
        return tuple(outcomes)

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        """See `Destination.follow`: a folder takes at once or not at all."""
        return {key: InDoubt("a folder works on nothing") for key in orders}

    def spool_left(self, _references: Sequence[str], /) -> tuple[str, ...]:
        """See `Destination.spool_left`: what lies in a folder was delivered there."""
        return ()

    def find(self, order: Order) -> Receipt | None:
        """Return the receipt of the same content under one of its names, else None.

        What is found has been made durable. The temporary file that a killed attempt at
        this very order left is removed: it is a copy nobody would look after. Raises
        Unavailable when the folder cannot be looked into.
        """

        def look(folder: OpenFolder) -> Receipt | None:
            name = Listing(folder).holding(order)
            folder.remove_part(order.id)
            if name is None:
                return None
            folder.flush()
            return Receipt(reference_of(self._secret, name), already_there=True)

        return self._looking(look)

    def lookup(self, reference: str) -> str | None:
        """Return the name of the file that a receipt's reference means, else None.

        Raises Unavailable when the folder cannot be looked into.
        """

        def look(folder: OpenFolder) -> str | None:
            return removing.bearing(self._secret, folder.names(), reference)

        return self._looking(look)

    def remove(self, copy: Copy) -> Removal:
        """See `Destination.remove`. A copy that staff renamed is theirs: GONE.

        Other hard links to the same document are not ours and stay. The temporary file that
        a killed attempt at this delivery left goes too.
        """

        def take_away(folder: OpenFolder) -> Removal:
            removal = self._taken(folder, copy)
            if removal is not Removal.REMOVED:
                self._still_there(folder)
            folder.remove_part(copy.delivery)
            # Also where nothing was found: an earlier removal may not have been durable yet.
            folder.flush()
            return removal

        return self._removing(take_away)

    def _taken(self, folder: OpenFolder, copy: Copy) -> Removal:
        ready = partial(self._still_there, folder)
        if copy.reference or not copy.name:
            name = removing.bearing(self._secret, folder.names(), copy.reference)
            return removing.remove(folder, name, copy.sha256, ready) if name else Removal.GONE
        there = folder.names()
        possible = [name for name in candidates(copy.name, copy.sha256) if name in there]
        found = [removing.remove(folder, name, copy.sha256, ready) for name in possible]
        # Something else under such a name was never ours.
        return Removal.REMOVED if Removal.REMOVED in found else Removal.GONE

    def sweep(self, before: datetime) -> int:
        """Remove temporary files of ours that were last written before then; count them.

        A delivery tidies too, so this is for folders that none comes to any more. The file
        server's clock may differ from ours: leave a day. Raises Unavailable, Refused.
        """

        def sweep(folder: OpenFolder) -> int:
            self._still_there(folder)
            count = removing.sweep(folder, before.timestamp())
            folder.flush()
            return count

        return self._removing(sweep)

    def check(self) -> Iterable[Finding]:
        """Return what IT should know of the folder. Changes nothing."""
        try:
            with self._open() as folder:
                self._mounted(folder)
                return tuple(findings(self._directory, folder))
        except OSError as error:
            cause = faults.cannot_look(self._directory, error)
            return (Finding("problem", str(cause), cause.hint),)
        except (Unavailable, Refused) as cause:
            return (Finding("problem", str(cause), cause.hint),)

    def health(self) -> PlaceHealth:
        """See `Destination.health`."""
        try:
            with self._open() as folder:
                self._mounted(folder)
                return health(self._directory, folder)
        except OSError as error:
            return PlaceHealth(str(faults.cannot_look(self._directory, error)))
        except (Unavailable, Refused) as cause:
            return PlaceHealth(str(cause))

    def _attempt(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        try:
            with self._open() as folder:
                self._mounted(folder)
                group = Group(
                    self._directory,
                    folder,
                    secret=self._secret,
                    ready=lambda: self._still_meant(folder),
                )
                return group.deliver(orders)
        except OSError as error:
            return (faults.before_publishing(self._directory, error),) * len(orders)
        except (Unavailable, Refused) as error:
            return (error,) * len(orders)

    def _looking(self, look: Callable[[OpenFolder], T]) -> T:
        """Look into the open folder; once more by its path when the handle is stale."""
        try:
            return self._look_once(look)
        except faults.Stale:
            return self._look_once(look)

    def _look_once(self, look: Callable[[OpenFolder], T]) -> T:
        try:
            with self._open() as folder:
                self._mounted(folder)
                found = look(folder)
                folder.ensure_in_place()
                return found
        except OSError as error:
            raise faults.cannot_look(self._directory, error) from error
        except Refused as error:
            raise Unavailable(str(error), hint=error.hint) from error

    def _removing(self, act: Callable[[OpenFolder], T]) -> T:
        """Act on the open folder; once more by its path when the handle is stale.

        The act makes sure by itself, where it matters, that the folder is the one meant.
        """
        try:
            return self._act_once(act)
        except faults.Stale:
            return self._act_once(act)

    def _act_once(self, act: Callable[[OpenFolder], T]) -> T:
        try:
            with self._open() as folder:
                return act(folder)
        except OSError as error:
            # Not chained: the library's error has the document's name.
            raise faults.while_removing(self._directory, error) from None

    def _open(self) -> OpenFolder:
        # Opening comes first: it makes an automounted share appear.
        try:
            return OpenFolder(self._directory)
        except FileNotFoundError as error:
            raise Unavailable(
                f"{self._directory} is missing",
                hint="Mount its share, or create the folder; the service never creates it.",
            ) from error

    def _mounted(self, folder: OpenFolder) -> str:
        """Return the mount point above the folder, or raise Unavailable."""
        remembered = self._memory.get(str(self._directory)) if self._memory else None
        return ensure_mounted(self._tables, self._directory, folder.real_path(), remembered)

    def _still_there(self, folder: OpenFolder) -> None:
        """Raise Unavailable or Refused when the folder is no longer the one meant."""
        self._mounted(folder)
        folder.ensure_in_place()

    def _still_meant(self, folder: OpenFolder) -> None:
        """Make sure, just before names are given, that the folder is still the one meant."""
        mountpoint = self._mounted(folder)
        folder.ensure_in_place()
        path = str(self._directory)
        if self._memory is not None and self._memory.get(path) != mountpoint:
            self._memory.set(path, mountpoint)
