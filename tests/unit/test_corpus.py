"""Messages in the manner of real mailers, each with what must be read from it.

A folder of tests/corpus holds `message.eml`, byte for byte, and `expected.json`. The
expectation of a hold may leave out facts that the case does not care about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as LibraryMessage
from pathlib import Path
from typing import Final

import pytest

from dispatcher.core import certificate, message
from dispatcher.core.certificate import Certificate, Facts, Held, Reading
from dispatcher.core.mime import BEYOND_LIMITS

CORPUS: Final = Path(__file__).parents[1] / "corpus"
CASES: Final = sorted(folder.parent for folder in CORPUS.glob("*/message.eml"))
SENDERS: Final = frozenset({"noreply.sidep@enovacom.easycrypt.fr"})


def of_facts(facts: Facts) -> dict[str, str | None]:
    return {
        "site": str(facts.site) if facts.site else None,
        "file_number": facts.file_number,
        "result": facts.result.value if facts.result else None,
        "analysis": facts.analysis,
        "sampled_at": facts.sampled_at.isoformat() if facts.sampled_at else None,
    }


def outcome(reading: Reading) -> dict[str, str | None]:
    if isinstance(reading, Certificate):
        facts = of_facts(reading.facts)
        assert (facts["site"], facts["file_number"]) == (str(reading.site), reading.file_number)
        return facts | {
            "kind": "certificate",
            "last_name": reading.last_name,
            "first_name": reading.first_name,
            "document": reading.document.name,
            "sha256": reading.document.sha256,
        }
    if isinstance(reading, Held):
        return of_facts(reading.facts) | {"kind": "held", "reason": reading.reason.value}
    return {"kind": "foreign"}


def test_the_corpus_is_there() -> None:
    assert len(CASES) > 100


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_message_of_the_corpus_is_read_as_a_person_would(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    del expected["why"]
    found = outcome(certificate.read((folder / "message.eml").read_bytes(), SENDERS))
    compared = expected if expected["kind"] == "held" else found
    assert {key: found.get(key) for key in compared} == expected


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_the_sentence_for_people_names_no_patient(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    reading = certificate.read((folder / "message.eml").read_bytes(), SENDERS)
    shown = repr(reading)
    for told in ("Lefèvre", "LEFÈVRE", "Zoé", "21048", expected.get("last_name", "Lefèvre")):
        assert told == "O" or told not in shown


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_the_standard_library_finds_the_same_leaves(folder: Path) -> None:
    """A second opinion on the structure; it has none on the limits that are ours."""
    raw = (folder / "message.eml").read_bytes()
    found = message.read(raw)
    # A blank before a field's colon (RFC 5322, 4.5) ends the header for the library.
    if BEYOND_LIMITS in found.oddities or b"SUBJECT :" in raw:
        return
    ours = {
        hashlib.sha256(one.content).hexdigest()
        for one in found.attachments
        if one.whole and not one.content_type.startswith("message/")
    }
    theirs = {
        hashlib.sha256(part).hexdigest() for part in library_leaves(message_from_bytes(raw))
    }
    assert ours <= theirs


def library_leaves(part: LibraryMessage) -> Iterator[bytes]:
    for inner in part.walk() if part.get_content_maintype() != "message" else ():
        payload = inner.get_payload(decode=True)
        if isinstance(payload, bytes):
            yield payload
