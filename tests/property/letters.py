"""Writes a certificate's message in many encodings, knowing nothing of how it is read."""

from __future__ import annotations

import base64
import html
import quopri
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final
from urllib.parse import quote

SENDER: Final = "noreply.sidep@enovacom.easycrypt.fr"
ANALYSIS: Final = "Type d’analyse (voir le site de Bioloinc pour la terminologie)"


@dataclass(frozen=True)
class Letter:
    """Three sources, each with its own words, and the document."""

    subject: tuple[str, ...]
    file_name: str
    site: str
    last_name: str
    first_name: str
    document: bytes = b"%PDF-1.4\n\xe2\xe3 une page\n%%EOF\n"
    stated: Mapping[str, str] = field(
        default_factory=lambda: {
            "Date de prélèvement": "08/04/2021 13:48",
            "Résultat du test": "Négatif",
        }
    )

    def headline(self) -> str:
        return "[Projet SI-DEP] Certificat de test :  " + " | ".join(self.subject)

    def lines(self) -> list[str]:
        return [
            f"Nom : {self.last_name}",
            f"Prénom : {self.first_name}",
            f"Test réalisé : {ANALYSIS}: 94500-6 ARN du virus",
            f"Identifiant de la structure ayant réalisé le test : {self.site}",
            *(f"{label} : {value}" for label, value in self.stated.items()),
        ]


def about(site: str, number: str, last_name: str, first_name: str) -> Letter:
    """Return the letter in which all sources agree."""
    name = f"{site}_{number}_{last_name.upper()}_{first_name}.pdf"
    return Letter((site, number, last_name, first_name), name, site, last_name, first_name)


# --- forms of an unstructured header ------------------------------------------------------


def _western(text: str) -> tuple[bytes, str]:
    """Encode in cp1252 when it can say it, else in UTF-8."""
    try:
        return text.encode("cp1252"), "windows-1252"
    except UnicodeEncodeError:
        return text.encode(), "utf-8"


def two_ways(text: str) -> bool:
    """Return whether a text's bytes in cp1252 are those of another text in UTF-8.

    `ÉŸ` are those of `ɟ`. Mailers lie about charsets, so the bytes are looked at too.
    """
    raw, charset = _western(text)
    try:
        return charset != "utf-8" and raw.decode() != text
    except UnicodeDecodeError:
        return False


def _base64_words(text: str, size: int, space: bytes) -> bytes:
    raw = text.encode()
    cuts = (raw[at : at + size] for at in range(0, len(raw), size))
    return space.join(b"=?utf-8?B?" + base64.b64encode(cut) + b"?=" for cut in cuts)


def _quoted_words(text: str, size: int, space: bytes) -> bytes:
    raw, charset = _western(text)
    cuts = (raw[at : at + size] for at in range(0, len(raw), size))
    return space.join(
        b"=?%s?q?%s?=" % (charset.encode(), b"".join(b"=%02x" % byte for byte in cut))
        for cut in cuts
    )


HEADLINES: Final[Mapping[str, Callable[[str], bytes]]] = {
    "raw utf-8": str.encode,
    "raw cp1252": lambda text: _western(text)[0],
    "base64 cut anywhere": lambda text: _base64_words(text, 7, b"\r\n "),
    "base64 without spaces": lambda text: _base64_words(text, 11, b""),
    "quoted cut anywhere": lambda text: _quoted_words(text, 5, b"\r\n\t"),
    "one long word": lambda text: _base64_words(text, 9999, b" "),
}

# --- forms of a file name -----------------------------------------------------------------


def _extended(text: str) -> bytes:
    return b"; filename*=UTF-8''" + quote(text, safe="").encode()


def _continued(text: str) -> bytes:
    whole = "UTF-8''" + quote(text, safe="")
    cuts = [whole[at : at + 29] for at in range(0, len(whole), 29)]
    return "".join(f";\r\n\tfilename*{n}*={cut}" for n, cut in enumerate(cuts)).encode()


def _with_poor_form(text: str) -> bytes:
    return b'; filename="' + text.encode("ascii", "replace") + b'"' + _extended(text)


