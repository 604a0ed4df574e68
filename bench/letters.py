"""Writes as many SI-DEP messages as a run needs, with documents of one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from dispatcher.simulator import cases, mailers
from dispatcher.simulator.cases import Case
from dispatcher.simulator.mailers import MAILERS

SITES: Final = 200
DOCUMENT_BYTES: Final = 120_000
# Drawing a certificate costs more than reading it: so many are drawn, and each is used for
# several tests, with bytes of its own after its end.
_DRAWN: Final = 300
_NINE: Final = 9


def sites(count: int = SITES) -> tuple[str, ...]:
    """Return that many ET numbers of no department, the last digit as it has to be (Luhn)."""
    return tuple(_with_key(f"99{number:06}") for number in range(1, count + 1))


def letters(
    count: int, at: Sequence[str], *, size: int = DOCUMENT_BYTES, seed: int = 7
) -> Iterator[bytes]:
    """Yield that many sound messages, the sites in turn; half by the mailers seen seldom.

    `size` is a document's, in bytes. The same arguments give the same patients and tests.
    """
    rng = Random(seed)
    now = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 - terms count from today
    drawn = [_drawn(rng, at, now, size) for _ in range(min(count, _DRAWN))]
    for number in range(count):
        about, document = drawn[number % len(drawn)]
        exam = replace(about.exam, site=at[number % len(at)], file_number=f"26331BC{number:06}")
        mailer = MAILERS[number // 2 % len(MAILERS)] if number % 2 else mailers.DEFAULT
        letter = replace(about, exam=exam).letter(b"%s%%%08d\n" % (document, number))
        yield mailers.encode(letter, rng, mailer)


def _drawn(rng: Random, at: Sequence[str], now: datetime, size: int) -> tuple[Case, bytes]:
    about = replace(cases.case(rng, at, now), size=size)
    document = about.document()
    return about, document if document.endswith(b"\n") else document + b"\n"


def _with_key(number: str) -> str:
    total = sum(value - 9 * (value > _NINE) for value in _from_the_right(number))
    return f"{number}{-total % 10}"


def _from_the_right(number: str) -> Iterator[int]:
    """Yield the digits as Luhn counts them: every second one doubled, beside the key first."""
    for place, digit in enumerate(reversed(number)):
        yield int(digit) * (2 if place % 2 == 0 else 1)
