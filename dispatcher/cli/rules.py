"""`rules`: what a new routing.yaml would change, which versions there were, and going back."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.decide import user
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config, Reason
from dispatcher.cli.screen import local, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json
from dispatcher.core.comparison import Move, Way, moves, sites_added
from dispatcher.core.routing import Rules
from dispatcher.core.rulebook import Change, Draft, Origin
from dispatcher.errors import ConfigInvalid
from dispatcher.ports import Ledger
from dispatcher.rules import RoutingFile
from dispatcher.service.decisions import NotAsked, Person
from dispatcher.service.versions import Versions
from dispatcher.settings import Settings

app = typer.Typer(
    name="rules",
    help="Show what a change of routing.yaml would do, its history, and go back.",
    no_args_is_help=True,
)

# So many ids are named of the certificates that go the same other way.
_NAMED = 3


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    for command in (diff, history, show, rollback):
        app.command()(command)
    parent.add_typer(app)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The settings, the ledger, and the rules' file as it is now."""

    settings: Settings
    ledger: Ledger
    file: RoutingFile

    @property
    def versions(self) -> Versions:
        return Versions(self.ledger, wiring.CLOCK, self.file.check)


@contextmanager
def _opened(config: Path) -> Iterator[_Shelf]:
    """Open what is needed; the rules' file may have any mistake."""
    settings = wiring.settings(config)
    with wiring.ledger_of(settings) as ledger:
        yield _Shelf(settings, ledger, wiring.routing(settings))


def diff(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The new rules; without it the file in use."),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, help="Certificates of so many days.")
    ] = 30,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Show which certificates of the last days would go elsewhere under new rules."""
    with _opened(config) as shelf:
        before, after = _in_force(shelf), _new(shelf, file)
        since = wiring.CLOCK.now() - timedelta(days=days)
        entries = [one for one in shelf.ledger.entries() if one.received_at >= since]
    found = list(moves(before, after, entries))
    sites = {"added": sites_added(before, after), "removed": sites_added(after, before)}
    shape = {
        "days": days,
        "from": before.digest,
        "to": after.digest,
        "certificates": len(entries),
        "sites": {name: [str(one) for one in numbers] for name, numbers in sites.items()},
        "changes": [_move_shape(move) for move in found],
    }
    if as_json:
        print_json(shape)
    else:
        _print_difference(shape, found)
    different = found or any(sites.values())
    raise typer.Exit(Exit.ATTENTION if different else Exit.DONE)


def history(as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Show every version of the rules that came into force, the newest last."""
    with _opened(config) as shelf:
        changes = shelf.ledger.rules_history()
        kept = {c.digest for c in changes if shelf.ledger.rules_content(c.digest) is not None}
    shapes = [_change_shape(change, kept) for change in changes]
    if as_json:
        print_json(shapes)
        return
    taken = [change for change in changes if change.origin is not Origin.SET_ASIDE]
    newest = taken[-1] if taken else None
    print_table(
        "Rules (times in Europe/Paris)",
        ("since", "digest", "how", "by", "reason", "now"),
        (
            (
                local(change.at),
                change.digest[:12],
                change.origin.value,
                change.by,
                change.reason,
                "in force" if change is newest else "",
            )
            for change in changes
        ),
        empty="none were in force yet",
    )


def show(
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="Its beginning, as `rules history` shows.")
    ],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Print one version of routing.yaml as it was."""
    with _opened(config) as shelf:
        content = shelf.versions.content(shelf.versions.named(digest))
    if sys.stdout.isatty():
        # A version that was set aside may hold anything; a terminal obeys some of it.
        for line in content.decode("utf-8", "replace").splitlines():
            screen().print(plain(line), soft_wrap=True)
        return
    sys.stdout.buffer.write(content)


def rollback(
    reason: Reason,
    digest: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIGEST]", help="Without it: what is in force, else what was before it."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Put an earlier version back into routing.yaml; what lies there stays in the history."""
    if not reason.strip():
        raise NotAsked("a reason is needed", hint='Say why: --reason "…".')
    with _opened(config) as shelf:
        found = wiring.settled(shelf.file)
        versions = shelf.versions
        chosen = versions.before(found) if digest is None else versions.named(digest)
        person = Person(user(), reason.strip())
        put = wiring.placing(shelf.settings, keep=not found.content)
        versions.roll_back(chosen, found, put, person)
    screen().print(f"{chosen[:12]} is in {plain(shelf.settings.routing)} again")
    screen().print("A running service takes it within seconds; `status` shows when it did.")


def _in_force(shelf: _Shelf) -> Rules:
    """Return the rules in force; before any start those of the file."""
    state = shelf.ledger.rules_state()
    if state is None:
        return _sound(wiring.settled(shelf.file))
    return _sound(shelf.file.check(shelf.versions.content(state.digest)))


def _new(shelf: _Shelf, file: Path | None) -> Rules:
    if file is None:
        return _sound(wiring.settled(shelf.file))
    return _sound(wiring.settled(wiring.routing(shelf.settings, file)))


def _sound(draft: Draft) -> Rules:
    if draft.rules is None:
        raise ConfigInvalid(draft.problems)
    return draft.rules


def _change_shape(change: Change, kept: set[str]) -> Json:
    return {
        "at": change.at.isoformat(),
        "digest": change.digest,
        "origin": change.origin.value,
        "by": change.by,
        "reason": change.reason,
        "kept": change.digest in kept,
    }


def _move_shape(move: Move) -> Json:
    entry = move.entry
    return {
        "id": entry.id,
        "received_at": entry.received_at.isoformat(),
        "state": entry.state.value,
        "before": _way_shape(move.before),
        "after": _way_shape(move.after),
    }


def _way_shape(way: Way) -> Json:
    return {
        "site": None if way.site is None else str(way.site),
        "targets": [
            {"name": spot.target, "kind": spot.kind, "place": spot.place} for spot in way.spots
        ],
    }


def _print_difference(shape: Json, found: Sequence[Move]) -> None:
    for name, numbers in shape["sites"].items():
        if numbers:
            screen().print(f"Sites {name}: {', '.join(numbers)}", soft_wrap=True)
    print_table(
        f"Of {shape['certificates']} certificate(s) in {shape['days']} day(s), elsewhere",
        ("count", "before", "after", "such as"),
        (
            (len(ids), before, after, ", ".join(ids[:_NAMED]))
            for (before, after), ids in _grouped(found).items()
        ),
        empty="none",
    )


def _grouped(found: Iterable[Move]) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for move in found:
        groups.setdefault((_told(move.before), _told(move.after)), []).append(move.entry.id)
    return groups


def _told(way: Way) -> str:
    if way.site is None:
        return "held: site unknown"
    if not way.spots:
        return f"{way.site}: held, no target takes it"
    return f"{way.site}: " + "; ".join(f"{one.target} {one.place}" for one in way.spots)
