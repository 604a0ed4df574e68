"""Makes one message from one patient and test, with the truth about what must become of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Final, Literal

from dispatcher.simulator import exams, mail, mailers, pdf, people
from dispatcher.simulator.exams import Exam
from dispatcher.simulator.mail import Letter
from dispatcher.simulator.mailers import Mailer
from dispatcher.simulator.people import Patient

# Words of the contract with operators: states of `list --json`.
State = Literal["delivered", "held", "duplicate", "foreign"]
# What the legal term counts from: the guide says the sampling, unless it cannot be believed.
CountsFrom = Literal["sampling", "reception"]

# Sizes of documents: the guide bounds the message to 1 Mo, most are far smaller.
_SMALLEST: Final = 40_000
_LARGEST: Final = 120_000
# With this document a message comes to just under the guide's 1 Mo: base64 adds a third.
FULL_SIZE: Final = 725_000


@dataclass(frozen=True, slots=True)
class Truth:
    """What must become of a message. `reason` None with `held`: any reason will do.

    `document` is what a delivery must put into the folder of `site`, byte for byte.
    `result` and `sampled_at` are None where the message does not tell them.
    """

    state: State
    reason: str | None = None
    site: str | None = None
    file_number: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    file_name: str | None = field(default=None, repr=False)
    document: bytes | None = field(default=None, repr=False)
    result: str | None = None
    sampled_at: datetime | None = None
    replaces: bool = False
    counts_from: CountsFrom = "sampling"


@dataclass(frozen=True, slots=True)
class Sending:
    """One message on its way. Those of one `lane` are sent one after the other.

    `case` names what it is: `certificate`, a fault, or a kind of foreign mail.
    `flags` are those that its owner has set; SMTP cannot carry them. `seven_bit` is the same
    letter in ASCII, for a relay that takes no other; None where `raw` is ASCII already.
    """

    raw: bytes = field(repr=False)
    sender: str
    recipient: str
    truth: Truth
    case: str
    lane: str = field(repr=False)
    flags: tuple[str, ...] = ()
    message_id: str = field(default="", repr=False)
    written_at: datetime | None = None
    seven_bit: bytes | None = field(default=None, repr=False)

    def with_raw(self, raw: bytes) -> Sending:
        """Return it with other bytes, which no other encoding can say."""
        return replace(self, raw=raw, seven_bit=None)


@dataclass(frozen=True, slots=True)
class Case:
    """What a message is made from: draws come from `rng`, sites are those of the LBM.

    `refusing` names sites with the result that none of their targets takes.
    """

    rng: Random
    sites: tuple[str, ...]
    now: datetime
    patient: Patient
    exam: Exam
    recipient: str = mail.RECIPIENT
    size: int | None = None
    refusing: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def document(self, *, edition: int = 1) -> bytes:
        """Draw the certificate of this case."""
        return pdf.certificate(self.patient, self.exam, size=self.size, edition=edition)

    def letter(self, document: bytes) -> Letter:
        """Write the message of the guide about this case."""
        return mail.letter(
            self.patient, self.exam, document, recipient=self.recipient, rng=self.rng
        )

    def truth(self, state: State, document: bytes | None, reason: str | None = None) -> Truth:
        """Return what must become of a message about this case."""
        return Truth(
            state=state,
            reason=reason,
            site=self.exam.site,
            file_number=self.exam.file_number,
            last_name=self.patient.last_name,
            first_name=self.patient.first_name,
            file_name=mail.file_name(self.patient, self.exam),
            document=document,
            result=self.exam.outcome.word,
            sampled_at=self.exam.sampled_at,
        )

    def other_patient(self) -> Patient:
        """Invent somebody whose two names both differ from the patient's."""
        while True:
            other = people.patient(self.rng, self.now.date())
            if {other.last_name, other.first_name}.isdisjoint(
                (self.patient.last_name, self.patient.first_name)
            ):
                return other

    def other_site(self) -> str:
        """Return another site of the LBM; one of nobody's where it has no other."""
        others = [site for site in self.sites if site != self.exam.site]
        return self.rng.choice(others) if others else self.unknown_site()

    def unknown_site(self) -> str:
        """Return a number of the right shape that is no site of the LBM."""
        numbers = (f"99000{n:04}" for n in itertools.count(9000))
        return next(number for number in numbers if number not in self.sites)


def case(
    rng: Random,
    sites: Sequence[str],
    now: datetime,
    *,
    odd: bool = False,
    age: timedelta = timedelta(hours=48),
    recipient: str = mail.RECIPIENT,
) -> Case:
    """Invent a patient and a test at one of the sites."""
    return Case(
        rng=rng,
        sites=tuple(sites),
        now=now,
        patient=people.patient(rng, now.date(), odd=odd),
        exam=exams.exam(rng, rng.choice(tuple(sites)), now, age=age),
        recipient=recipient,
        size=rng.randrange(_SMALLEST, _LARGEST),
    )


def sending(
    about: Case, letter: Letter, truth: Truth, *, name: str, mailer: Mailer = mailers.DEFAULT
) -> Sending:
    """Encode a letter about a case, ready to be sent."""
    raw = mailers.encode(letter, about.rng, mailer)
    plain = None
    if not raw.isascii():
        plain = mailers.encode(letter, Random(letter.message_id), mailers.DEFAULT)
    return Sending(
        raw=raw,
        sender=mail.SENDER,
        recipient=letter.recipient,
        truth=truth,
        case=name,
        lane=about.exam.file_number,
        message_id=letter.message_id,
        written_at=letter.written_at,
        seven_bit=plain,
    )


def certificate(about: Case, mailer: Mailer = mailers.DEFAULT) -> Sending:
    """Return the message of a certificate that nothing is wrong with."""
    document = about.document()
    truth = about.truth("delivered", document)
    return sending(about, about.letter(document), truth, name="certificate", mailer=mailer)
