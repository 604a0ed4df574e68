"""Invents how patients can be reached: telephone numbers and e-mail addresses, good and bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

# Where French numbers are: the mainland, and what has a telephone code of its own.
OVERSEAS: Final = ("GP", "MQ", "GF", "RE", "YT", "PM", "NC", "PF", "WF")
REGIONS: Final = ("FR", *OVERSEAS)

# In May 2021 one patient of ten had neither a mobile number nor an e-mail address in
# SI-DEP (guide, section 5).
UNREACHABLE: Final = 0.10


@dataclass(frozen=True, slots=True)
class Contact:
    """What a laboratory's files say of a patient. None: the field is empty.

    `kind` names how it was invented, for tests and for people who look at a population.
    """

    phone: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    kind: str = "given"


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to be reachable or not. Tests hold `reachable` against the choice of channel."""

    name: str
    reachable: bool
    weight: int
    phone: Callable[[Random], str | None]
    email: Callable[[Random], str | None]


def contact(rng: Random, *, unreachable: float = UNREACHABLE) -> Contact:
    """Invent a contact; that share of them has neither a mobile number nor an address."""
    wanted = rng.random() >= unreachable
    kinds = [kind for kind in KINDS if kind.reachable == wanted]
    kind = rng.choices(kinds, [one.weight for one in kinds])[0]
    return Contact(kind.phone(rng), kind.email(rng), kind.name)


# --- numbers -----------------------------------------------------------------------------

# The library's own examples: nobody is called, yet no number is drawn that may be somebody's.


def _example(region: str, kind: int) -> str:
    number = phonenumbers.example_number_for_type(region, kind)
    if number is None:
        raise LookupError(f"no example of a number for {region}")
    return f"+{number.country_code}{phonenumbers.national_significant_number(number)}"


_MAINLAND: Final = _example("FR", PhoneNumberType.MOBILE)
_ABROAD: Final = {
    region: (
        _example(region, PhoneNumberType.MOBILE),
        _example(region, PhoneNumberType.FIXED_LINE),
    )
    for region in ("BE", "CH", "DE", "GB")
}
_OVERSEAS: Final = {
    region: (
        _example(region, PhoneNumberType.MOBILE),
        _example(region, PhoneNumberType.FIXED_LINE),
    )
    for region in OVERSEAS
}
_LANDLINE: Final = _example("FR", PhoneNumberType.FIXED_LINE)


def _in_pairs(international: str) -> str:
    """Write a number of nine digits after +33 or the like as people do: 06 12 34 56 78."""
    digits = "0" + international[-9:]
    return " ".join(digits[place : place + 2] for place in range(0, 10, 2))


def _mobile(rng: Random) -> str:
    pairs = _in_pairs(_MAINLAND)
    return rng.choice(
        (
            pairs,
            pairs.replace(" ", ""),
            pairs.replace(" ", "."),
            pairs.replace(" ", "-"),
            _MAINLAND,
            "0033" + _MAINLAND[3:],
            "+33 (0)" + pairs[1:],
            f" {pairs} ",
        )
    )


def _overseas_mobile(rng: Random) -> str:
    region = rng.choice(OVERSEAS)
    mobile, _ = _OVERSEAS[region]
    # Ten digits in the departments; the Pacific and Saint-Pierre are dialled from outside.
    written = [mobile, "00" + mobile[1:]]
    if region in {"GP", "MQ", "GF", "RE", "YT"}:
        written += [_in_pairs(mobile), _in_pairs(mobile).replace(" ", "")]
    return rng.choice(written)


def _landline(rng: Random) -> str:
    mainland = _in_pairs(_LANDLINE)
    reunion = _in_pairs(_OVERSEAS["RE"][1])
    return rng.choice((mainland, mainland.replace(" ", ""), _LANDLINE, reunion))


def _no_number(rng: Random) -> str:
    pairs = _in_pairs(_MAINLAND)
    return rng.choice(
        (
            pairs[:-3],  # eight digits
            pairs + " 9",  # eleven
            "00 00 00 00 00",
            "99 99 99 99 99",
            "06 39 98 01 23",  # kept for films by the ARCEP: given to nobody
            "inconnu",
            "-",
            ".",
            "O6 12 34 56 7B",
        )
    )


def _foreign_mobile(rng: Random) -> str:
    return rng.choice([mobile for mobile, _ in _ABROAD.values()])


# --- addresses ---------------------------------------------------------------------------

_LOCAL_PARTS: Final = ("m.durand", "p_martin", "zoe.leroy+labo", "j-p.blanc", "1952", "o'neil")
# Kept for examples by RFC 2606.
_DOMAINS: Final = ("example.org", "mail.example.net", "exemple.example", "xn--sant-epa.example")


def _address(rng: Random) -> str:
    text = f"{rng.choice(_LOCAL_PARTS)}@{rng.choice(_DOMAINS)}"
    return rng.choice((text, text.upper(), f" {text}"))


def _no_address(rng: Random) -> str:
    return rng.choice(
        (
            "neant",
            "@",
            "-",
            "m.durand",
            "m.durand@",
            "@example.org",
            "m.durand@example",
            "m.durand@@example.org",
            "m durand@example.org",
            "m.durand@example..org",
            ".m.durand@example.org",
            "m.durand@-example.org",
            "m.durand@example.org, p.durand@example.org",
            "hélène@example.org",
        )
    )


def _none(_rng: Random) -> None:
    return None


def _empty(_rng: Random) -> str:
    return ""


KINDS: Final = (
    Kind("mobile", True, 46, _mobile, _none),
    Kind("mobile and e-mail", True, 24, _mobile, _address),
    Kind("overseas mobile", True, 6, _overseas_mobile, _none),
    Kind("mobile, bad e-mail", True, 3, _mobile, _no_address),
    Kind("landline and e-mail", True, 9, _landline, _address),
    Kind("bad number, good e-mail", True, 4, _no_number, _address),
    Kind("foreign mobile and e-mail", True, 2, _foreign_mobile, _address),
    Kind("e-mail", True, 6, _none, _address),
    Kind("nothing", False, 50, _none, _none),
    Kind("empty fields", False, 6, _empty, _empty),
    Kind("landline", False, 26, _landline, _none),
    Kind("bad number", False, 9, _no_number, _none),
    Kind("bad e-mail", False, 4, _none, _no_address),
    Kind("landline, bad e-mail", False, 3, _landline, _no_address),
    Kind("foreign mobile", False, 2, _foreign_mobile, _none),
)
