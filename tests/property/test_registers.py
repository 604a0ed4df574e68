"""Whatever a register's file holds, reading ends in values or in one clear error."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher import rules
from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry import finess, mssante
from dispatcher.registry.beginning import beginning
from dispatcher.registry.matching import choose
from dispatcher.registry.review import Ours, review
from dispatcher.registry.source import NotARegister
from dispatcher.registry.values import Directory, Establishment, Register
from tests.registers import bal_row, directory_text, ej_row, et_row, finess_text

SITES = ("990000010", "990000028", "2A9999026")
EJ = "990000903"
FINESS = finess_text(
    et_row(SITES[0], EJ, "LABO DE L'ÉTÉ"),
    et_row(SITES[1], EJ, '"LE ""PORT"""'),
    ej_row(EJ, "SELAS"),
    et_row(SITES[2], "2A9999018", closed="2024-01-31"),
).encode()
DIRECTORY = directory_text(
    bal_row("sidep@labo.mssante.fr", EJ, "Réception @SIDEP"),
    bal_row("gare@labo.mssante.fr", f"1{SITES[1]}", "@SIDEp", number_type="1"),
    bal_row("jean@pro.mssante.fr", "", "", kind="PER"),
).encode()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("register.csv", content)
    return out.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "zipped": zipped,
    "gzipped": gzip.compress,
}
PIECES = (b'"', b";", b"|", b"\n", b"\r", b"\0", b"\xe9", b"\xef\xbb\xbf", b"structureet;", b"")


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a file with some bytes exchanged, pieces put in, and perhaps its end cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.integers(0, 40))
        found[at : at + length] = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
    return bytes(found[: draw(st.integers(0, len(found)) | st.just(len(found)))])


def read_finess(content: bytes) -> Register | None:
    """Return the register, None for the one error that may come."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            found, noted = finess.load(Path(file.name))
        except NotARegister:
            return None
    assert all(one.count and str(one) for one in noted)
    return found


def read_directory(content: bytes) -> Directory | None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            found, noted = mssante.load(Path(file.name))
        except NotARegister:
            return None
    assert all(one.count and str(one) for one in noted)
    return found


@pytest.mark.parametrize("packing", PACKINGS)
@given(data=st.data())
@settings(deadline=None)
def test_a_damaged_finess_file_never_breaks_the_reader(
    packing: str, data: st.DataObject
) -> None:
    found = read_finess(data.draw(damaged(PACKINGS[packing](FINESS))))
    if found is None:
        return
    for number, row in found.establishments.items():
        assert number == row.site
        assert row.legal_body is None or row in found.sites_of(row.legal_body)


@pytest.mark.parametrize("packing", PACKINGS)
@given(data=st.data())
@settings(deadline=None)
def test_a_damaged_directory_never_breaks_the_reader(packing: str, data: st.DataObject) -> None:
    found = read_directory(data.draw(damaged(PACKINGS[packing](DIRECTORY))))
    if found is None:
        return
    for number in (*SITES, EJ):
        for bal in found.carrying(FinessET(number)):
            assert "@" in bal.address
            assert bal in found.named(bal.address)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"finess;etalab;\xff")
def test_any_bytes_are_a_register_or_an_error(content: bytes) -> None:
    read_finess(content)
    read_directory(content)


@given(finess_file=damaged(FINESS), bals=damaged(DIRECTORY))
@settings(deadline=None)
def test_a_damaged_file_never_invents_a_choice(finess_file: bytes, bals: bytes) -> None:
    register, directory = read_finess(finess_file), read_directory(bals)
    if register is None or directory is None:
        return
    for site in register.establishments:
        choice = choose(site, register, directory)
        assert choice.sentence
        if choice.address is not None:
            lines = directory.named(choice.address)
            assert any(bal.counts for bal in lines)
            wanted = site.number if choice.route and choice.route.value == "P1" else None
            wanted = wanted or (choice.legal_body.number if choice.legal_body else "")
            assert wanted in {bal.structure for bal in lines}
    found = review(FinessEJ(EJ), register, directory, ours=Ours())
    assert {one.site for one in found.sites} == {
        row.site for row in register.sites_of(FinessEJ(EJ))
    }


@given(st.text(max_size=150), st.text(max_size=150))
@settings(deadline=None)
def test_any_names_make_a_routing_that_loads(name: str, category: str) -> None:
    row = Establishment(FinessET(SITES[0]), FinessEJ(EJ), name, category, "1", category)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "routing.yaml"
        text = beginning(FinessEJ(EJ), name, [row], choices={})
        file.write_text(text, encoding="utf-8")
        assert list(rules.load(file).sites) == [FinessET(SITES[0])]
