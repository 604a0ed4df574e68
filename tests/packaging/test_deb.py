"""The Debian package in a fresh Debian: installed, configured, upgraded, removed, purged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dispatcher.simulator import scenario
from tests.acceptance.laboratory import until
from tests.acceptance.monitoring import Monitoring, free_port
from tests.architecture.generate import ROOT
from tests.packaging.debian import Debian
from tests.servers.dovecot import Bal

pytestmark = [pytest.mark.deb, pytest.mark.slow]

SITE = "990000010"
UNIT = "sidep-dispatcher"
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / "build/tools/bin/uv")
    assert Path(found).exists(), "uv is missing: make wheel"
    return found


@pytest.fixture(scope="module")
def package() -> Path:
    """Build the package."""
    subprocess.run([ROOT / "packaging" / "build_deb.sh", uv()], check=True)
    (built,) = (ROOT / "dist").glob("sidep-dispatcher_*.deb")
    return built


@pytest.fixture(scope="module")
def next_package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same package with a later version and a changed example."""
    top = tmp_path_factory.mktemp("next")
    tree = top / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    text = control.read_text(encoding="utf-8")
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 99.0", text), encoding="utf-8")
    with (tree / "etc/sidep-dispatcher/routing.yaml.example").open("a") as file:
        file.write("# of the next version\n")
    built = top / "next.deb"
    subprocess.run(
        ["dpkg-deb", "-b", "--root-owner-group", tree, built],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return built


def listing(package: Path) -> dict[str, str]:
    """Return mode and owner of every file in a package, by its path."""
    shown = subprocess.run(
        ["dpkg-deb", "-c", package], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split(maxsplit=5) for line in shown.splitlines())
    return {row[5].split(" -> ")[0].removeprefix("."): f"{row[0]} {row[1]}" for row in rows}


def test_the_package_holds_what_it_should_and_tells_nothing_of_where_it_was_built(
    package: Path, tmp_path: Path
) -> None:
    files = listing(package)
    assert {
        "/usr/bin/sidep-dispatcher",
        "/opt/sidep-dispatcher/bin/sidep-dispatcher",
        "/usr/lib/systemd/system/sidep-dispatcher.service",
        "/usr/lib/sysusers.d/sidep-dispatcher.conf",
        "/usr/lib/tmpfiles.d/sidep-dispatcher.conf",
        "/usr/share/man/man1/sidep-dispatcher.1.gz",
        "/usr/share/bash-completion/completions/sidep-dispatcher",
    } <= set(files)
    assert all(row.split()[1].split("/") == ["root"] * 2 for row in files.values())
    writable = [path for path, row in files.items() if row[8] == "w" and row[0] != "l"]
    assert writable == []
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    named = subprocess.run(
        ["grep", "-rlF", str(ROOT), tmp_path], capture_output=True, text=True, check=False
    )
    assert named.stdout == ""
    conffiles = subprocess.run(
        ["dpkg-deb", "-I", package, "conffiles"], capture_output=True, text=True, check=True
    ).stdout
    assert all(line.startswith("/etc/sidep-dispatcher/") for line in conffiles.splitlines())
    assert len(conffiles.splitlines()) == 2


def configure(debian: Debian, bal: Bal) -> None:
    """Go through the installation page's steps."""
    secret = debian.path("/etc/sidep-dispatcher/lbm.password")
    secret.write_text(bal.password, encoding="utf-8")
    debian.run("chown", "root:sidep-dispatcher", "/etc/sidep-dispatcher/lbm.password")
    secret.chmod(0o640)
    debian.run(
        "sidep-dispatcher", "init", "--no-input", "--host", "127.0.0.1",
        "--port", bal.server.imap_port, "--security", "plaintext", "--username", bal.user,
        "--password-file", "/etc/sidep-dispatcher/lbm.password", "--since", "all",
        "--lbm", "LBM Exemple", "--finess", SITE,
    )  # fmt: skip
    debian.run(
        "install", "-d", "-m", "2770", "-o", "root", "-g", "sidep-dispatcher",
        f"/srv/sidep/{SITE}",
    )  # fmt: skip


def as_service(debian: Debian, *words: str) -> str:
    return debian.run(
        "setpriv", "--reuid", "sidep-dispatcher", "--regid", "sidep-dispatcher",
        "--clear-groups", "--no-new-privs", "sidep-dispatcher", *words,
    ).stdout  # fmt: skip


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def test_from_a_fresh_debian_to_a_certificate_and_away_again(
    package: Path, next_package: Path, bal: Bal, tmp_path: Path
) -> None:
    debian = Debian(tmp_path)
    debian.run("apt-get", "update", "-qq")
    debian.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "libcups2")
    before = debian.all_files()
    first, second = scenario.certificates(51, 2, [SITE], NOW)

    assert "not configured yet" in debian.install(package)
    assert_installed_and_waiting(debian)
    configure(debian, bal)
    bal.deliver(first.raw)
    as_service(debian, "run", "--once")
    assert documents(debian) == [first.truth.document]

    with nothing_of_the_administrator_lost(debian):
        debian.install(next_package)
    bal.deliver(second.raw)
    as_service(debian, "run", "--once")
    assert len(documents(debian)) == 2
    assert len(listed(debian)) == 2, "the ledger went on"

    debian.run("apt-get", "remove", "-y", "-qq", "sidep-dispatcher")
    assert not debian.path("/opt/sidep-dispatcher").exists()
    debian.install(next_package)
    assert len(listed(debian)) == 2, "remove kept the ledger"

    debian.path("/etc/credstore").mkdir(mode=0o700, exist_ok=True)
    debian.path("/etc/credstore/sidep-dispatcher.lbm.password").write_text("x", "utf-8")
    debian.run("apt-get", "purge", "-y", "-qq", "sidep-dispatcher")
    left = debian.all_files() - before
    assert {one for one in left if "sidep" in one or "__pycache__" in one} == set()
    assert len(documents(debian)) == 2, "the sites keep what they have"


