"""Faults of the sender and the subject: forged, passed on, answered, unreadable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dispatcher.simulator import mail
from dispatcher.simulator.cases import Case, Sending, certificate
from dispatcher.simulator.faults.shape import DELIVER, Change, Fault, held, held_as_bytes
from dispatcher.simulator.mail import Letter

_STRANGER: Final = "resultats@certificats-covid.example"
_LOOKALIKE: Final = f"{mail.SENDER}.example"
_COLLEAGUE: Final = "secretariat@cabinet.example.mssante.fr"


def _sender(text: str) -> Change:
    return lambda _about, letter: replace(letter, sender=text)


def _subject(change: Callable[[str], str | None]) -> Change:
    return lambda _about, letter: replace(letter, subject=change(letter.subject or ""))


def _without_last_field(subject: str) -> str:
    return subject.rpartition(" | ")[0]


def _without_leading_digit(subject: str) -> str:
    head, bar, tail = subject.partition(" | ")
    return f"{head[:-9]}{head[-8:]}{bar}{tail}"


def _in_full_width(subject: str) -> str:
    """Write the ET number in digits that look like digits and are not ASCII."""
    head, bar, tail = subject.partition(" | ")
    wide = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
    return head.translate(wide) + bar + tail


def _passed_on(about: Case, letter: Letter) -> Letter:
    return replace(
        letter,
        sender=f'"Accueil" <{_COLLEAGUE}>',
        subject=f"TR: {letter.subject}",
        message_id=mail.message_id(about.rng, "cabinet.example.mssante.fr"),
    )


def _second_from(raw: bytes) -> bytes:
    return f"From: {_STRANGER}\r\n".encode() + raw


def _second_subject(raw: bytes) -> bytes:
    return b"Subject: Certificat\r\n" + raw


def _in_capitals(about: Case) -> tuple[Sending, ...]:
    """Write the sender's address in capitals: it is the same (RFC 5321, 2.4, as used)."""
    one = certificate(about)
    sender = mail.SENDER.encode()
    raw = one.raw.replace(b"From: " + sender, b"From: " + sender.upper(), 1)
    return (replace(one, raw=raw, case="sender-in-capitals"),)


AUTHOR: Final = (
    held("sender-other", "sender-not-allowed", _sender(_STRANGER)),
    held("sender-lookalike", "sender-not-allowed", _sender(_LOOKALIKE)),
    held(
        "sender-only-in-display-name",
        "sender-not-allowed",
        _sender(f'"{mail.SENDER}" <{_STRANGER}>'),
    ),
    held("sender-and-another", "sender-not-allowed", _sender(f"{mail.SENDER}, {_STRANGER}")),
    held_as_bytes("sender-twice", "sender-not-allowed", _second_from),
    Fault("sender-in-capitals", _in_capitals, must=DELIVER),
    held("subject-reply", "subject-unreadable", _subject(lambda text: f"RE: {text}")),
    held("subject-forward", "subject-unreadable", _subject(lambda text: f"TR : {text}")),
    held("subject-missing", "subject-unreadable", _subject(lambda _text: None)),
    held("subject-other", "subject-unreadable", _subject(lambda _text: "Maintenance prévue")),
    held("subject-short", "subject-unreadable", _subject(_without_last_field)),
    held("subject-of-eight-digits", "subject-unreadable", _subject(_without_leading_digit)),
    held_as_bytes("subject-twice", "subject-unreadable", _second_subject),
    held("subject-full-width-digits", None, _subject(_in_full_width)),
    held("passed-on-by-colleague", None, _passed_on),
)
