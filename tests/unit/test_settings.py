"""dispatcher.yaml, environment and credentials: what they say and how mistakes are told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from dispatcher import settings
from dispatcher.core.certificate import PdfText
from dispatcher.core.retention import Months, Terms
from dispatcher.errors import ConfigInvalid, Refused
from dispatcher.settings import Login, Security, Settings, Watch
from dispatcher.settings.values import loopback

CONFIG = Path(__file__).parents[2] / "config"
TOKEN = "token_command: /usr/local/bin/token"
SIDEP = "noreply.sidep@enovacom.easycrypt.fr"
SECRET = "Tr0ub4dor-et-3"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dispatcher.yaml"


def load(path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path.write_text(text, encoding="utf-8")
    return settings.load(path, environ or {})


def problems(path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load(path, text, environ)
    for problem in caught.value.problems:
        assert "; " in problem
        assert re.match(rf"{re.escape(str(path))}:\d+:\d+: |SIDEP_DISPATCHER__", problem)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def box(*keys: str, name: str = "lbm") -> str:
    """Return a file with one mailbox, its keys from line 3 on."""
    lines = keys or (TOKEN,)
    given = {line.split(":")[0] for line in lines}
    usual = {"host": "host: imap.example", "username": "username: a@b.fr"}
    lines += tuple(line for key, line in usual.items() if key not in given)
    return f"mailboxes:\n  {name}:\n" + "".join(f"    {line}\n" for line in lines)


def one(path: Path, *keys: str, environ: Mapping[str, str] | None = None) -> Any:
    return load(path, box(*keys), environ).mailboxes["lbm"]


def secret_file(directory: Path, content: str = SECRET + "\n", *, mode: int = 0o400) -> Path:
    file = directory / "lbm.password"
    file.write_text(content, encoding="utf-8")
    file.chmod(mode)
    return file


# --- what is read ------------------------------------------------------------------------


def test_a_mailbox_with_a_login_and_nothing_else_has_every_default(path: Path) -> None:
    found = load(path, box())
    lbm = found.mailboxes["lbm"]
    assert (lbm.name, lbm.host, lbm.port, lbm.security) == (
        "lbm",
        "imap.example",
        993,
        Security.TLS,
    )
    assert (lbm.folder, lbm.since, lbm.watch) == ("INBOX", None, Watch.IDLE)
    assert lbm.poll_interval == timedelta(seconds=60)
    assert lbm.settled_keyword == "SidepDispatched"
    assert (lbm.max_message_size, lbm.fetch_batch) == (10_000_000, 4_194_304)
    assert found.routing == path.parent / "routing.yaml"
    assert found.ledger_path == Path("/var/lib/sidep-dispatcher/ledger.sqlite3")
    assert found.senders == {"noreply.sidep@enovacom.easycrypt.fr"}
    assert found.pdf_text is PdfText.WARN
    assert found.terms == Terms()
    assert found.retention.max_deletions_per_run == 500
    assert (found.alerts, found.metrics) == (None, None)
    assert found.cups.server is None
    assert found.bordereau.at is None


def test_paths_start_at_the_files_directory(path: Path, tmp_path: Path) -> None:
    secret_file(tmp_path)
    text = box("password_file: ./lbm.password", "ca_file: sub/../ca.pem")
    (tmp_path / "ca.pem").touch()
    text += "routing: rules/routing.yaml\nledger: sqlite:///ledger.sqlite3\n"
    found = load(path, text)
    assert found.mailboxes["lbm"].password_file == tmp_path / "lbm.password"
    assert found.mailboxes["lbm"].ca_file == tmp_path / "ca.pem"
    assert found.routing == tmp_path / "rules" / "routing.yaml"
    assert found.ledger == f"sqlite:///{tmp_path}/ledger.sqlite3"
    assert found.ledger_path == tmp_path / "ledger.sqlite3"


@pytest.mark.parametrize(
    ("security", "port"),
    [("tls", 993), ("starttls", 143), ("plaintext", 143)],
)
def test_the_port_follows_the_security_unless_it_is_given(
    path: Path, security: str, port: int
) -> None:
    keys = (TOKEN, "host: localhost", f"security: {security}")
    assert one(path, *keys).port == port
    assert one(path, *keys, "port: 1143").port == 1143


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("60s", timedelta(minutes=1), id="60s"),
        pytest.param("15 min", timedelta(minutes=15), id="15 min"),
        pytest.param("72h", timedelta(hours=72), id="72h"),
        pytest.param("72 heures", timedelta(hours=72), id="72 heures"),
        pytest.param("3 days", timedelta(days=3), id="3 days"),
        pytest.param("3 jours", timedelta(days=3), id="3 jours"),
        pytest.param("2 Weeks", timedelta(weeks=2), id="2 Weeks"),
        pytest.param("6 months", Months(6), id="6 months"),
        pytest.param("6 mois", Months(6), id="6 mois"),
        pytest.param("1 year", Months(12), id="1 year"),
    ],
)
def test_durations_are_a_number_and_a_unit(
    path: Path, text: str, expected: timedelta | Months
) -> None:
    found = load(path, box() + f"retention: {{positive: {text}}}\n")
    assert found.terms.positive == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10 MB", 10_000_000, id="10 MB"),
        pytest.param("16 MiB", 16_777_216, id="16 MiB"),
        pytest.param("500kB", 500_000, id="500kB"),
        pytest.param("10 Mo", 10_000_000, id="10 Mo"),
        pytest.param("1 Mio", 1_048_576, id="1 Mio"),
    ],
)
def test_sizes_are_a_number_and_a_unit(path: Path, text: str, expected: int) -> None:
    assert one(path, TOKEN, f"max_message_size: {text}").max_message_size == expected


@pytest.mark.parametrize(
    ("keys", "login"),
    [
        pytest.param((TOKEN,), Login.TOKEN, id="a token"),
        pytest.param(("token_command: [/bin/t, -x, a b]",), Login.TOKEN, id="words"),
        pytest.param(("client_certificate: c.pem",), Login.CERTIFICATE, id="a certificate"),
        pytest.param(("password_file: lbm.password",), Login.PASSWORD, id="a password"),
    ],
)
def test_the_way_to_log_in_is_known(
    path: Path, tmp_path: Path, keys: tuple[str, ...], login: Login
) -> None:
    secret_file(tmp_path)
    (tmp_path / "c.pem").touch(0o600)
    assert one(path, *keys).login is login


def test_a_token_command_is_split_like_a_shell_does(path: Path) -> None:
    assert one(path, "token_command: /bin/t 'a b' -x").token_command == ("/bin/t", "a b", "-x")
    assert one(path, "token_command: [/bin/t, a b]").token_command == ("/bin/t", "a b")


def test_words_that_yaml_1_1_takes_for_false_keep_their_meaning(path: Path) -> None:
    assert load(path, box() + "agreement: {pdf_text: off}\n").pdf_text is PdfText.OFF


def test_senders_are_compared_in_small_letters(path: Path) -> None:
    found = load(path, box() + "senders: [NoReply@Example.FR]\n")
    assert found.senders == frozenset({"noreply@example.fr"})


def test_the_day_before_which_mail_is_left_alone_is_a_date(path: Path) -> None:
    assert one(path, TOKEN, "since: 2021-06-29").since == date(2021, 6, 29)


@pytest.mark.parametrize(
    ("text", "server", "warned"),
    [
        pytest.param("null", None, False, id="as libcups finds it"),
        pytest.param("/run/cups/cups.sock", "/run/cups/cups.sock", False, id="a socket"),
        pytest.param("/" + "x" * 106, "/" + "x" * 106, False, id="the longest socket"),
        pytest.param("localhost:631", "localhost:631", False, id="this machine"),
        pytest.param('"[::1]:8631"', "[::1]:8631", False, id="this machine by IPv6"),
        pytest.param(
            "cups.lbm.example:631", "cups.lbm.example:631", True, id="another machine"
        ),
        pytest.param('"[2001:db8::1]:631"', "[2001:db8::1]:631", True, id="another by IPv6"),
    ],
)
def test_printing_is_done_through_a_socket_or_a_host_with_its_port(
    path: Path, text: str, server: str | None, *, warned: bool
) -> None:
    found = load(path, box() + f"cups: {{server: {text}}}\n")
    assert found.cups.server == server
    assert any("cups.server is another machine" in one for one in found.warnings()) is warned


def test_the_environment_names_the_print_server_or_none(path: Path) -> None:
    name = "SIDEP_DISPATCHER__CUPS__SERVER"
    text = box() + "cups: {server: /run/cups/cups.sock}\n"
    assert load(path, text, {name: "localhost:8631"}).cups.server == "localhost:8631"
    assert load(path, text, {name: "null"}).cups.server is None


def test_null_stands_for_no_keyword(path: Path) -> None:
    assert one(path, TOKEN, "settled_keyword: null").settled_keyword is None


def test_settings_cannot_be_changed_and_two_loads_are_equal(path: Path) -> None:
    found = load(path, box())
    with pytest.raises(ValueError, match="frozen"):
        found.routing = Path("/x")
    with pytest.raises(TypeError):
        found.mailboxes["x"] = found.mailboxes["lbm"]  # type: ignore[index]
    assert load(path, box()) == found
    assert load(path, box(name="other")) != found


# --- the environment ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lbm", "LBM", "Lbm"])
def test_the_environment_overrules_the_file_whatever_the_case_of_a_mailboxs_name(
    path: Path, name: str
) -> None:
    environ = {"SIDEP_DISPATCHER__MAILBOXES__LBM__PORT": "1143"}
    found = load(path, box("port: 993", TOKEN, name=name), environ)
    assert list(found.mailboxes) == [name]
    assert (found.mailboxes[name].port, found.mailboxes[name].name) == (1143, name)


def test_a_mailbox_with_a_hyphen_is_reached_with_a_low_line(path: Path) -> None:
    environ = {"SIDEP_DISPATCHER__MAILBOXES__LAB_NORD__FOLDER": "Certificats"}
    assert (
        load(path, box(name="lab-nord"), environ).mailboxes["lab-nord"].folder == "Certificats"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("SENDERS", "a@b.fr, C@d.fr", frozenset({"a@b.fr", "c@d.fr"}), id="a list"),
        pytest.param("SENDERS", '["a@b.fr"]', frozenset({"a@b.fr"}), id="a JSON list"),
        pytest.param("AGREEMENT__PDF_TEXT", "require", PdfText.REQUIRE, id="a word"),
        pytest.param("ROUTING", "/etc/r.yaml", Path("/etc/r.yaml"), id="a path"),
    ],
)
def test_the_environment_gives_values_of_every_kind(
    path: Path, name: str, value: str, expected: object
) -> None:
    found = load(path, box(), {f"SIDEP_DISPATCHER__{name}": value})
    assert expected in (found.senders, found.pdf_text, found.routing)


def test_the_environment_gives_null(path: Path) -> None:
    environ = {"SIDEP_DISPATCHER__MAILBOXES__LBM__SETTLED_KEYWORD": "null"}
    assert one(path, environ=environ).settled_keyword is None


def test_a_whole_mailbox_may_come_from_the_environment(path: Path) -> None:
    prefix = "SIDEP_DISPATCHER__MAILBOXES__NORD__"
    environ = {prefix + "HOST": "imap.nord", prefix + "USERNAME": "n@b.fr"}
    environ[prefix + "TOKEN_COMMAND"] = "/bin/t"
    assert load(path, box(), environ).mailboxes["nord"].host == "imap.nord"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("MAILBOXES__LBM__PROT", "did you mean `port`?", id="a mistyped key"),
        pytest.param("LOGS", "did you mean `log`?", id="a mistyped section"),
        pytest.param("ROUTING__FILE", "no setting", id="a key below a value"),
        pytest.param("LOG", "a whole section", id="a section"),
        pytest.param("MAILBOXES", "a whole section", id="all mailboxes"),
        pytest.param("MAILBOXES__LBM", "no setting", id="a mailbox"),
        pytest.param("", "no setting", id="nothing"),
        pytest.param("MAILBOXES__LBN__PASSWORD", "no mailbox of this name", id="no such box"),
        pytest.param("LOG__PASSWORD", "no setting", id="a password for nothing"),
    ],
)
def test_a_name_in_the_environment_that_sets_nothing_is_refused(
    path: Path, name: str, said: str
) -> None:
    (problem,) = problems(path, box(), {f"SIDEP_DISPATCHER__{name}": SECRET})
    assert problem.startswith(f"SIDEP_DISPATCHER__{name}: ")
    assert said in problem
    assert SECRET not in problem


def test_a_wrong_value_in_the_environment_is_told_by_its_name(path: Path) -> None:
    name = "SIDEP_DISPATCHER__MAILBOXES__LBM__PORT"
    (problem,) = problems(path, box("port: 993", TOKEN), {name: "99x"})
    assert problem.startswith(f"{name}: mailboxes.lbm.port: ")


def test_the_path_of_the_file_is_no_setting(path: Path) -> None:
    environ = {"SIDEP_DISPATCHER_CONFIG": str(path), "PATH": "/bin", "SIDEP": "x"}
    assert load(path, box(), environ).mailboxes


# --- passwords ---------------------------------------------------------------------------


def test_a_password_is_read_anew_at_each_call_without_its_line_break(
    path: Path, tmp_path: Path
) -> None:
    file = secret_file(tmp_path, mode=0o600)
    lbm = one(path, "password_file: lbm.password")
    assert lbm.password() == SECRET
    file.write_text("another\r\n", encoding="utf-8")
    assert lbm.password() == "another"
    file.write_text(" spaces count \n", encoding="utf-8")
    assert lbm.password() == " spaces count "


def test_a_password_comes_from_the_file_else_the_environment_else_the_credential(
    path: Path, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "lbm.password").write_text("from systemd", encoding="utf-8")
    environ = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "SIDEP_DISPATCHER__MAILBOXES__LBM__PASSWORD": "from the environment",
    }
    secret_file(tmp_path)
    assert one(path, "password_file: lbm.password", environ=environ).password() == SECRET
    none = "port: 993"
    assert one(path, none, environ=environ).password() == "from the environment"
    del environ["SIDEP_DISPATCHER__MAILBOXES__LBM__PASSWORD"]
    assert one(path, none, environ=environ).password() == "from systemd"


def test_a_mailbox_without_a_password_has_none(path: Path) -> None:
    assert one(path).password() is None


@pytest.mark.parametrize("mode", [0o404, 0o644, 0o601, 0o402], ids=oct)
def test_a_secret_file_that_is_open_to_every_user_is_refused(
    path: Path, tmp_path: Path, mode: int
) -> None:
    file = secret_file(tmp_path, mode=mode)
    (problem,) = problems(path, box("password_file: lbm.password"))
    assert problem.startswith("3:20: the secret file")
    assert f"chmod 0400 {file}" in problem
    assert SECRET not in problem


def test_a_secret_file_that_is_opened_to_every_user_later_is_refused_when_read(
    path: Path, tmp_path: Path
) -> None:
    file = secret_file(tmp_path)
    lbm = one(path, "password_file: lbm.password")
    file.chmod(0o444)
    with pytest.raises(Refused, match="open to every user") as caught:
        lbm.password()
    assert "chmod" in caught.value.hint
    file.chmod(0o440)
    assert lbm.password() == SECRET


def test_a_credentials_directory_that_cannot_be_looked_into_holds_nothing(
    path: Path, tmp_path: Path
) -> None:
    secret_file(tmp_path)
    # Too long a name: the kernel refuses to look, as it does without rights; also for root.
    environ = {"CREDENTIALS_DIRECTORY": f"/{'x' * 300}"}
    assert one(path, "password_file: lbm.password", environ=environ).password() == SECRET


def test_systemd_guards_its_credentials_whatever_their_mode(path: Path, tmp_path: Path) -> None:
    secret_file(tmp_path, mode=0o444)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert one(path, "port: 993", environ=environ).password() == SECRET
    assert one(path, "password_file: lbm.password", environ=environ).password() == SECRET


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"a\nb\n", id="two lines"),
        pytest.param(b"a\x00b", id="a null byte"),
        pytest.param(b"secret\xe9", id="another encoding"),
        pytest.param(b"a" * 70_000, id="a large file"),
    ],
)
def test_a_secret_file_that_holds_no_password_is_refused_without_showing_it(
    path: Path, tmp_path: Path, content: bytes
) -> None:
    file = secret_file(tmp_path, mode=0o600)
    lbm = one(path, "password_file: lbm.password")
    file.write_bytes(content)
    with pytest.raises(Refused) as caught:
        lbm.password()
    # The library's error would repeat the bytes in a traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert caught.value.hint


def test_a_secret_file_that_is_gone_is_refused(path: Path, tmp_path: Path) -> None:
    file = secret_file(tmp_path)
    lbm = one(path, "password_file: lbm.password")
    file.unlink()
    with pytest.raises(Refused, match="cannot be read"):
        lbm.password()


def test_no_password_shows_in_settings_or_errors(path: Path) -> None:
    environ = {"SIDEP_DISPATCHER__MAILBOXES__LBM__PASSWORD": SECRET}
    found = load(path, box("port: 993"), environ)
    shown = [repr(found), str(found), repr(found.mailboxes["lbm"])]
    shown += [
        repr(vars(found.mailboxes["lbm"])),
        repr(found.mailboxes["lbm"].__pydantic_private__),
    ]
    assert not any(SECRET in text for text in shown)
    told = problems(path, box("port: x", f"password: {SECRET}"), environ)
    assert any("a password does not stand in this file" in problem for problem in told)
    assert not any(SECRET in problem for problem in told)


# --- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        pytest.param("hots: x", "3:5: unknown key `hots`; did you mean `host`?", id="unknown"),
        pytest.param("host: imaps://imap.fr", "3:11: mailboxes.lbm.host: ", id="a URL"),
        pytest.param("host: imap.fr:993", "3:11: ", id="a host with its port"),
        pytest.param("host: a b", "3:11: ", id="a host with a space"),
        pytest.param("host: ''", "3:11: ", id="an empty host"),
        pytest.param("host:", "3:5: ", id="no host"),
        pytest.param("host: [a]", "3:11: ", id="a list of hosts"),
        pytest.param("port: 0143", "3:11: ", id="an octal-looking port"),
        pytest.param("port: 1_143", "3:11: ", id="a low line in a port"),
        pytest.param(f"port: {'9' * 5000}", "3:11: ", id="a port of 5,000 digits"),
        pytest.param("port: true", "3:11: ", id="true for a port"),
        pytest.param("port: 65536", "3:11: mailboxes.lbm.port: 65536", id="too large a port"),
        pytest.param("port: -1", "3:11: ", id="a negative port"),
        pytest.param("port: 99.5", "3:11: ", id="half a port"),
        pytest.param("security: ssl", "3:15: mailboxes.lbm.security: ", id="unknown security"),
        pytest.param("security: NO", "3:15: ", id="no security"),
        pytest.param("security: plaintext", "3:15: plaintext would carry", id="plaintext"),
        pytest.param("username: 0123", "3:15: mailboxes.lbm.username: `0123` has no", id="010"),
        pytest.param("username: NO", "3:15: ", id="Norway"),
        pytest.param("ca_file: ~/ca.pem", "3:14: ", id="a home directory"),
        pytest.param("ca_file: nowhere.pem", "3:14: there is no file", id="no such file"),
        pytest.param("ca_file: .", "3:14: ", id="a directory for a file"),
        pytest.param("client_key: k.pem", "3:17: there is a key without", id="a key alone"),
        pytest.param("since: 20210629", "3:12: mailboxes.lbm.since: a date", id="a number"),
        pytest.param("since: 29/06/2021", "3:12: ", id="a French date"),
        pytest.param(
            "since: 2021-06-31", "3:12: mailboxes.lbm.since: there is no", id="no day"
        ),
        pytest.param("watch: push", "3:12: mailboxes.lbm.watch: ", id="an unknown watch"),
        pytest.param(
            "poll_interval: 60", "3:20: mailboxes.lbm.poll_interval: 60", id="no unit"
        ),
        pytest.param("poll_interval: 5 m", "3:20: ", id="minutes or months"),
        pytest.param("poll_interval: 0s", "3:20: ", id="no time"),
        pytest.param("poll_interval: 1 month", "3:20: ", id="a month"),
        pytest.param("poll_interval: 2h", "3:20: ", id="too long"),
        pytest.param("settled_keyword: a b", "3:22: ", id="a keyword with a space"),
        pytest.param("settled_keyword: \\Seen", "3:22: ", id="a system flag"),
        pytest.param("settled_keyword: 'a]'", "3:22: ", id="a keyword with a bracket"),
        pytest.param("settled_keyword: Réglé", "3:22: ", id="a keyword with accents"),
        pytest.param("max_message_size: 10", "3:23: ", id="a size without a unit"),
        pytest.param("max_message_size: 10 GB", "3:23: ", id="too large a size"),
        pytest.param("fetch_batch: 1 B", "3:18: ", id="too small a size"),
    ],
)
def test_a_mistake_in_a_mailbox_is_told_with_its_place(
    path: Path, tmp_path: Path, line: str, begins: str
) -> None:
    (tmp_path / "k.pem").touch(mode=0o600)
    (problem,) = problems(path, box(line, TOKEN))
    assert problem.startswith(begins)


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        pytest.param("mailbox: {}", "6:1: unknown key `mailbox`; did you mean", id="unknown"),
        pytest.param("routing: [a]", "6:10: routing: ", id="a list for a path"),
        pytest.param("ledger: postgresql://x/y", "6:9: ledger: ", id="another database"),
        pytest.param("ledger: 'sqlite://'", "6:9: ledger: ", id="a ledger in memory"),
        pytest.param("ledger: 'sqlite:///:memory:'", "6:9: ledger: ", id="in memory too"),
        pytest.param("ledger: /var/lib/x.sqlite3", "6:9: ledger: ", id="a path for a URL"),
        pytest.param("senders: a@b.fr", "6:10: senders: a list", id="a word for a list"),
        pytest.param("senders: []", "6:10: senders: a list", id="no sender"),
        pytest.param("senders: [Someone <a@b.fr>]", "6:10: senders: ", id="a display name"),
        pytest.param("agreement: {pdf_text: no}", "6:23: agreement.pdf_text: ", id="no"),
        pytest.param("agreement: warn", "6:12: agreement: a table", id="a word for a table"),
        pytest.param("retention:", "6:1: retention: a table", id="an empty section"),
        pytest.param("retention: {negative: 72}", "6:23: retention.negative: 72", id="no unit"),
        pytest.param("retention: {negative: 11 years}", "6:23: ", id="eleven years"),
        pytest.param("retention: {negative: 0h}", "6:23: ", id="no time"),
        pytest.param("retention: {positive: 0 months}", "6:23: ", id="no month"),
        pytest.param("retention: {site_copy_grace: 1 month}", "6:30: ", id="months of grace"),
        pytest.param("retention: {undelivered: drop}", "6:26: ", id="an unknown word"),
        pytest.param("retention: {max_deletions_per_run: 0}", "6:36: ", id="no deletion"),
        pytest.param("retention: {max_share: 0}", "6:24: retention.max_share", id="no share"),
        pytest.param("retention: {max_share: 101%}", "6:24: ", id="more than all"),
        pytest.param("retention: {max_share: half}", "6:24: ", id="a share in words"),
        pytest.param("metrics: {listen: 9464}", "6:19: metrics.listen: ", id="a port alone"),
        pytest.param("metrics: {listen: '127.0.0.1:x'}", "6:19: ", id="no port"),
        pytest.param("metrics: {listen: '0.0.0.0:9464'}", "6:19: ", id="every interface"),
        pytest.param("metrics: {listen: '192.0.2.1:9464'}", "6:19: ", id="another machine"),
        pytest.param("metrics: {listen: '::1:9464'}", "6:19: ", id="no brackets"),
        pytest.param("cups: /run/cups/cups.sock", "6:7: cups: a table", id="a bare socket"),
        pytest.param("cups:", "6:1: cups: a table", id="nothing below cups"),
        pytest.param("cups: {socket: /x}", "6:8: unknown key `socket`", id="unknown in cups"),
        pytest.param("cups: {server: ''}", "6:16: cups.server: ", id="an empty server"),
        pytest.param("cups: {server: 631}", "6:16: cups.server: `631`", id="a number for cups"),
        pytest.param("cups: {server: localhost}", "6:16: cups.server: this is", id="no port"),
        pytest.param("cups: {server: ':631'}", "6:16: cups.server: this is", id="a mere port"),
        pytest.param(
            "cups: {server: 'localhost:'}", "6:16: cups.server: this", id="half of it"
        ),
        pytest.param("cups: {server: 'h:65536'}", "6:16: cups.server: 65536", id="too large"),
        pytest.param("cups: {server: 'h:ipp'}", "6:16: cups.server: ", id="a service's name"),
        pytest.param("cups: {server: 'a b:631'}", "6:16: cups.server: ", id="a space"),
        pytest.param("cups: {server: 'ipp://h:631'}", "6:16: cups.server: this is", id="a URL"),
        pytest.param("cups: {server: 'h:631/version=1.1'}", "6:16: ", id="a suffix of libcups"),
        pytest.param("cups: {server: '::1:631'}", "6:16: cups.server: the add", id="brackets"),
        pytest.param("cups: {server: run/cups.sock}", "6:16: cups.server: this", id="relative"),
        pytest.param("cups: {server: ~/cups.sock}", "6:16: cups.server: this is", id="a home"),
        pytest.param(
            f"cups: {{server: /{'x' * 107}}}", "6:16: cups.server: the path", id="a long socket"
        ),
        pytest.param("bordereau: '18:30'", "6:12: bordereau: a table", id="a bare time"),
        pytest.param("bordereau: {at: 1830}", "6:17: bordereau.at: a time", id="a number"),
        pytest.param("bordereau: {at: '24:00'}", "6:17: bordereau.at: a time", id="24:00"),
        pytest.param("bordereau: {at: '8:30'}", "6:17: bordereau.at: a time", id="one digit"),
        pytest.param("bordereau: {at: '１８:30'}", "6:17: bordereau.at: a", id="full width"),
        pytest.param("bordereau: {on: '18:30'}", "6:13: unknown key `on`", id="not its key"),
        pytest.param("cups: {server: [a]}", "6:16: cups.server: a text", id="a list for cups"),
        pytest.param("log: {format: xml}", "6:15: log.format: ", id="an unknown format"),
        pytest.param("log: {level: verbose}", "6:14: log.level: ", id="an unknown level"),
        pytest.param(
            "alerts: {smtp: {host: h.fr}, from: a@b.c}", "6:1: `alerts.to` is missing", id="to"
        ),
        pytest.param(
            f"alerts: {{smtp: {{host: h.fr}}, from: a@b.c, to: [{SIDEP}]}}",
            "6:47: alerts would go to SI-DEP",
            id="alerts to SI-DEP",
        ),
        pytest.param(
            "alerts: {smtp: {host: h.fr}, from: a@b.c, to: [A@B.fr]}",
            "6:47: alerts would go to SI-DEP or into a watched mailbox",
            id="alerts into the watched mailbox",
        ),
        pytest.param(
            "alerts: {smtp: {host: h.fr, security: plaintext}, from: a@b.c, to: [c@b.fr]}",
            "6:39: plaintext",
            id="alerts in plain text",
        ),
        pytest.param(
            "alerts: {smtp: {host: h.fr, username: u}, from: a@b.c, to: [c@b.fr]}",
            "6:10: alerts.smtp has a username and no password",
            id="alerts without their password",
        ),
        pytest.param(
            "alerts: {smtp: {host: h.fr}, from: a@b.c, to: [a+it@b.fr]}",
            "6:47: alerts would go to SI-DEP or into a watched mailbox",
            id="alerts into the watched mailbox by a subaddress",
        ),
        pytest.param(
            "alerts: {smtp: {host: h.fr}, from: a@b.fr, to: [c@b.fr]}",
            "6:36: alerts would bear the address of a watched mailbox",
            id="alerts from the watched mailbox",
        ),
        pytest.param(
            "alerts: {smtp: {host: h.fr}, to: [c@b.fr]}",
            "6:1: `alerts.from` is missing",
            id="alerts without a sender",
        ),
        pytest.param(
            "alerts: {from: a@b.c, to: [c@b.fr]}",
            "6:1: `alerts.smtp` is missing",
            id="alerts without a server",
        ),
        pytest.param(
            "alerts: {ping_url: 'http://ping.example/x'}",
            "6:20: alerts.ping_url: the address is called without TLS",
            id="a ping in clear",
        ),
        pytest.param("alerts: {ping_url: 'ftp://p/x'}", "6:20: alerts.ping_url: ", id="ftp"),
        pytest.param("alerts: {ping_url: 'https://'}", "6:20: alerts.ping_url: ", id="no host"),
        pytest.param(
            "alerts: {ping_url: 'https://a:b@h/x'}", "6:20: alerts.ping_url: ", id="a password"
        ),
        pytest.param("alerts: {per_hour: 0}", "6:20: alerts.per_hour: 0 is", id="no mails"),
        pytest.param("alerts: {disk_share: 0}", "6:22: alerts.disk_share: a", id="no disk"),
        pytest.param(
            "alerts: {printer_down: 15}", "6:24: alerts.printer_down: 15", id="no unit"
        ),
        pytest.param("alerts: {reports: {at: 7}}", "6:24: alerts.reports.at: a", id="an hour"),
        pytest.param(
            "alerts: {reports: {daily: 1}}", "6:27: alerts.reports.daily: this", id="1 for true"
        ),
    ],
)
def test_a_mistake_beside_the_mailboxes_is_told_with_its_place(
    path: Path, line: str, begins: str
) -> None:
    (problem,) = problems(path, box() + line + "\n")
    assert problem.startswith(begins)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        pytest.param("routing: r.yaml\n", "1:1: `mailboxes` is missing", id="none"),
        pytest.param("mailboxes:\n", "1:1: mailboxes: ", id="nothing below"),
        pytest.param("mailboxes: {}\n", "1:12: mailboxes: ", id="an empty table"),
        pytest.param("mailboxes: [a]\n", "1:12: mailboxes: ", id="a list"),
        pytest.param(box(name='"a b"'), "2:3: mailboxes.a b: this name", id="a space"),
        pytest.param(box(name='"../x"'), "2:3: ", id="a path for a name"),
        pytest.param(box(name="a__b"), "2:3: ", id="two low lines"),
        pytest.param(
            box(name="a-b") + box("host: other.fr", TOKEN, name="A_b").split("\n", 1)[1],
            "6:3: the names a-b and A_b are one in the environment",
            id="two names that the environment cannot tell apart",
        ),
        pytest.param(
            box(name="a") + box(name="b").split("\n", 1)[1],
            "6:3: the mailboxes a and b are the same account",
            id="one account twice",
        ),
    ],
)
def test_the_table_of_mailboxes_is_checked(path: Path, text: str, begins: str) -> None:
    (problem,) = problems(path, text)
    assert problem.startswith(begins)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        pytest.param(("port: 993",), "no way to log in", id="none"),
        pytest.param((TOKEN, "password_file: lbm.password"), "several ways", id="two"),
        pytest.param(
            (TOKEN, "client_passphrase_file: lbm.password"), "nothing that it opens", id="idle"
        ),
        pytest.param((TOKEN, "client_key: c.pem"), "without its certificate", id="a key alone"),
        pytest.param(("client_certificate: open.p12",), "chmod 0400", id="open to all"),
        pytest.param((TOKEN, "proxy: http://p:1", "proxy_username: u"), "one of", id="half"),
        pytest.param(
            (TOKEN, "proxy: http://p:1", "proxy_password_file: lbm.password"), "one of", id="h2"
        ),
        pytest.param((TOKEN, "proxy_username: u"), "and no proxy", id="a proxy's name alone"),
        pytest.param(
            (TOKEN, "proxy: http://p:1", "host: localhost", "security: plaintext"),
            "plaintext is for this machine",
            id="a proxy in clear",
        ),
        pytest.param((TOKEN, "proxy: proxy:3128"), "not the address of", id="no scheme"),
        pytest.param((TOKEN, "proxy: https://p:3128"), "not the address of", id="https"),
        pytest.param((TOKEN, "proxy: http://proxy"), "address and a port", id="no port"),
        pytest.param((TOKEN, "proxy: http://p:3128/x"), "address and a port", id="a path"),
        pytest.param((TOKEN, "proxy: http://u:s3cr3t@p:1"), "proxy_username", id="a secret"),
        pytest.param((TOKEN, 'proxy: "http://::1:3128"'), "brackets", id="no brackets"),
        pytest.param((TOKEN, "username: null"), "username` is missing", id="no username"),
        pytest.param(("token_command: token",), "from the root", id="a command without a path"),
        pytest.param(('token_command: "/bin/t \'a"',), "a quote is not", id="an open quote"),
        pytest.param(("token_command: 12",), "`12` has no quotes", id="a number"),
        pytest.param(("token_command: []",), "from the root", id="no command"),
    ],
)
def test_each_mailbox_has_exactly_one_way_to_log_in(
    path: Path, tmp_path: Path, keys: tuple[str, ...], said: str
) -> None:
    secret_file(tmp_path)
    (tmp_path / "c.pem").touch(0o600)
    (tmp_path / "open.p12").touch(0o604)
    found = [p for p in problems(path, box(*keys)) if "no way" not in p or "no way" in said]
    assert len(found) == 1
    assert said in found[0]
    assert "s3cr3t" not in found[0]


def test_a_client_certificate_goes_with_a_password_or_a_token(
    path: Path, tmp_path: Path
) -> None:
    secret_file(tmp_path)
    (tmp_path / "c.p12").touch(0o600)
    certificate = "client_certificate: c.p12"
    assert one(path, certificate, TOKEN).login is Login.TOKEN
    assert one(path, certificate, "password_file: lbm.password").login is Login.PASSWORD
    environ = {"SIDEP_DISPATCHER__MAILBOXES__LBM__CLIENT_PASSPHRASE": "mot de passe"}
    found = one(path, certificate, environ=environ)
    assert found.login is Login.CERTIFICATE
    assert found.client_passphrase() == "mot de passe"
    assert found.password() is None


def test_each_secret_may_be_a_credential(path: Path, tmp_path: Path) -> None:
    (tmp_path / "c.p12").touch(0o600)
    for name in ("client_passphrase", "proxy_password"):
        (tmp_path / f"lbm.{name}").write_text(f"{name} of ours\n")
    keys = ("client_certificate: c.p12", "proxy: http://[::1]:3128", "proxy_username: u")
    found = one(path, *keys, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found.client_passphrase() == "client_passphrase of ours"
    assert found.proxy_password() == "proxy_password of ours"
    assert found.proxy == "http://[::1]:3128"
    assert "of ours" not in repr(found)


def test_a_client_certificate_needs_no_username(path: Path, tmp_path: Path) -> None:
    (tmp_path / "c.pem").touch(0o600)
    assert one(path, "client_certificate: c.pem", "username: null").username is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST."])
def test_plaintext_is_allowed_to_this_machine(path: Path, host: str) -> None:
    assert loopback(host)
    found = one(path, TOKEN, f'host: "{host}"', "security: plaintext")
    assert found.security is Security.PLAINTEXT


@pytest.mark.parametrize(
    "host", ["126.0.0.1", "128.0.0.1", "localhost.example.fr", "127.0.0.1.example.fr", "::2"]
)
def test_a_host_that_only_looks_like_this_machine_is_not(host: str) -> None:
    assert not loopback(host)


def test_every_problem_is_told_at_once_in_the_files_order_then_the_environments(
    path: Path,
) -> None:
    text = box("hots: x", "port: 0", "poll_interval: 5", "security: plaintext")
    text += "routing: [1]\nlog: {level: x}\nroting: r\n"
    found = problems(path, text, {"SIDEP_DISPATCHER__LOGS": "1"})
    assert [problem.split(":")[0] for problem in found] == [
        *["2", "3", "4", "5", "6", "9", "10", "11", "SIDEP_DISPATCHER__LOGS"]
    ]


def test_alerts_through_a_watched_account_are_refused(path: Path) -> None:
    text = box() + "alerts: {smtp: {host: h.fr, username: A@B.fr}, from: a@b.c, to: [c@b.fr]}\n"
    environ = {"SIDEP_DISPATCHER__ALERTS__SMTP__PASSWORD": "x"}
    (problem,) = problems(path, text, environ)
    assert problem.startswith("6:39: alerts would be sent through a watched mailbox's own")


def test_a_sender_from_the_environment_is_looked_at_as_well(
    path: Path,
) -> None:
    text = box() + "alerts: {smtp: {host: h.fr}, from: a@b.c, to: [c@b.fr]}\n"
    (problem,) = problems(path, text, {"SIDEP_DISPATCHER__ALERTS__FROM": "a@b.fr"})
    assert "alerts would bear the address of a watched mailbox" in problem


def test_reports_and_a_ping_need_no_mail_server(path: Path) -> None:
    text = "alerts: {ping_url: 'http://127.0.0.1:8/x', reports: {daily: false, directory: r}}\n"
    found = load(path, box() + text).alerts
    assert found is not None
    assert (found.smtp, found.ping_url) == (None, "http://127.0.0.1:8/x")
    assert found.reports is not None
    assert found.reports.directory == path.parent / "r"
    assert (found.reports.daily, found.reports.weekly) == (False, True)
    name = "SIDEP_DISPATCHER__ALERTS__REPORTS__WEEKLY"
    again = load(path, box() + text, {name: "false"}).alerts
    assert again is not None
    assert again.reports is not None
    assert again.reports.weekly is False


# --- what is strange ---------------------------------------------------------------------

OUTSIDE = """
alerts: {smtp: {host: smtp.fr}, from: a@b.fr, to: [it@b.fr]}
metrics: {listen: "127.0.0.1:9464"}
"""


@pytest.mark.parametrize(("text", "found"), [("50%", 0.5), ("0.25", 0.25), ("100 %", 1.0)])
def test_a_share_is_written_in_per_cent_or_as_a_number(
    path: Path, text: str, found: float
) -> None:
    assert (
        load(path, box() + f"retention: {{max_share: {text}}}\n").retention.max_share == found
    )


def test_settings_of_what_leads_outside_are_kept(path: Path) -> None:
    found = load(path, box(TOKEN, "username: box@b.fr") + OUTSIDE)
    assert found.alerts is not None
    assert found.metrics is not None
    assert (found.alerts.sender, found.alerts.to) == ("a@b.fr", ("it@b.fr",))
    smtp = found.alerts.smtp
    assert smtp is not None
    assert (smtp.port, smtp.security) == (587, Security.STARTTLS)
    assert smtp.password() is None


@pytest.mark.parametrize(
    ("terms", "warned"),
    [
        pytest.param("{negative: 72h, positive: 6 months}", [], id="the guide's"),
        pytest.param("{negative: 24h, positive: 180 days}", [], id="shorter"),
        pytest.param("{negative: 73h}", ["retention.negative"], id="an hour more"),
        pytest.param("{negative: 1 month}", ["retention.negative"], id="a month"),
        pytest.param("{positive: 7 months}", ["retention.positive"], id="a month more"),
        pytest.param("{positive: 200 days}", ["retention.positive"], id="more days"),
    ],
)
def test_keeping_longer_than_the_guide_says_is_a_warning(
    path: Path, terms: str, warned: list[str]
) -> None:
    found = load(path, box() + f"retention: {terms}\n").warnings()
    assert [sentence.split(" ")[0] for sentence in found] == warned


# --- the example and the schema ----------------------------------------------------------


def example() -> str:
    return (CONFIG / "dispatcher.yaml").read_text(encoding="utf-8")


def uncommented() -> Iterator[str]:
    """Yield the example with each commented key in force, but for other logins."""
    for line in example().splitlines():
        match = re.fullmatch(r"( *)# ( *[a-z_]+:(?: .*)?)", line)
        if match and "password_file: lbm" not in line:
            yield match[1] + match[2]
        elif not line.lstrip().startswith("#"):
            yield line


def test_the_commented_example_loads_and_shows_the_true_defaults(path: Path) -> None:
    found = settings.load(CONFIG / "dispatcher.yaml", {})
    full = load(path, "\n".join(uncommented()))
    assert full.alerts is not None
    assert full.metrics is not None
    same = {"routing": found.routing, "alerts": None, "metrics": None}
    assert full.model_copy(update=same) == found.model_copy(update=same)


def test_the_commented_example_shows_every_key() -> None:
    data = YAML(typ="safe", pure=True).load("\n".join(uncommented()))
    schema = settings.json_schema()
    sections = {
        "MailboxSettings": data["mailboxes"]["lbm"] | {"password_file": None},
        "AgreementSettings": data["agreement"],
        "RetentionSettings": data["retention"],
        "AlertSettings": data["alerts"],
        "SmtpSettings": data["alerts"]["smtp"],
        "ReportSettings": data["alerts"]["reports"],
        "BordereauSettings": data["bordereau"],
        "CupsSettings": data["cups"],
        "MetricsSettings": data["metrics"],
        "LogSettings": data["log"],
    }
    assert set(data) == set(schema["properties"])
    for name, section in sections.items():
        assert set(section) == set(schema["$defs"][name]["properties"]), name


def test_the_example_fits_the_schema_with_and_without_its_comments() -> None:
    checker = Draft202012Validator(settings.json_schema())
    yaml = YAML(typ="safe", pure=True)
    for text in (example(), "\n".join(uncommented())):
        checker.validate(json.loads(json.dumps(yaml.load(text), default=str)))


@pytest.mark.parametrize("text", ["18:30", "'18:30'", '"18:30"'], ids=["bare", "one", "two"])
def test_the_time_of_the_lists_is_read_with_and_without_quotes(path: Path, text: str) -> None:
    assert load(path, box() + f"bordereau: {{at: {text}}}\n").bordereau.at == time(18, 30)
    name = "SIDEP_DISPATCHER__BORDEREAU__AT"
    assert load(path, box(), {name: "07:05"}).bordereau.at == time(7, 5)


def test_the_schema_file_is_the_schema_that_the_program_prints() -> None:
    kept = json.loads((CONFIG / "dispatcher.schema.json").read_text(encoding="utf-8"))
    assert kept == settings.json_schema()
    Draft202012Validator.check_schema(kept)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(box("hots: x", TOKEN), id="an unknown key"),
        pytest.param(box("security: ssl", TOKEN), id="an unknown word"),
        pytest.param(box("port: 0", TOKEN), id="a port of 0"),
        pytest.param(box("poll_interval: 60", TOKEN), id="a time without a unit"),
        pytest.param("mailboxes: {}\n", id="no mailbox"),
        pytest.param("routing: r.yaml\n", id="no mailboxes"),
        pytest.param(box() + "cups: {server: localhost}\n", id="a print server without port"),
        pytest.param(box(name='"a b"'), id="a name with a space"),
    ],
)
def test_an_editor_sees_the_commonest_mistakes_by_the_schema(text: str) -> None:
    data = YAML(typ="safe", pure=True).load(text)
    assert not Draft202012Validator(settings.json_schema()).is_valid(data)


def test_a_file_of_more_than_a_megabyte_is_refused(path: Path) -> None:
    (problem,) = problems(path, box() + "# x\n" * 250_000)
    assert problem.startswith("1:1: the file is larger than")