def test_a_booted_debian_runs_the_service_inside_its_walls(
    package: Path, bal: Bal, tmp_path: Path
) -> None:
    """From the package to a certificate in its folder, by the steps of the page."""
    debian = Debian(tmp_path)
    debian.run("apt-get", "update", "-qq")
    debian.install(package)
    sendings = scenario.certificates(52, 3, [SITE], NOW)
    with debian.booted():
        debian.run("systemctl", "start", UNIT)
        assert shown(debian, "ActiveState") == "inactive", "it waits for its configuration"
        configure(debian, bal)
        monitoring = give_figures(debian)
        bal.deliver(sendings[0].raw)
        debian.run("systemctl", "start", UNIT)
        until(lambda: len(documents(debian)) == 1, "the first certificate")
        assert_inside_its_walls(debian)
        until(lambda: monitoring.get("/readyz")[0] == 200, "work flows, for monitoring too")
        assert "sidep_" in monitoring.text()

        debian.run("systemctl", "reload", UNIT)
        assert shown(debian, "ActiveState") == "active"
        assert_rules_follow_an_edit(debian)

        give_as_credential(debian)
        debian.run("systemctl", "restart", UNIT)
        bal.deliver(sendings[1].raw)
        until(lambda: len(documents(debian)) == 2, "one by a password for root alone")

        wedge(debian, bal)
        until(lambda: shown(debian, "NRestarts") != "0", "the watchdog", deadline=180)
        assert_told(journal(debian))

        debian.run("apt-get", "purge", "-y", "-qq", "sidep-dispatcher")
        assert shown(debian, "ActiveState") == "inactive"


def assert_told(told: str) -> None:
    """The watchdog ended it; and PDFium read the texts inside the unit's walls."""
    assert "part_made_no_progress" in told
    assert "result 'watchdog'" in told
    assert "texts_were_not_read" not in told
    assert "document_did_not_name_its_patient" not in told


def journal(debian: Debian) -> str:
    return debian.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager").stdout


def assert_rules_follow_an_edit(debian: Debian) -> None:
    """Edit the rules while they are in force; the service notices by itself."""
    rules = "/etc/sidep-dispatcher/routing.yaml"
    debian.run("sed", "-i", "s/LBM Exemple/LBM Nouveau/", rules)
    debian.run("grep", "-q", "LBM Nouveau", rules)
    until(lambda: "rules_reloaded" in journal(debian), "the new rules are in force")


def shown(debian: Debian, what: str) -> str:
    return debian.run("systemctl", "show", UNIT, "-P", what).stdout.strip()


def assert_inside_its_walls(debian: Debian) -> None:
    main = shown(debian, "MainPID")
    kernel = debian.run("cat", f"/proc/{main}/status").stdout
    said = dict(line.split(":\t", 1) for line in kernel.splitlines() if ":\t" in line)
    assert (said["Seccomp"], said["CapBnd"], said["NoNewPrivs"]) == ("2", "0" * 16, "1")
    assert shown(debian, "NRestarts") == "0"


def give_figures(debian: Debian) -> Monitoring:
    """Let the service be monitored at a port of this machine that is free."""
    port = free_port()
    settings = debian.path("/etc/sidep-dispatcher/dispatcher.yaml")
    with settings.open("a", encoding="utf-8") as file:
        file.write(f'\nmetrics: {{listen: "127.0.0.1:{port}"}}\n')
    folder = debian.path(f"/etc/systemd/system/{UNIT}.service.d")
    folder.mkdir(parents=True)
    (folder / "network.conf").write_text(
        f"[Service]\nSocketBindAllow=ipv4:tcp:{port}\n", encoding="utf-8"
    )
    debian.run("systemctl", "daemon-reload")
    return Monitoring(port)


