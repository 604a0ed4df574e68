"""Pages that follow from the code are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.core.ledger import ALLOWED, DELIVERY_ALLOWED
from tests.architecture import generate
from tests.architecture.texts import name_of


@pytest.mark.parametrize("path", generate.pages(), ids=name_of)
def test_a_generated_page_is_in_step_with_the_code(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.pages()[path], "run `make docs`"


@pytest.mark.parametrize(
    ("allowed", "drawn"),
    [
        pytest.param(ALLOWED, generate.message_diagram(), id="messages"),
        pytest.param(DELIVERY_ALLOWED, generate.delivery_diagram(), id="deliveries"),
    ],
)
def test_a_diagram_draws_every_transition_and_no_other(
    allowed: dict[object, frozenset[object]], drawn: list[str]
) -> None:
    arrows = {tuple(line.split(" --> ")) for line in (line.strip() for line in drawn)}
    inner = {(one, two) for one, two in arrows if "[*]" not in {one, two}}
    assert inner == {
        (getattr(before, "value", ""), getattr(state, "value", ""))
        for before, after in allowed.items()
        for state in after
    }


def test_the_settings_page_names_the_keys_of_the_contract() -> None:
    keys = generate.settings_keys()
    for key in ("mailboxes.NAME.host", "retention.negative", "alerts.smtp.host", "log.level"):
        assert key in keys
