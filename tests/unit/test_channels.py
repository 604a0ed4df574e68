"""How SI-DEP reaches a patient: SMS, else e-mail, else MSSanté (guide, section 2)."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from dispatcher.simulator import channels, contacts
from dispatcher.simulator.channels import Channel, NoContact
from dispatcher.simulator.contacts import Contact

MOBILE, ADDRESS = "06 12 34 56 78", "m.durand@example.org"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("06 12 34 56 78", id="in pairs"),
        pytest.param("0612345678", id="together"),
        pytest.param("06.12.34.56.78", id="with full stops"),
        pytest.param("06-12-34-56-78", id="with hyphens"),
        pytest.param("+33612345678", id="international"),
        pytest.param("0033612345678", id="dialled from abroad"),
        pytest.param("+33 (0)6 12 34 56 78", id="with the zero in brackets"),
        pytest.param("07 81 23 45 67", id="07"),
        pytest.param("0690 00 12 34", id="Guadeloupe"),
        pytest.param("+596696201234", id="Martinique"),
        pytest.param("0694201234", id="Guyane"),
        pytest.param("0692 12 34 56", id="La Réunion"),
        pytest.param("0639 01 23 45", id="Mayotte"),
        pytest.param("+687751234", id="Nouvelle-Calédonie"),
        pytest.param("+68987123456", id="Polynésie"),
        pytest.param("00508551234", id="Saint-Pierre-et-Miquelon"),
        pytest.param("+681821234", id="Wallis-et-Futuna"),
    ],
)
def test_a_mobile_number_of_france_or_overseas_takes_an_sms(text: str) -> None:
    assert channels.way_to(Contact(text, ADDRESS)) == channels.Way(Channel.SMS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("01 23 45 67 89", id="a landline"),
        pytest.param("0590 20 12 34", id="a landline of Guadeloupe"),
        pytest.param("09 50 12 34 56", id="a box"),
        pytest.param("06 12 34 56", id="eight digits"),
        pytest.param("06 12 34 56 78 9", id="eleven digits"),
        pytest.param("+32 470 12 34 56", id="Belgium"),
        pytest.param("751234", id="six digits without a code"),
        pytest.param("O612345678", id="a letter O"),
        pytest.param("612345678", id="without its zero, as a spreadsheet leaves it"),
        pytest.param("06 12 34 56 78 (fils)", id="a word behind"),
        pytest.param("06 12 34 56 78 / 01 23 45 67 89", id="two numbers"),
        pytest.param("3639", id="a short number"),
        pytest.param("néant", id="a word"),
        pytest.param("", id="nothing"),
    ],
)
def test_anything_else_takes_none_and_the_address_is_tried(text: str) -> None:
    assert channels.way_to(Contact(text, ADDRESS)) == channels.Way(Channel.EMAIL)
    assert channels.way_to(Contact(text, None)).channel is Channel.MSSANTE


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("m.durand@example.org", id="plain"),
        pytest.param(" M.DURAND@EXAMPLE.ORG ", id="capitals and spaces around"),
        pytest.param("zoe.leroy+labo@mail.example.net", id="plus and subdomain"),
        pytest.param("o'neil@example.org", id="apostrophe"),
        pytest.param("1952@xn--sant-epa.example", id="digits, international domain"),
    ],
)
def test_an_address_that_a_form_takes_gets_an_email(text: str) -> None:
    assert channels.way_to(Contact(None, text)) == channels.Way(Channel.EMAIL)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("m.durand", id="no domain"),
        pytest.param("m.durand@", id="empty domain"),
        pytest.param("@example.org", id="no local part"),
        pytest.param("m.durand@example", id="one label"),
        pytest.param("m.durand@@example.org", id="two signs"),
        pytest.param("m durand@example.org", id="a space"),
        pytest.param("m..durand@example.org", id="two full stops"),
        pytest.param(".m@example.org", id="begins with a full stop"),
        pytest.param("m@-example.org", id="label begins with a hyphen"),
        pytest.param("m@example.123", id="a number as top level"),
        pytest.param("a@example.org, b@example.org", id="two addresses"),
        pytest.param("hélène@example.org", id="beyond ASCII"),
        pytest.param("m" * 65 + "@example.org", id="65 letters before the sign"),
        pytest.param("m@" + "d." * 124 + "example", id="257 letters"),
    ],
)
def test_an_address_that_no_form_takes_gets_nothing(text: str) -> None:
    assert channels.way_to(Contact(None, text)).channel is Channel.MSSANTE


@pytest.mark.parametrize(
    ("contact", "why"),
    [
        pytest.param(Contact(None, None), NoContact.NOTHING, id="nothing"),
        pytest.param(Contact(" ", ""), NoContact.NOTHING, id="blanks"),
        pytest.param(Contact("01 23 45 67 89", None), NoContact.LANDLINE, id="landline"),
        pytest.param(Contact("01 23 45 67 89", "x@"), NoContact.LANDLINE, id="landline, bad"),
        pytest.param(Contact("06 12", None), NoContact.INVALID, id="bad number"),
        pytest.param(Contact(None, "x@"), NoContact.INVALID, id="bad address"),
    ],
)
def test_a_patient_for_mssante_says_why(contact: Contact, why: NoContact) -> None:
    assert channels.way_to(contact) == channels.Way(Channel.MSSANTE, why)


@pytest.mark.parametrize("kind", contacts.KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_contact_is_reached_as_it_was_invented(kind: contacts.Kind) -> None:
    for seed in range(60):
        rng = Random(seed)
        made = Contact(kind.phone(rng), kind.email(rng))
        reached = channels.way_to(made).channel is not Channel.MSSANTE
        assert reached == kind.reachable, made.phone or made.email


def test_one_in_ten_has_neither_mobile_nor_address_as_in_the_guide() -> None:
    ways = Counter(
        channels.way_to(contacts.contact(Random(seed))).channel for seed in range(3000)
    )
    assert 0.08 < ways[Channel.MSSANTE] / 3000 < 0.12
    assert ways[Channel.SMS] > ways[Channel.EMAIL] > ways[Channel.MSSANTE] / 2


def test_no_number_or_address_shows_in_a_repr() -> None:
    assert "612" not in repr(Contact(MOBILE, ADDRESS))
    assert "durand" not in repr(Contact(MOBILE, ADDRESS))
