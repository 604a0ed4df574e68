"""Compares SI-DEP's choices with what a laboratory routes and which BALs it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.matching import Choice, Route, choose
from dispatcher.registry.values import Bal, BalKind, Directory, Establishment, Register, Stamp


class Flaw(Enum):
    """What a person should look at; these words are in the JSON and the CSV."""

    NOT_ROUTED = "not-routed"
    NOT_DECLARED = "not-declared"
    CLOSED = "closed"
    SWAPPED = "swapped"
    SILENT = "silent"
    ELSEWHERE = "goes-elsewhere"
    OTHER_LEGAL_BODY = "other-legal-body"
    UNUSUAL_MENTION = "unusual-mention"
    BAL_NOT_LISTED = "bal-not-listed"
    BAL_WITHOUT_NUMBER = "bal-without-number"
    BAL_NOT_ORGANISATIONAL = "bal-not-organisational"
    BAL_NOT_STAMPED = "bal-not-stamped"
    LEGAL_BODY_UNKNOWN = "legal-body-unknown"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to look at. `wrong`: certificates do not arrive, or need not; else a hint.

    `site` or `bal` say what it is about; both are None for the legal body.
    """

    flaw: Flaw
    what: str
    hint: str
    wrong: bool = True
    site: FinessET | None = None
    bal: str | None = None


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
            *_bal_remarks(ours, directory, {legal_body, *numbers}),
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
        if found.routed:
            yield from self._routed(found)
        elif found.routed is False:
            yield from _unrouted(found)
        elif found.choice.address is None and (row := found.row) and row.closed_on is None:
            yield _silent(found, wrong=row.is_laboratory)
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
        site = found.site
        if found.row is None:
            undeclared = self._undeclared(site)
            yield undeclared
            if undeclared.flaw is Flaw.SWAPPED or found.choice.address is None:
                return
        elif found.row.closed_on is not None:
            yield Remark(
                Flaw.CLOSED,
                f"site {site}: routed, and closed on {found.row.closed_on} in the register",
                "Remove it from routing.yaml, or make it an alias of the place that took over.",
                site=site,
            )
        if found.choice.address is None:
            yield _silent(found)
        elif found.ours is False:
            yield _elsewhere(found)
        if found.row and self.legal_body not in {None, found.row.legal_body}:
            yield Remark(
                Flaw.OTHER_LEGAL_BODY,
                f"site {site}: its legal body is {found.row.legal_body or 'not given'}, not "
                f"{self.legal_body}",
                "A shared BAL serves the sites of its own legal body only.",
                wrong=False,
                site=site,
            )

    def _undeclared(self, site: FinessET) -> Remark:
        if self.register.is_legal_body(FinessEJ(site.number)):
            return Remark(
                Flaw.SWAPPED,
                f"site {site}: this is the number of a legal body (EJ), not of a site (ET)",
                "Write the FINESS ET of the place in routing.yaml.",
                site=site,
            )
        return Remark(
            Flaw.NOT_DECLARED,
            f"site {site}: routed, and not in the register: closed, mistyped, or too new",
            "Compare the number; a former number belongs into the `aliases` of its place.",
            site=site,
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


def _unrouted(found: SiteReview) -> Iterator[Remark]:
    """A declared site that routing.yaml does not have; its category decides how grave it is.

    Hospitals have dozens of establishments without a laboratory, and their laboratories
    have the hospital's category: those are hints, never silence.
    """
    row = found.row
    if row is None or row.closed_on is not None or found.ours is False:
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


def _bal_remarks(
    ours: Ours, directory: Directory, ours_are: Iterable[FinessET | FinessEJ]
) -> Iterator[Remark]:
    numbers = {one.number for one in ours_are}
    for address in ours.bals:
        remark = _bal_remark(address, directory.named(address), numbers)
        if remark is not None:
            yield remark


def _bal_remark(address: str, lines: tuple[Bal, ...], numbers: set[str]) -> Remark | None:
    if not lines:
        return Remark(
            Flaw.BAL_NOT_LISTED,
            f"our BAL {address} is not in the directory: SI-DEP cannot find it",
            "Ask the MSSanté operator to publish it; a new line takes a day or two.",
            bal=address,
        )
    own = [line for line in lines if line.structure in numbers]
    if not own:
        carried = ", ".join(sorted({line.structure for line in lines} - {""})) or "none"
        return Remark(
            Flaw.BAL_WITHOUT_NUMBER,
            f"our BAL {address} carries no number of ours (it carries: {carried})",
            'Have "Identification Structure" set to the FINESS EJ (one BAL for all sites) or '
            "ET (one for each).",
            bal=address,
        )
    organisational = [line for line in own if line.kind is BalKind.ORGANISATIONAL]
    if not organisational:
        kinds = ", ".join(sorted({line.kind.value for line in own}))
        return Remark(
            Flaw.BAL_NOT_ORGANISATIONAL,
            f"our BAL {address} is of type {kinds}; only organisational ones (ORG) count",
            "Ask the MSSanté operator for an organisational BAL.",
            bal=address,
        )
    if any(line.counts for line in organisational):
        return None
    near = any(line.stamp is Stamp.NEAR for line in organisational)
    return Remark(
        Flaw.BAL_NOT_STAMPED,
        f"our BAL {address} does not bear the mention @SIDEP"
        + (" (it bears one that is written in another way)" if near else ""),
        'Have @SIDEP written into its "Service de rattachement".',
        bal=address,
    )
