"""What a line in the log may hold, and what the guard makes of everything else."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog

from dispatcher.edges import log
from dispatcher.edges.log.guard import LONGEST, MOST, REDACTED


def lines(style: str = "json", **values: Any) -> list[str]:
    """Log one event and return what was written."""
    stream = io.StringIO()
    log.configure(style=style, stream=stream)  # type: ignore[arg-type]
    structlog.get_logger("test").warning("message_held", **values)
    return stream.getvalue().splitlines()


def told(**values: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(**values)]


def test_what_is_known_gets_through_as_it_is() -> None:
    values = {
        "id": "abcdefghij",
        "site": "2A0000014",
        "target": "dossier d'accueil",
        "reason": "finess-mismatch",
        "because": "not mounted: /srv/sidep/990000010_gare",
        "count": 3,
        "drained": True,
        "day": "2026-11-20",
        "period": "2026-W48",
        "answer": "250 2.0.0 Ok: queued as 4XyZ",
        "kinds": ["intake-stalled"],
        "mailbox": None,
        "since": "2026-11-20T09:00:00+00:00",
        "problems": ["routing.yaml:3:1: wrong; write it right"],
        "ids": ["abcdefghij", "jihgfedcba"],
    }
    (line,) = told(**values)
    assert {key: line[key] for key in values} == values
    assert (line["event"], line["level"]) == ("message_held", "warning")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"last_name": "DUPONT"}, id="an unknown key"),
        pytest.param({"id": "DUPONT"}, id="an id that is none"),
        pytest.param({"site": "DUPONT Jean"}, id="a site that is none"),
        pytest.param({"reason": "DUPONT, Jean"}, id="a word that is a sentence"),
        pytest.param({"count": "DUPONT"}, id="a number that is text"),
        pytest.param({"because": b"DUPONT"}, id="bytes"),
        pytest.param({"because": ValueError("DUPONT")}, id="an object"),
        pytest.param({"ids": "DUPONT"}, id="a list that is text"),
        pytest.param({"problems": ["fine", {"DUPONT": 1}]}, id="a list that holds a table"),
        pytest.param({"because": "no space for DUPONT_Jean.PDF"}, id="a file's name"),
        pytest.param(
            {"because": "990000010_21048BC000020_DUPONT_Jean"}, id="a name without its end"
        ),
        pytest.param(
            {"because": "[Projet SI-DEP] Certificat de test :  1 | DUPONT"}, id="a subject"
        ),
        pytest.param({"hint": "990000010 | 21048BC | DUPONT | Jean"}, id="a row of a subject"),
        pytest.param({"what": "DUPONT 1850578006048"}, id="an INS"),
        pytest.param({"what": "DUPONT 185052A006048 36"}, id="an INS of Corsica"),
        pytest.param({"what": "DUPONT, born 03/05/1985"}, id="a date of birth"),
        pytest.param({"DUPONT Jean": 1}, id="a key that is a name"),
        pytest.param({"since": "03 mai 1985, DUPONT"}, id="a time that is none"),
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_what_is_not_known_is_left_out_and_reported(style: str, values: dict[str, Any]) -> None:
    written = lines(style, **values)
    assert len(written) == 2
    assert "log_was_redacted" in written[0]
    assert "message_held" in written[1]
    assert not any("dupont" in line.casefold() for line in written)


def test_the_report_says_which_event_and_which_key_and_no_value() -> None:
    report, line = told(because="x.pdf", born="1985", count=1)
    assert (report["level"], report["what"], report["keys"]) == (
        "error",
        "event message_held",
        ["because", "born"],
    )
    assert (line["because"], line["count"], "born" in line) == (REDACTED, 1, False)


def test_an_exception_is_told_by_its_class_and_place_alone() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    try:
        int("DUPONT Jean")
    except ValueError:
        structlog.get_logger().error("scheduled_job_failed", exc_info=True)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["error"] == "ValueError"
    assert "DUPONT" not in line


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\nERROR forged", id="a line feed"),
        pytest.param("a\r\nERROR forged", id="a carriage return"),
        pytest.param("a\u2028ERROR forged", id="U+2028"),
        pytest.param("a\x85ERROR forged", id="U+0085"),
        pytest.param("a\x1b[2Jb", id="ESC"),
        pytest.param("a\u202eb", id="a bidi override"),
        pytest.param("a\x00b", id="NUL"),
        pytest.param("a\ud800b", id="half a surrogate"),
    ],
)
def test_a_text_stays_on_its_line_and_commands_no_terminal(style: str, text: str) -> None:
    (line,) = lines(style, because=text, problems=[text], target=text)
    assert line.replace("\x1b[", "") if style == "console" else line.isprintable()
    assert not set("\n\r\u2028\x85\u202e\x00\ud800") & set(line)
    assert "\x1b[2J" not in line


def test_texts_and_lists_are_cut() -> None:
    (line,) = told(because="x" * 10_000, problems=["y"] * 1_000)
    assert len(line["because"]) == LONGEST
    assert len(line["problems"]) == MOST


def test_an_event_without_a_name_is_told_as_a_defect() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    structlog.get_logger().info("DUPONT Jean was delivered")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "log_was_redacted"
    assert "DUPONT" not in line


def test_other_libraries_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    logging.getLogger("imapclient").critical("DUPONT Jean")
    assert stream.getvalue() + "".join(capsys.readouterr()) == ""
