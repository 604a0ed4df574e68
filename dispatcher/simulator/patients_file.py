"""Reads patients of one's own from a CSV file, or tells every mistake in it with its line."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Final

from dispatcher.core.finess import SHAPE
from dispatcher.errors import ConfigInvalid
from dispatcher.simulator import exams, faults, people
from dispatcher.simulator.contacts import Contact
from dispatcher.simulator.dossiers import Dossier
from dispatcher.simulator.exams import PARIS, Exam, Outcome
from dispatcher.simulator.faults import Fault
from dispatcher.simulator.people import Patient, Sex

NEEDED: Final = ("site", "last_name", "first_name")
# What may be left out or empty: a name, and what it means then.
OPTIONAL: Final = {
    "file_number": "invented",
    "sex": "invented",
    "born_on": "invented",
    "ins": "none",
    "phone": "none",
    "email": "none",
    "analysis": "invented",
    "result": "invented",
    "sampled_at": "invented, in the 48 hours before now",
    "integrated_at": "invented, after the sampling",
    "fault": "none",
}
_LONGEST: Final = 200
_LARGEST: Final = 64 * 1024 * 1024


class _Mistake(Exception):
    """A cell that cannot be taken; the text tells its column, never what stands in it."""


def read(path: Path, *, seed: int, now: datetime, first: int = 0) -> list[Dossier]:
    """Read a file with a header line: UTF-8, cells separated by `;` or `,`.

    Columns in any order: `NEEDED`, and `OPTIONAL` as wished. Dossiers are numbered from
    `first`. Raises ConfigInvalid with every mistake as `file:line: …`.
    """
    rows = _rows(path)
    made, problems = [], []
    taken: set[tuple[str, str]] = set()
    for place, (line, cells) in enumerate(rows):
        try:
            dossier = _dossier(cells, str(seed), first + place, now=now)
        except _Mistake as mistake:
            problems.append(f"{path.name}:{line}: {mistake}")
            continue
        key = (dossier.exam.site, dossier.exam.file_number)
        if key in taken:
            problems.append(f"{path.name}:{line}: this site has the file number already")
        taken.add(key)
        made.append(dossier)
    if problems:
        raise ConfigInvalid(tuple(problems))
    return made


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row with its line; raises ConfigInvalid for what is no such file."""
    text = _text(path)
    first_line = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in first_line else ",", strict=True
    )
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if problems := tuple(f"{path.name}:1: {one}" for one in _wrong_with(header)):
            raise ConfigInvalid(problems)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                where = f"{path.name}:{reader.line_num}"
                raise ConfigInvalid(
                    (f"{where}: {len(cells)} cells, the header has {len(header)}",)
                )
            kept = (unicodedata.normalize("NFC", cell.strip()) for cell in cells)
            yield reader.line_num, dict(zip(header, kept, strict=True))
    except csv.Error as error:
        raise ConfigInvalid((f"{path.name}:{reader.line_num}: {error}",)) from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigInvalid((f"{path.name}: larger than 64 MB",))
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigInvalid((f"{path.name}:{line}: not UTF-8; save it as UTF-8",)) from None
    except OSError as error:
        raise ConfigInvalid((f"{path.name}: {error.strerror}",)) from None


def _wrong_with(header: list[str]) -> Iterator[str]:
    for name in NEEDED:
        if name not in header:
            yield f"the column `{name}` is missing"
    for name in header:
        if name not in NEEDED and name not in OPTIONAL:
            known = ", ".join((*NEEDED, *OPTIONAL))
            yield f"there is no column `{name[:40]}`; there are {known}"
    if len(set(header)) < len(header):
        yield "a column is there twice"


# --- one row -----------------------------------------------------------------------------


