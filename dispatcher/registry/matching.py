"""SI-DEP's choice: the one BAL that a site's certificates go to, or none, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.values import Bal, BalKind, Directory, Register, Stamp


class Route(Enum):
    """By which of the guide's two ways a BAL is chosen (section 4)."""

    P1 = "P1"  # the site's own BAL
    P2 = "P2"  # the BAL of the site's legal body


class Why(Enum):
    """What decided. Every one but the first two means: no mail at all."""

    ONE_LOCAL = "one-local"
    ONE_LEGAL = "one-legal"
    SEVERAL_LOCAL = "several-local"
    SEVERAL_LEGAL = "several-legal"
    SITE_NOT_DECLARED = "site-not-declared"
    NO_LEGAL_BODY = "no-legal-body"
    WRONG_KIND = "wrong-kind"
    NOT_STAMPED = "not-stamped"
    NO_BAL = "no-bal"


@dataclass(frozen=True, slots=True)
class Choice:
    """The BAL for one site.

    `local` and `legal` are the addresses that count, in small letters, sorted: the guide's
    nG and nJ are their lengths. `passed_over` are the lines of the site and of its legal
    body that do not count. `rests_on_case`: another BAL, or none, would be chosen if only
    the two spellings of the mention that the guide prints counted.
    """

    site: FinessET
    legal_body: FinessEJ | None
    declared: bool
    why: Why
    local: tuple[str, ...]
    legal: tuple[str, ...]
    passed_over: tuple[Bal, ...]
    rests_on_case: bool

    @property
    def route(self) -> Route | None:
        """P1, P2, or None where no mail is sent."""
        return _ROUTES.get(self.why)

    @property
    def address(self) -> str | None:
        """The BAL's address, in small letters; None where no mail is sent."""
        return _address(self.local, self.legal)

    @property
    def sentence(self) -> str:
        """What was decided and why, for people."""
        return _SENTENCES[self.why](self)


_ROUTES = {Why.ONE_LOCAL: Route.P1, Why.ONE_LEGAL: Route.P2}


def choose(site: FinessET, register: Register, directory: Directory) -> Choice:
    """Return which BAL SI-DEP sends a site's certificates to (guide, section 4).

    nG counts the stamped organisational BALs that carry the ET, nJ those that carry the EJ
    that the FINESS register names for it; distinct addresses, case ignored. nG = 1: that
    BAL, P1. nG = 0 and nJ = 1: the legal body's, P2. Anything else: no mail.
    """
    row = register.establishments.get(site)
    body = None if row is None else row.legal_body
    local = directory.carrying(site)
    legal = () if body is None else directory.carrying(body)
    own, shared = _counted(local), _counted(legal)
    why = _by_number(own, shared) or _why_none(
        [*local, *legal], declared=row is not None, has_body=body is not None
    )
    return Choice(
        site,
        body,
        declared=row is not None,
        why=why,
        local=own,
        legal=shared,
        passed_over=tuple(bal for bal in (*local, *legal) if not bal.counts),
        rests_on_case=_address(own, shared) != _address(*map(_printed, (local, legal))),
    )


def _counted(bals: Iterable[Bal]) -> tuple[str, ...]:
    """Return the distinct addresses of the BALs that count."""
    return tuple(sorted({bal.address for bal in bals if bal.counts}))


def _printed(bals: Iterable[Bal]) -> tuple[str, ...]:
    """Return those of `_counted` whose mention is spelled as the guide prints it."""
    return _counted(bal for bal in bals if bal.stamp is Stamp.AS_PRINTED)


def _by_number(local: tuple[str, ...], legal: tuple[str, ...]) -> Why | None:
    """Decide by nG and nJ alone; None where both are 0."""
    if local:
        return Why.ONE_LOCAL if len(local) == 1 else Why.SEVERAL_LOCAL
    if legal:
        return Why.ONE_LEGAL if len(legal) == 1 else Why.SEVERAL_LEGAL
    return None


def _address(local: tuple[str, ...], legal: tuple[str, ...]) -> str | None:
    match _ROUTES.get(_by_number(local, legal) or Why.NO_BAL):
        case Route.P1:
            return local[0]
        case Route.P2:
            return legal[0]
        case None:
            return None


def _why_none(bals: Iterable[Bal], *, declared: bool, has_body: bool) -> Why:
    """Say what is nearest to the cure, where no BAL counts."""
    if not declared:
        return Why.SITE_NOT_DECLARED
    if not has_body:
        return Why.NO_LEGAL_BODY
    found = list(bals)
    if any(bal.stamp.counts for bal in found):
        return Why.WRONG_KIND
    if any(bal.kind is BalKind.ORGANISATIONAL for bal in found):
        return Why.NOT_STAMPED
    return Why.WRONG_KIND if found else Why.NO_BAL


# --- in words ----------------------------------------------------------------------------


def _one_local(choice: Choice) -> str:
    return f"P1: the site's own BAL {choice.address} is the only one that carries its ET number"


def _one_legal(choice: Choice) -> str:
    return (
        f"P2: no BAL of the site's own counts, and {choice.address} is the only one that "
        f"carries the number of its legal body {choice.legal_body}"
    )


def _several_local(choice: Choice) -> str:
    return (
        f"no mail: {len(choice.local)} BALs carry the ET number and the mention @SIDEP, and "
        f"SI-DEP picks none of several: {', '.join(choice.local)}"
    )


def _several_legal(choice: Choice) -> str:
    return (
        f"no mail: no BAL of the site's own counts, and {len(choice.legal)} BALs carry the "
        f"number of its legal body {choice.legal_body} and the mention @SIDEP: "
        f"{', '.join(choice.legal)}"
    )


def _not_declared(choice: Choice) -> str:
    return (
        f"no mail: {choice.site} is not in the FINESS register (closed, or mistyped), so "
        "its legal body is unknown, and no BAL of its own counts"
    )


def _no_legal_body(_choice: Choice) -> str:
    return (
        "no mail: the FINESS register names no legal body for the site, and no BAL of its "
        "own counts"
    )


def _wrong_kind(choice: Choice) -> str:
    kinds = sorted({bal.kind.value for bal in choice.passed_over})
    return (
        f"no mail: the BALs that carry the ET or EJ number are of type {', '.join(kinds)}; "
        "only organisational ones (ORG) with the mention @SIDEP count"
    )


def _not_stamped(choice: Choice) -> str:
    near = any(bal.stamp is Stamp.NEAR for bal in choice.passed_over)
    mistyped = " (one bears a mention that is written in another way)" if near else ""
    return (
        "no mail: no organisational BAL with the ET or EJ number has the mention @SIDEP in "
        f'its "Service de rattachement"{mistyped}'
    )


def _no_bal(choice: Choice) -> str:
    return (
        f"no mail: the directory has no BAL that carries the ET number or the number of the "
        f"legal body {choice.legal_body}"
    )


_SENTENCES: dict[Why, Callable[[Choice], str]] = {
    Why.ONE_LOCAL: _one_local,
    Why.ONE_LEGAL: _one_legal,
    Why.SEVERAL_LOCAL: _several_local,
    Why.SEVERAL_LEGAL: _several_legal,
    Why.SITE_NOT_DECLARED: _not_declared,
    Why.NO_LEGAL_BODY: _no_legal_body,
    Why.WRONG_KIND: _wrong_kind,
    Why.NOT_STAMPED: _not_stamped,
    Why.NO_BAL: _no_bal,
}