FILE_NAMES: Final[Mapping[str, Callable[[str], bytes]]] = {
    "extended": _extended,
    "continued": _continued,
    "poor and extended": _with_poor_form,
    "raw utf-8": lambda text: b'; filename="' + text.encode() + b'"',
    "raw cp1252": lambda text: b'; filename="' + _western(text)[0] + b'"',
    "words in quotes": lambda text: b'; filename="' + _base64_words(text, 13, b"\r\n ") + b'"',
    "bare quoted word": lambda text: b"; filename=" + _quoted_words(text, 999, b""),
    "lying charset": lambda text: b"; filename*=iso-8859-1''" + quote(text, safe="").encode(),
}

# --- forms of a body ----------------------------------------------------------------------


def _part(kind: str, charset: str, transfer: str, content: bytes) -> bytes:
    head = f"Content-Type: {kind}; charset={charset}\r\nContent-Transfer-Encoding: {transfer}"
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def _plain(letter: Letter) -> str:
    return "Bonjour,\r\n\r\n" + "\r\n\r\n".join(letter.lines()) + "\r\n\r\nCordialement\r\n"


def _quoted_plain(letter: Letter) -> bytes:
    raw, charset = _western(_plain(letter))
    content = quopri.encodestring(raw.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return _part("text/plain", charset, "quoted-printable", content)


def _base64_plain(letter: Letter) -> bytes:
    return _part("text/plain", "utf-8", "base64", base64.encodebytes(_plain(letter).encode()))


def _html(letter: Letter) -> bytes:
    rows = "\r\n".join(f"<p>{html.escape(line)}</p>" for line in letter.lines())
    page = f"<html><body><p>Bonjour,</p>{rows}</body></html>"
    return _part("text/html", "utf-8", "8bit", page.encode())


def _table(letter: Letter) -> bytes:
    cells = (line.rpartition(" : " if " : " in line else ": ") for line in letter.lines())
    rows = "".join(
        f"<tr><td>{html.escape(label)}&nbsp;:</td><td>{html.escape(value)}</td></tr>"
        for label, _, value in cells
    )
    return _part("text/html", "utf-8", "base64", base64.encodebytes(f"<table>{rows}".encode()))


def _both(letter: Letter) -> bytes:
    inner = b"--in\r\n" + _quoted_plain(letter) + b"--in\r\n" + _html(letter) + b"--in--\r\n"
    return b"Content-Type: multipart/alternative; boundary=in\r\n\r\n" + inner


BODIES: Final[Mapping[str, Callable[[Letter], bytes]]] = {
    "plain quoted-printable": _quoted_plain,
    "plain base64": _base64_plain,
    "plain 8bit": lambda letter: _part("text/plain", "x", "8bit", _plain(letter).encode()),
    "html": _html,
    "html table": _table,
    "both": _both,
}


def encode(letter: Letter, headline: str, file_name: str, body: str) -> bytes:
    """Return the message in the named forms; a raw form cannot hold a line end."""
    headline = "one long word" if "\n" in letter.headline() else headline
    file_name = "extended" if "\n" in letter.file_name else file_name
    head = b"From: SI-DEP <%s>\r\nSubject: %s\r\n" % (
        SENDER.encode(),
        HEADLINES[headline](letter.headline()),
    )
    attachment = b"Content-Type: application/pdf\r\nContent-Disposition: attachment%s\r\n" % (
        FILE_NAMES[file_name](letter.file_name)
    )
    attachment += b"Content-Transfer-Encoding: base64\r\n\r\n"
    attachment += base64.encodebytes(letter.document).replace(b"\n", b"\r\n")
    parts = BODIES[body](letter) + b"--out\r\n" + attachment
    top = head + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="out"\r\n\r\n'
    return top + b"--out\r\n" + parts + b"--out--\r\n"


def encode_somehow(letter: Letter, rng: Random) -> bytes:
    """Return the message in forms drawn from `rng`."""
    headline = rng.choice(list(HEADLINES))
    return encode(letter, headline, rng.choice(list(FILE_NAMES)), rng.choice(list(BODIES)))