def give_as_credential(debian: Debian) -> None:
    """Put the password where root alone can read it."""
    debian.run("install", "-d", "-m", "0700", "/etc/credstore")
    kept = "/etc/credstore/sidep-dispatcher.lbm.password"
    debian.run("mv", "/etc/sidep-dispatcher/lbm.password", kept)
    debian.run("chown", "root:root", kept)
    debian.run("chmod", "0600", kept)
    debian.run("sed", "-i", "/password_file/d", "/etc/sidep-dispatcher/dispatcher.yaml")


def wedge(debian: Debian, bal: Bal) -> None:
    """Let the mailbox's next login hang on its password; the watchdog waits 20 s."""
    debian.run("mkfifo", "-m", "0644", "/etc/sidep-dispatcher/hangs")
    settings = "/etc/sidep-dispatcher/dispatcher.yaml"
    debian.run("sed", "-i", "s#    username#    password_file: hangs\\n&#", settings)
    folder = debian.path(f"/etc/systemd/system/{UNIT}.service.d")
    (folder / "watchdog.conf").write_text(
        "[Service]\nWatchdogSec=20s\nLoadCredential=\n", encoding="utf-8"
    )
    debian.run("chmod", "0640", "/etc/sidep-dispatcher/hangs")
    debian.run("chgrp", "sidep-dispatcher", "/etc/sidep-dispatcher/hangs")
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "restart", UNIT)
    bal.server.kick(bal)


def assert_installed_and_waiting(debian: Debian) -> None:
    """Enabled, with its user and directories, and without a configuration."""
    wants = "/etc/systemd/system/multi-user.target.wants/sidep-dispatcher.service"
    assert debian.path(wants).is_symlink()
    assert mode(debian.path("/etc/sidep-dispatcher")) == "0750"
    assert mode(debian.path("/var/lib/sidep-dispatcher")) == "0700"
    assert not debian.path("/etc/sidep-dispatcher/dispatcher.yaml").exists()
    assert debian.run("sidep-dispatcher", "check", check=False).returncode == 78
    assert completed(debian, "sidep-dispatcher li") == ["list"]
    unit = "/usr/lib/systemd/system/sidep-dispatcher.service"
    debian.run("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", unit)


@contextlib.contextmanager
def nothing_of_the_administrator_lost(debian: Debian) -> Iterator[None]:
    """Check that the block leaves every file below /etc/sidep-dispatcher as it is."""
    etc = debian.path("/etc/sidep-dispatcher")
    (etc / "routing.yaml.example").write_text("mine", encoding="utf-8")
    before = {one.name: (one.read_bytes(), mode(one)) for one in etc.iterdir()}
    yield
    after = {one.name: (one.read_bytes(), mode(one)) for one in etc.iterdir()}
    assert {name: after.get(name) for name in before} == before


def documents(debian: Debian) -> list[bytes]:
    return [one.read_bytes() for one in debian.path(f"/srv/sidep/{SITE}").iterdir()]


def listed(debian: Debian) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(as_service(debian, "list", "--json"))
    return found


def completed(debian: Debian, line: str) -> list[str]:
    """Return what the TAB key offers in a bash of the machine."""
    words = line.split()
    script = (
        ". /usr/share/bash-completion/bash_completion; "
        "_completion_loader sidep-dispatcher; "
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p sidep-dispatcher | sed 's/.*-F \\([^ ]*\\) .*/\\1/') sidep-dispatcher; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return debian.run("bash", "-c", script).stdout.split()


def test_the_wheel_installs_with_uv_and_needs_nothing_compiled(tmp_path: Path) -> None:
    subprocess.run(
        [uv(), "build", "--quiet", "--wheel", "--out-dir", tmp_path], cwd=ROOT, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    environ = {
        **os.environ,
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
    }
    subprocess.run([uv(), "tool", "install", "--quiet", wheel], env=environ, check=True)
    program = tmp_path / "bin" / "sidep-dispatcher"
    for words in (["--version"], ["schema", "settings"], ["schema", "routing"]):
        subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)
    assert_a_first_configuration_is_right(program, tmp_path)
    for command in (["demo"], ["simulate"]):
        ended = subprocess.run([program, *command], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (78, "")
        assert "sidep-dispatcher[demo]" in ended.stderr, "it names the extra that is missing"


def assert_a_first_configuration_is_right(program: Path, top: Path) -> None:
    """Write one by options alone and check it, both without a network."""
    folder, state, secret = top / SITE, top / "state", top / "lbm.password"
    folder.mkdir(mode=0o700)
    folder.chmod(0o2750)
    state.mkdir(mode=0o700)
    secret.touch(mode=0o600)
    secret.write_text("secret", encoding="utf-8")
    subprocess.run(
        [
            program, "init", "--no-input", "--offline", "--dir", top / "etc",
            "--host", "imap.operateur.example", "--username", "sidep@lbm.example.mssante.fr",
            "--password-file", secret, "--since", "all", "--lbm", "LBM Exemple",
            "--finess-ej", "990000903", "--finess", SITE, "--folder", folder, "--state", state,
        ],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    ended = subprocess.run(
        [program, "check", "--offline", "--config", top / "etc" / "dispatcher.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("No problem.\n")
