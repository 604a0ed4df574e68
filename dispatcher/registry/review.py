"""Compares SI-DEP's choices with what a laboratory routes and which BALs it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.bal_review import bal_remarks
from dispatcher.registry.matching import Choice, Route, choose
from dispatcher.registry.remarks import Flaw, Remark
from dispatcher.registry.values import Directory, Establishment, Register


@dataclass(frozen=True, slots=True)
class Ours:
    """The laboratory's own side.

    `sites` are those of routing.yaml with their names, None without such a file, `aliases`
    their former numbers; `bals` the addresses that are read here, in small letters, none
    where they are not known.
    """

    sites: Mapping[FinessET, str] | None = None
    aliases: frozenset[FinessET] = frozenset()
    bals: tuple[str, ...] = ()

    def name_of(self, site: FinessET) -> str:
        """Return what routing.yaml calls a site; empty where it does not."""
        return (self.sites or {}).get(site, "")

    def routes(self, site: FinessET) -> bool | None:
        """Whether a certificate of this number finds its site; None: there are no rules."""
        return None if self.sites is None else site in self.sites or site in self.aliases


@dataclass(frozen=True, slots=True)
class SiteReview:
    """One site. `row` is None where the register does not have it.

    `routed` and `ours`, whether the chosen BAL is read here, are None where that is not
    known.
    """

    site: FinessET
    name: str
    row: Establishment | None
    choice: Choice
    routed: bool | None
    ours: bool | None
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """Every site of a legal body and every routed one, and what is wrong beside them."""

    legal_body: FinessEJ
    name: str
    sites: tuple[SiteReview, ...]
    remarks: tuple[Remark, ...]

    @property
    def all_remarks(self) -> tuple[Remark, ...]:
        """Every remark, those about the sites last."""
        return (*self.remarks, *(one for site in self.sites for one in site.remarks))

    @property
    def wrong(self) -> bool:
        """Whether something has to be put right."""
        return any(remark.wrong for remark in self.all_remarks)


def review(
    legal_body: FinessEJ, register: Register, directory: Directory, *, ours: Ours
) -> Review:
    """Return what becomes of each site's certificates."""
    declared = register.sites_of(legal_body)
    numbers = {one.site for one in declared} | set(ours.sites or ())
    known = register.legal_bodies.get(legal_body)
    looker = _Looker(legal_body, register, directory, ours)
    return Review(
        legal_body,
        known.name if known else "",
        tuple(looker.site(number) for number in sorted(numbers)),
        (
            *_body_remarks(legal_body, register),
            *bal_remarks(ours.bals, directory, {legal_body, *numbers}),
        ),
    )


def site_review(
    site: FinessET, register: Register, directory: Directory, *, ours: Ours
) -> SiteReview:
    """Return the review of one site, whatever its legal body."""
    return _Looker(None, register, directory, ours).site(site)


@dataclass(frozen=True, slots=True)
class _Looker:
    """Looks at one site after the other."""

    legal_body: FinessEJ | None
    register: Register
    directory: Directory
    ours: Ours

    def site(self, number: FinessET) -> SiteReview:
        """Return the review of one site."""
        row = self.register.establishments.get(number)
        choice = choose(number, self.register, self.directory)
        name = self.ours.name_of(number) or (row.name if row else "")
        routed = self.ours.routes(number)
        found = SiteReview(number, name, row, choice, routed, self._is_ours(choice), ())
        return replace(found, remarks=tuple(self._remarks(found)))

    def _is_ours(self, choice: Choice) -> bool | None:
        if choice.address is None or not self.ours.bals:
            return None
        return choice.address in self.ours.bals

    def _remarks(self, found: SiteReview) -> Iterator[Remark]:
        if found.row is None:
            yield from self._undeclared(found)
        elif found.row.closed_on is not None:
            yield _closed(found, found.row.closed_on)
        if found.routed:
            yield from self._routed(found)
        elif found.row is not None and found.row.closed_on is None:
            yield from _unrouted(found, found.row)
        if found.choice.rests_on_case and found.routed is not False:
            yield Remark(
                Flaw.UNUSUAL_MENTION,
                f"site {found.site}: the choice rests on a mention that is neither `@SIDEP` "
                "nor `@SIDEp`; nobody has verified that SI-DEP takes it",
                "Ask the MSSanté operator to write @SIDEP.",
                wrong=False,
                site=found.site,
            )

    def _routed(self, found: SiteReview) -> Iterator[Remark]:
        if found.choice.address is None:
            # Of an undeclared one that has just been said.
            if found.row is not None:
                yield _silent(found)
        elif found.ours is False and not self._is_swapped(found):
            yield _elsewhere(found)
        if found.row and self.legal_body not in {None, found.row.legal_body}:
            yield Remark(
                Flaw.OTHER_LEGAL_BODY,
                f"site {found.site}: its legal body is {found.row.legal_body or 'not given'}, "
                f"not {self.legal_body}",
                "A shared BAL serves the sites of its own legal body only.",
                wrong=False,
                site=found.site,
            )

    def _is_swapped(self, found: SiteReview) -> bool:
        """Whether a legal body's number stands in a site's place."""
        return found.row is None and self.register.is_legal_body(FinessEJ(found.site.number))

    def _undeclared(self, found: SiteReview) -> Iterator[Remark]:
        site = found.site
        if self._is_swapped(found):
            yield Remark(
                Flaw.SWAPPED,
                f"site {site}: this is the number of a legal body (EJ), not of a site (ET)",
                "Write the FINESS ET of the place"
                + (" in routing.yaml." if found.routed else "; `directory check` lists them."),
                site=site,
            )
        elif site in self.ours.aliases:
            yield Remark(
                Flaw.NOT_DECLARED,
                f"site {site}: a former number in routing.yaml, and no longer in the register",
                "Nothing to do, unless tests are still sent under it.",
                wrong=False,
                site=site,
            )
        else:
            routed = "routed, and " if found.routed else ""
            yield Remark(
                Flaw.NOT_DECLARED,
                f"site {site}: {routed}not in the register: closed, mistyped, or too new",
                "Compare the number; a former number belongs into the `aliases` of its place.",
                site=site,
            )


