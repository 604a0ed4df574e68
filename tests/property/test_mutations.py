"""A thousand spoiled messages: none becomes a certificate that its sources did not agree on.

The oracle knows the words that went into each source and compares them in its own way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from dispatcher.core import certificate
from dispatcher.core.certificate import Certificate, Held
from tests.property import letters
from tests.property.letters import Letter

SENDERS: Final = frozenset({letters.SENDER})
SITES: Final = ("990000010", "990000028", "990000036", "2A0000154", "010000024", "970100012")
LAST_NAMES: Final = (
    "Lefèvre",
    "d’Artagnan",
    "Ben_Ali",
    "Le Goff-Kermarrec",
    "O",
    "Œuvrard",
    "Nom",
)
FIRST_NAMES: Final = ("Zoé", "Jean-Luc", "Marie Anne", "A", "Loïc", "Noël", "Prénom")

Spoil = Callable[[Letter, Letter, Random], Letter]


def letter(rng: Random, site: str) -> Letter:
    number = rng.choice(["21048BC{:06}", "{:09}", "21_{:04}_B", "21 {:05}", "{:03}-A"])
    one = letters.about(
        site,
        number.format(rng.randrange(1000)),
        rng.choice(LAST_NAMES),
        rng.choice(FIRST_NAMES),
    )
    return replace(one, document=b"%PDF-1.4 " + rng.randbytes(30) + b"%%EOF")


def with_field(one: Letter, at: int, text: str) -> Letter:
    return replace(one, subject=(*one.subject[:at], text, *one.subject[at + 1 :]))


def in_one_source(one: Letter, rng: Random, old: str, new: str) -> Letter:
    """Replace a text wherever it stands in one source, or in all of them."""
    subject = tuple(field.replace(old, new) for field in one.subject)
    name = one.file_name.replace(old, new)
    body = replace(
        one,
        site=one.site.replace(old, new),
        last_name=one.last_name.replace(old, new),
        first_name=one.first_name.replace(old, new),
    )
    everywhere = replace(body, subject=subject, file_name=name)
    return rng.choice(
        [replace(one, subject=subject), replace(one, file_name=name), body, everywhere]
    )


CONFUSABLE: Final = (
    ("0", "O"), ("1", "l"), ("1", "\u0661"), ("0", "\u06f0"), ("0", "\uff10"), ("9", "\uff19"),
    ("2", "\u0be8"), ("A", "\u0410"), ("B", "\u0392"), ("e", "\u0435"),
    ("o", "\u043e"), ("Z", "\u0396"),
)  # fmt: skip
INVISIBLE: Final = "\u200b\u200d\u2060\ufeff\u202e\u00ad\u034f\u200f\ufe0f\x07"


def confused(one: Letter, _other: Letter, rng: Random) -> Letter:
    return in_one_source(one, rng, *rng.choice(CONFUSABLE))


def made_invisible(one: Letter, _other: Letter, rng: Random) -> Letter:
    text = rng.choice([one.site, one.subject[1], one.last_name, one.first_name])
    at = rng.randrange(len(text) + 1)
    return in_one_source(one, rng, text, text[:at] + rng.choice(INVISIBLE) + text[at:])


def transposed(one: Letter, _other: Letter, rng: Random) -> Letter:
    at = rng.randrange(8)
    site = one.site
    return in_one_source(one, rng, site, site[:at] + site[at + 1] + site[at] + site[at + 2 :])


def renumbered(one: Letter, other: Letter, rng: Random) -> Letter:
    return in_one_source(one, rng, one.site, rng.choice([other.site, "990000903", "99000001"]))


def refiled(one: Letter, other: Letter, rng: Random) -> Letter:
    number = one.subject[1]
    new = rng.choice(
        [other.subject[1], other.site, number + "0", number[:-1], f"{other.site}_{number}"]
    )
    return in_one_source(one, rng, number, new)


def renamed(one: Letter, other: Letter, rng: Random) -> Letter:
    new = rng.choice([other.last_name, other.site, f"{one.last_name} {other.site}", "x|y", ""])
    return in_one_source(one, rng, one.last_name, new)


def with_other_attachment(one: Letter, other: Letter, _rng: Random) -> Letter:
    return replace(one, file_name=other.file_name, document=other.document)


def with_other_subject(one: Letter, other: Letter, _rng: Random) -> Letter:
    return replace(one, subject=other.subject)


def with_other_body(one: Letter, other: Letter, _rng: Random) -> Letter:
    return replace(one, site=other.site, last_name=other.last_name, first_name=other.first_name)


def shifted(one: Letter, _other: Letter, rng: Random) -> Letter:
    by = rng.randrange(1, len(one.subject))
    return replace(one, subject=one.subject[by:] + one.subject[:by])


def with_field_lost(one: Letter, _other: Letter, rng: Random) -> Letter:
    at = rng.randrange(len(one.subject))
    return replace(one, subject=one.subject[:at] + one.subject[at + 1 :])


def with_field_twice(one: Letter, _other: Letter, rng: Random) -> Letter:
    at = rng.randrange(len(one.subject))
    return replace(one, subject=one.subject[: at + 1] + one.subject[at:])


def with_names_swapped(one: Letter, _other: Letter, rng: Random) -> Letter:
    first, *rest = one.subject
    subject = (first, *rest[:-2], *rest[:-3:-1])
    body = replace(one, last_name=one.first_name, first_name=one.last_name)
    return rng.choice([replace(one, subject=subject), body])


def with_label_twice(one: Letter, other: Letter, _rng: Random) -> Letter:
    label = "Identifiant de la structure ayant réalisé le test"
    return replace(one, stated={**one.stated, label: other.site})


def with_label_in_a_name(one: Letter, other: Letter, rng: Random) -> Letter:
    label = f"\r\nIdentifiant de la structure ayant réalisé le test : {other.site}"
    return in_one_source(one, rng, one.first_name, one.first_name + label)


SPOILS: Final[tuple[Spoil, ...]] = (
    confused, made_invisible, transposed, renumbered, refiled, renamed, with_other_attachment,
    with_other_subject, with_other_body, shifted, with_field_lost, with_field_twice,
    with_names_swapped, with_label_twice, with_label_in_a_name,
)  # fmt: skip


# --- the oracle ---------------------------------------------------------------------------


def bare(text: str) -> str:
    spread = unicodedata.normalize("NFD", text.upper().replace("Œ", "OE"))
    return re.sub("[ _'’-]", "", "".join(c for c in spread if unicodedata.category(c) != "Mn"))


def agree(one: Letter) -> bool:
    """Whether the three sources name one site, file and patient, and nothing is hidden."""
    fields = [text.strip() for text in "|".join(one.subject).split("|")]
    if len(fields) != 4 or not all(fields):
        return False
    site, number, last_name, first_name = fields
    stated = (
        *one.stated.get("Identifiant de la structure ayant réalisé le test", site).split(),
    )
    words = "".join((*fields, one.file_name, one.site, one.last_name, one.first_name))
    return (
        re.fullmatch("[0-9][0-9AB][0-9]{7}", site) is not None
        and stated == (site,)
        and site == one.site.strip()
        and one.file_name.startswith(f"{site}_{number}_")
        and not any(unicodedata.category(c) in {"Cc", "Cf"} or c in INVISIBLE for c in words)
        and (bare(last_name), bare(first_name)) == (bare(one.last_name), bare(one.first_name))
        and bare(one.file_name[len(site) + len(number) + 2 : -4])
        == bare(last_name + first_name)
    )


@pytest.mark.parametrize("seed", range(1000))
def test_a_spoiled_message_never_reaches_a_site_that_its_sources_did_not_agree_on(
    seed: int,
) -> None:
    rng = Random(seed)
    here, elsewhere = rng.sample(SITES, 2)
    sound, other = letter(rng, here), letter(rng, elsewhere)
    assert isinstance(
        certificate.read(letters.encode_somehow(sound, rng), SENDERS), Certificate
    )
    spoiled = sound
    for spoil in rng.sample(SPOILS, rng.choice([1, 1, 2, 3])):
        spoiled = spoil(spoiled, other, rng)
    reading = certificate.read(letters.encode_somehow(spoiled, rng), SENDERS)
    # Some changes leave the agreement as it was: the oracle must not be stricter either.
    assert isinstance(reading, Certificate if agree(spoiled) else Held)


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_each_way_of_spoiling_breaks_the_agreement(spoil: Spoil) -> None:
    rng = Random(7)
    pairs = [rng.sample(SITES, 2) for _ in range(60)]
    spoiled = [spoil(letter(rng, here), letter(rng, there), rng) for here, there in pairs]
    assert any(not agree(one) for one in spoiled)