def _dossier(cells: Mapping[str, str], seed: str, number: int, *, now: datetime) -> Dossier:
    rng = Random(f"{seed}:{number}:file")
    for name, cell in cells.items():
        if len(cell) > _LONGEST or not cell.isprintable():
            raise _Mistake(f"`{name}` is longer than {_LONGEST} letters, or has control ones")
    contact = Contact(cells.get("phone") or None, cells.get("email") or None)
    exam = _exam(cells, exams.exam(rng, _site(cells), now))
    patient = _patient(cells, people.patient(rng, now.date()))
    return Dossier(number, seed, patient, contact, exam, _fault(cells))


def _site(cells: Mapping[str, str]) -> str:
    site = cells["site"].upper()
    if not SHAPE.fullmatch(site):
        raise _Mistake("`site` is no FINESS number: nine digits, the second may be A or B")
    return site


def _patient(cells: Mapping[str, str], invented: Patient) -> Patient:
    for name in ("last_name", "first_name"):
        if not cells[name]:
            raise _Mistake(f"`{name}` is empty")
        if "|" in cells[name]:
            raise _Mistake(f"`{name}` holds a bar, which separates the fields of the subject")
    born_on = _day(cells.get("born_on", ""))
    return replace(
        invented,
        last_name=cells["last_name"],
        first_name=cells["first_name"],
        sex=_sex(cells.get("sex", "").upper()) or invented.sex,
        born_on=born_on or invented.born_on,
        ins=cells.get("ins") or None,
    )


def _sex(text: str) -> Sex | None:
    match text:
        case "":
            return None
        case "F" | "M":
            return text
        case _:
            raise _Mistake("`sex` is neither F nor M")


def _exam(cells: Mapping[str, str], invented: Exam) -> Exam:
    number = cells.get("file_number") or invented.file_number
    if "|" in number:
        raise _Mistake("`file_number` holds a bar, which separates the fields of the subject")
    code, _, label = cells.get("analysis", "").partition(" ")
    sampled_at = _time(cells, "sampled_at") or invented.sampled_at
    integrated_at = _time(cells, "integrated_at") or max(invented.integrated_at, sampled_at)
    if integrated_at < sampled_at:
        raise _Mistake("`integrated_at` is before `sampled_at`")
    return replace(
        invented,
        file_number=number,
        code=code or invented.code,
        label=label or exams.ANALYSES.get(code, invented.label),
        outcome=_outcome(cells.get("result", "")) or invented.outcome,
        sampled_at=sampled_at,
        integrated_at=integrated_at,
    )


def _outcome(text: str) -> Outcome | None:
    if not text:
        return None
    for outcome in Outcome:
        if text.casefold() in {outcome.value.casefold(), outcome.word}:
            return outcome
    words = ", ".join(outcome.word for outcome in Outcome)
    raise _Mistake(f"`result` is none of {words}")


def _fault(cells: Mapping[str, str]) -> Fault | None:
    name = cells.get("fault", "")
    try:
        return faults.named(name) if name else None
    except KeyError:
        raise _Mistake("`fault` names no fault; `--list-faults` lists them") from None


_DAY: Final = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})|([0-9]{4})-([0-9]{2})-([0-9]{2})")
_HOUR: Final = re.compile(r"(\S+)[ T]([0-9]{2}):([0-9]{2})")


def _day(text: str) -> date | None:
    if not text:
        return None
    found = _DAY.fullmatch(text)
    try:
        if found is not None:
            parts = [int(part) for part in found.groups() if part is not None]
            return date(*(parts if found[4] else reversed(parts)))
    except ValueError:
        pass
    raise _Mistake("a date is neither dd/mm/yyyy nor yyyy-mm-dd")


def _time(cells: Mapping[str, str], name: str) -> datetime | None:
    text = cells.get(name, "")
    if not text:
        return None
    found = _HOUR.fullmatch(text)
    day = _day(found[1]) if found else None
    try:
        if found is not None and day is not None:
            hour, minute = int(found[2]), int(found[3])
            return datetime(day.year, day.month, day.day, hour, minute, tzinfo=PARIS)
    except ValueError:
        pass
    raise _Mistake(f"`{name}` is no `dd/mm/yyyy HH:MM` (Europe/Paris)")
