"""With `pdf_text: warn` a document's text is read when its certificate lies at its site."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import pytest
from structlog.testing import capture_logs

from dispatcher.core.certificate import Inspection, PdfText
from dispatcher.core.ledger import Entry, State
from dispatcher.errors import Unavailable
from dispatcher.ports import Question
from dispatcher.service.desk import Policy
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_inspector import MemoryInspector
from tests.fakes.office import SENDERS, Office, certificates

NOT_NAMED = "document_did_not_name_its_patient"


class Noting(MemoryInspector):
    """Notes what is asked, and how many documents lay at their sites then."""

    def __init__(self) -> None:
        super().__init__()
        self.office: Office | None = None
        self.asked_of: list[tuple[Question, int]] = []
        self.text_fault: Unavailable | None = None
        self.may_read = threading.Event()
        self.may_read.set()

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        asked = list(questions)
        assert self.office is not None
        self.asked_of += [(question, self.office.effects()) for question in asked]
        if any(question.text_only for question in asked):
            assert self.may_read.wait(60)
            if self.text_fault is not None:
                raise self.text_fault
        return super().inspect(asked)

    def texts(self) -> list[tuple[Question, int]]:
        return [(question, there) for question, there in self.asked_of if question.text_only]


@pytest.fixture
def inspector() -> Noting:
    return Noting()


@pytest.fixture
def office(inspector: Noting) -> Office:
    office = Office(inspector=inspector, policy=Policy(SENDERS, PdfText.WARN))
    inspector.office = office
    return office


def arrive(office: Office, sendings: Sequence[Sending]) -> None:
    for sending in sendings:
        office.mailbox.append(sending.raw)


def entries(office: Office) -> list[Entry]:
    return list(office.ledger.entries())


def not_named(office: Office, *, count: int) -> list[str]:
    """Make a turn over so many certificates; return the ids of which a warning was given."""
    arrive(office, certificates(1, count))
    with capture_logs() as logs:
        office.round().turn()
    return [line["id"] for line in logs if line["event"] == NOT_NAMED]


def test_each_text_is_read_once_and_after_the_delivery(
    office: Office, inspector: Noting
) -> None:
    assert not_named(office, count=40) == []
    assert [entry.state for entry in entries(office)] == [State.DELIVERED] * 40
    before = [q for q, _ in inspector.asked_of if not q.text_only]
    assert len(before) == 40
    assert all(question.names is None for question in before)
    texts = inspector.texts()
    assert len({question.content for question, _ in texts}) == len(texts) == 40
    assert all(question.names for question, _ in texts)
    # The first batch is 16 messages: they lie at their sites when the first text is read.
    assert texts[0][1] >= 16
    assert texts[-1][1] == 40


def test_a_document_that_names_another_patient_is_delivered_and_told_of(
    office: Office, inspector: Noting
) -> None:
    (first, *_) = certificates(1, 3)
    inspector.tell(content_of(first), Inspection(pages=1, names_patient=False))
    told = not_named(office, count=3)
    assert [entry.state for entry in entries(office)] == [State.DELIVERED] * 3
    assert told == [entries(office)[0].id]


def content_of(sending: Sending) -> bytes:
    probe = Noting()
    office = Office(inspector=probe, policy=Policy(SENDERS, PdfText.OFF))
    probe.office = office
    arrive(office, [sending])
    office.round().turn()
    ((question, _),) = probe.asked_of
    return question.content


def test_a_reader_that_is_away_hinders_nothing_and_is_told_of(
    office: Office, inspector: Noting
) -> None:
    inspector.text_fault = Unavailable("the PDF reader cannot be started")
    arrive(office, certificates(1, 3))
    with capture_logs() as logs:
        office.round().turn()
    assert [entry.state for entry in entries(office)] == [State.DELIVERED] * 3
    (told,) = [line for line in logs if line["event"] == "texts_were_not_read"]
    assert told["count"] == 3


def test_a_text_that_brings_its_reader_down_holds_nothing_and_is_told_of(
    office: Office, inspector: Noting
) -> None:
    (first, *_) = certificates(1, 3)
    inspector.deadly_texts.add(content_of(first))
    arrive(office, certificates(1, 3))
    with capture_logs() as logs:
        office.round().turn()
    assert [entry.state for entry in entries(office)] == [State.DELIVERED] * 3
    (told,) = [line for line in logs if line["event"] == "texts_were_not_read"]
    assert (told["count"], told["because"]) == (1, "it brought its reader down")
    assert len(inspector.texts()) == 3


def test_the_next_batch_does_not_wait_for_texts_but_the_one_after_does(
    office: Office, inspector: Noting
) -> None:
    arrive(office, certificates(1, 100))
    inspector.may_read.clear()
    turn = threading.Thread(target=office.round().turn, daemon=True)
    turn.start()
    try:
        delivered_within(office, 32)
        assert turn.is_alive()
        assert office.effects() == 32
    finally:
        inspector.may_read.set()
        turn.join(60)
    assert not turn.is_alive()
    assert office.effects() == len(inspector.texts()) == 100


def delivered_within(office: Office, count: int) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if office.effects() >= count:
            break
        pause.wait(0.02)
    pause.wait(0.2)  # long enough for a third batch, were it begun


@pytest.mark.parametrize("pdf_text", [PdfText.OFF, PdfText.REQUIRE])
def test_only_a_warning_can_wait(office: Office, inspector: Noting, pdf_text: PdfText) -> None:
    office.policy = Policy(SENDERS, pdf_text)
    assert not_named(office, count=3) == []
    assert inspector.texts() == []
    asked = [question.names is not None for question, _ in inspector.asked_of]
    assert asked == [pdf_text is PdfText.REQUIRE] * 3
