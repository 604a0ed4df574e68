"""Chooses how SI-DEP reaches a patient: SMS, else e-mail, else MSSanté."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType

from dispatcher.simulator.contacts import REGIONS, Contact


class Channel(Enum):
    """The way to the patient. Only MSSANTE makes a message for a laboratory."""

    SMS = "sms"
    EMAIL = "email"
    MSSANTE = "mssante"


class NoContact(Enum):
    """Why a patient can only be reached through the laboratory."""

    NOTHING = "no-contact"
    LANDLINE = "landline-only"
    INVALID = "contact-invalid"


@dataclass(frozen=True, slots=True)
class Way:
    """The channel; `why` is there for MSSANTE alone."""

    channel: Channel
    why: NoContact | None = None


def way_to(contact: Contact) -> Way:
    """Return how that patient is reached (guide, section 2).

    A valid mobile number: SMS. Else a valid e-mail address: e-mail. Else MSSanté. SI-DEP's
    own idea of "valid" is not published: see `is_mobile` and `is_address` for ours.
    """
    phone, email = (contact.phone or "").strip(), (contact.email or "").strip()
    if is_mobile(phone):
        return Way(Channel.SMS)
    if is_address(email):
        return Way(Channel.EMAIL)
    if not phone and not email:
        return Way(Channel.MSSANTE, NoContact.NOTHING)
    if is_landline(phone):
        return Way(Channel.MSSANTE, NoContact.LANDLINE)
    return Way(Channel.MSSANTE, NoContact.INVALID)


def is_mobile(text: str) -> bool:
    """Whether a text is a mobile number of France or of a region overseas."""
    return PhoneNumberType.MOBILE in _kinds(text)


def is_landline(text: str) -> bool:
    """Whether a text is a number that cannot take an SMS, in the same regions."""
    return PhoneNumberType.FIXED_LINE in _kinds(text)


def _kinds(text: str) -> set[int]:
    """Return what a number is in the regions that know it.

    Dialled the French way (ten digits that begin with 0), a number of a department
    overseas is none of the mainland's: each region is asked.
    """
    found: set[int] = set()
    for region in REGIONS:
        number = _number(text, region)
        if number is not None and phonenumbers.is_valid_number_for_region(number, region):
            found.add(phonenumbers.number_type(number))
    return found


def _number(text: str, region: str) -> PhoneNumber | None:
    if not _FULL.fullmatch(text):
        return None
    try:
        return phonenumbers.parse(text, region)
    except NumberParseException:
        return None


# A whole number, international or of ten digits. The library would also take letters, and
# the short numbers of the Pacific, which on a form of the mainland are slips.
_FULL: Final = re.compile(r"(?:\+|00)[0-9 ().-]{7,30}|0(?:[ .-]*[0-9]){9}", re.ASCII)

# RFC 5321, 4.1.2: a dot-string and a domain of at least two labels. No quotes, no literals,
# no letters beyond ASCII: what forms of the time took.
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(
    rf"(?=.{{1,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}\Z"
)


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address that a form would take."""
    return _ADDRESS.match(text) is not None
