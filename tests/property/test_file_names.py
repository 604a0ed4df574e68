"""Whatever a sender calls an attachment, its name in the folder is safe."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.edges.folder.names import candidates, folded, is_part, safe_name

# Any text, and text made of what is dangerous.
NAMES = st.one_of(
    st.text(st.characters(), max_size=300),
    st.text(
        st.sampled_from('aZé./\\:*?"<>|-_ .\u202e\u200b\u0301\u0338\uff0f\uf022\udcffCONulpt1'),
        max_size=40,
    ),
    st.sampled_from(["CON", "nul", "Com1", "LPT9", "aux "]).flatmap(
        lambda device: st.text(" .pdfx", max_size=8).map(lambda tail: device + tail)
    ),
)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
FORBIDDEN = set('<>:"/\\|?*')
DEVICES = {"CON", "PRN", "AUX", "NUL"} | {p + d for p in ("COM", "LPT") for d in "0123456789"}


def assert_safe(name: str) -> None:
    assert len(name.encode()) <= 180
    assert name.endswith(".pdf")
    assert name == unicodedata.normalize("NFC", name)
    assert not FORBIDDEN & set(name)
    assert not {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} & set(map(unicodedata.category, name))
    assert name[0] not in ".- "
    assert name[:-4].rstrip(". ") == name[:-4] != ""
    assert name.split(".", maxsplit=1)[0].rstrip().upper() not in DEVICES
    assert Path(name).name == name
    assert not is_part(name)


@given(NAMES)
def test_every_name_is_made_safe(name: str) -> None:
    assert_safe(safe_name(name))


@given(NAMES)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert safe_name(safe_name(name)) == safe_name(name)


@given(NAMES, HASHES)
def test_every_other_name_of_a_content_is_safe_too(name: str, sha256: str) -> None:
    names = list(candidates(name, sha256))
    for candidate in names:
        assert_safe(candidate)
    assert len({folded(candidate) for candidate in names}) == len(names)


@given(NAMES)
def test_composed_or_not_a_name_becomes_the_same(name: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert safe_name(composed) == safe_name(decomposed)
