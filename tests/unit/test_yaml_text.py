"""What a YAML file of ours may hold, and how anything else is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dispatcher.errors import ConfigInvalid
from dispatcher.yaml_text import Kind, Problems, Scalar, Table, read_table, shown, suggestion


def read(path: Path, content: bytes | str, *, limit: int = 1_000_000) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems(path)
    table, kept = read_table(path, problems, limit=limit)
    problems.raise_if_any()
    assert kept == path.read_bytes()
    return table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.yaml"


def refusal(path: Path, content: bytes | str, *, limit: int = 1_000_000) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        read(path, content, limit=limit)
    return tuple(problem.removeprefix(str(path)) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("content", "begins"),
    [
        pytest.param("", ":1:1: the file is empty", id="an empty file"),
        pytest.param("# nothing\n\n", ":1:1: the file is empty", id="comments alone"),
        pytest.param("- a\n", ":1:1: the file is not a table", id="a list"),
        pytest.param("a\n", ":1:1: the file is not a table", id="a word"),
        pytest.param("a:\n\tb: 1\n", ":2:1: a tab stands here", id="a tab as indentation"),
        pytest.param("a: [1, 2\n", ":1:4: this is not valid YAML", id="an open bracket"),
        pytest.param("a: 'x\nb: 1\n", ":1:4: this is not valid YAML", id="an open quote"),
        pytest.param("a: b: c\n", ":1:5: this is not valid YAML", id="two colons"),
        pytest.param("a: @x\n", ":1:4: this is not valid YAML", id="a reserved character"),
        pytest.param("a: 1\n b: 2\n", ":2:3: this is not valid YAML", id="bad indentation"),
        pytest.param("é: \x01\n", ":1:4: a control character", id="a control character"),
        pytest.param("a: 1\né: \x00\n", ":2:4: a control character", id="a null character"),
        pytest.param(b"a: 1\nb\xc3\xa9: \xe9\n", ":2:5: this byte is not UTF-8", id="cp1252"),
        pytest.param("a: 1".encode("utf-16"), ":1:1: this byte is not UTF-8", id="UTF-16"),
        pytest.param("a: 1\n---\nb: 2\n", ":2:1: a second document", id="two documents"),
        pytest.param("a: 1\nb: 2\na: 3\n", ":3:1: the key `a` stands twice", id="a key twice"),
        pytest.param('a: 1\n"a": 2\n', ":2:1: the key `a` stands twice", id="a quoted twin"),
        pytest.param("a: {b: 1, b: 2}\n", ":1:11: the key `b` stands twice", id="in braces"),
        pytest.param("a: &x 1\n", ":1:4: an anchor", id="an anchor"),
        pytest.param("a: !!python/object:os.x {}\n", ":1:4: a tag", id="a Python tag"),
        pytest.param("a: !!str 010\n", ":1:4: a tag", id="a standard tag"),
        pytest.param("? [a, b]\n: 1\n", ":1:3: a key is not a word", id="a list as a key"),
        pytest.param("a: " + "[" * 30, ":1:24: this is not valid YAML: nested", id="too deep"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused_with_the_place(
    path: Path, content: bytes | str, begins: str
) -> None:
    first = refusal(path, content)[0]
    assert first.startswith(begins)
    assert "; " in first


def test_a_bomb_of_aliases_is_refused_and_never_unfolded(path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    began = time.monotonic()
    problems = refusal(path, "\n".join(lines))
    assert any("alias" in problem for problem in problems)
    assert len(problems) == 12 + 11 * 9
    assert time.monotonic() - began < 30


def test_a_file_over_the_limit_is_refused_unread(path: Path) -> None:
    (problem,) = refusal(path, "a: 1\n" * 100, limit=499)
    assert problem.startswith(":1:1: the file is larger than 499 bytes")


def test_a_file_of_the_limit_is_read(path: Path) -> None:
    assert read(path, "a: 1\n", limit=5).get("a") is not None


@pytest.mark.parametrize("there", [False, True], ids=["nothing there", "a directory"])
def test_a_path_without_a_file_is_refused(tmp_path: Path, *, there: bool) -> None:
    path = tmp_path / "x.yaml"
    if there:
        path.mkdir()
    with pytest.raises(ConfigInvalid) as caught:
        read_table(path, Problems(path), limit=100)
    assert str(caught.value).startswith(f"{path}:1:1: ")


def test_a_byte_order_mark_and_windows_line_ends_mean_nothing(path: Path) -> None:
    table = read(path, b"\xef\xbb\xbfa: x\r\nb: y\r\n")
    assert [
        (key.text, value.text) for key, value in table.entries if isinstance(value, Scalar)
    ] == [
        ("a", "x"),
        ("b", "y"),
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("x", Kind.TEXT, id="a word"),
        pytest.param('"010000024"', Kind.TEXT, id="a number in quotes"),
        pytest.param("'NO'", Kind.TEXT, id="a word in quotes"),
        pytest.param("|\n  12", Kind.TEXT, id="a block"),
        pytest.param("2A0000014", Kind.TEXT, id="a letter among digits"),
        pytest.param("12", Kind.INTEGER, id="a number"),
        pytest.param("1_2", Kind.INTEGER, id="a number with a low line"),
        pytest.param("0x1F", Kind.INTEGER, id="a hexadecimal number"),
        pytest.param("010000024", Kind.LEADING_ZERO, id="an octal number of YAML 1.1"),
        pytest.param("0o17", Kind.LEADING_ZERO, id="an octal number of YAML 1.2"),
        pytest.param("2E0000014", Kind.FLOAT, id="a number with an exponent"),
        pytest.param("1.0", Kind.FLOAT, id="a decimal number"),
        pytest.param(".inf", Kind.FLOAT, id="the infinite"),
        pytest.param("NO", Kind.YES_NO, id="Norway"),
        pytest.param("off", Kind.YES_NO, id="off"),
        pytest.param("true", Kind.BOOLEAN, id="true"),
        pytest.param("~", Kind.NULL, id="a tilde"),
        pytest.param("", Kind.NULL, id="nothing"),
    ],
)
def test_a_value_is_known_for_what_programs_may_take_it_for(
    path: Path, text: str, kind: Kind
) -> None:
    value = read(path, f"a: {text}\n").get("a")
    assert isinstance(value, Scalar)
    assert value.kind is kind


def test_an_empty_value_is_placed_at_its_key(path: Path) -> None:
    value = read(path, "a:\n\n\n# far below\nb: 1\n").get("a")
    assert isinstance(value, Scalar)
    assert (value.mark.line, value.mark.column) == (1, 1)


def test_problems_come_in_the_order_of_the_file_and_once_each(path: Path) -> None:
    problems = refusal(path, "a: &x 1\nb: !y 2\na: 3\nc: *x\n")
    lines = [problem.split(":")[1] for problem in problems]
    assert lines == ["1", "2", "3", "4"]


def test_a_wrong_value_is_shown_short_and_on_one_line() -> None:
    assert shown("a\nb\x1b") == "a\\x0ab\\x1b"
    assert len(shown("x" * 500)) < 70


def test_a_mistyped_word_brings_up_the_one_that_was_meant() -> None:
    assert suggestion("Hots", ("host", "port")) == "did you mean `host`?"
    assert suggestion("zzz", ("host", "port")) == "write one of: host, port"