def _closed(found: SiteReview, closed_on: date) -> Remark:
    routed = found.routed is True
    return Remark(
        Flaw.CLOSED,
        f"site {found.site}: {'routed, and ' if routed else ''}closed on {closed_on} in the "
        "register",
        "Remove it from routing.yaml, or make it an alias of the place that took over."
        if routed
        else "Nothing to do, unless tests are still sent under its number.",
        wrong=routed,
        site=found.site,
    )


def _silent(found: SiteReview, *, wrong: bool = True) -> Remark:
    return Remark(
        Flaw.SILENT,
        f"site {found.site}: {found.choice.sentence}",
        "Ask the MSSanté operator of the BAL that is meant to put its directory line right.",
        wrong=wrong,
        site=found.site,
    )


def _elsewhere(found: SiteReview) -> Remark:
    local = found.choice.route is Route.P1
    whose = "a BAL of the site's own" if local else "another BAL of its legal body"
    return Remark(
        Flaw.ELSEWHERE,
        f"site {found.site}: its mail goes to {whose}, {found.choice.address} "
        f"({found.choice.route.value if found.choice.route else ''}), which is not read here",
        "Add that BAL to `mailboxes`, or have its mention @SIDEP removed."
        if local
        else "Check `username` of the mailboxes, or have that BAL's directory line changed.",
        site=found.site,
    )


def _unrouted(found: SiteReview, row: Establishment) -> Iterator[Remark]:
    """A declared open site that routing.yaml does not have; its category says how grave it is.

    Hospitals have dozens of establishments without a laboratory, and their laboratories
    have the hospital's category: those are hints, never silence.
    """
    if found.routed is None:
        if found.choice.address is None:
            yield _silent(found, wrong=row.is_laboratory)
        return
    if found.ours is False:
        return
    if found.choice.address is None and not row.is_laboratory:
        return
    became = (
        "its certificates come here and are held (site-unknown)"
        if found.choice.address is not None
        else f"and {found.choice.sentence}"
    )
    yield Remark(
        Flaw.NOT_ROUTED,
        f"site {found.site} ({row.category_name or 'no category'}): declared, and not in "
        f"routing.yaml: {became}",
        "Add it to `sites`, if tests are made there.",
        wrong=row.is_laboratory,
        site=found.site,
    )


# --- beside the sites --------------------------------------------------------------------


def _body_remarks(legal_body: FinessEJ, register: Register) -> Iterator[Remark]:
    row = register.establishments.get(FinessET(legal_body.number))
    if row is not None and not register.sites_of(legal_body):
        yield Remark(
            Flaw.SWAPPED,
            f"{legal_body} is the number of a site (ET), not of a legal body (EJ)",
            f"Its legal body is {row.legal_body or 'not given'}: `lbm.finess_ej`, or --ej.",
        )
    elif not register.sites_of(legal_body):
        yield Remark(
            Flaw.LEGAL_BODY_UNKNOWN,
            f"the register has no site of the legal body {legal_body}",
            "Compare the number, and the date of the file.",
        )
