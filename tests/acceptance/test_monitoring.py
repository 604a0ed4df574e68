"""Figures and health of the real process: they move with the work, and name nobody."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import PROGRAM, Laboratory, stop, until
from tests.acceptance.monitoring import Monitoring, free_port
from tests.acceptance.printers import Printers
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.supervisor import Supervised, environment

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SITE = next(iter(SITES))


@pytest.fixture
def sent(secrets: Secrets) -> list[Sending]:
    sendings = scenario.certificates(51, 4, [SITE], NOW)
    secrets.add(sendings)
    return sendings


def watched(laboratory: Laboratory, host: str = "127.0.0.1") -> Monitoring:
    """Add `metrics` to a laboratory's settings; return who looks in."""
    port = free_port(host)
    shown = f"[{host}]" if ":" in host else host
    text = laboratory.config.read_text(encoding="utf-8")
    laboratory.config.write_text(
        f'{text}metrics: {{listen: "{shown}:{port}"}}\n', encoding="utf-8"
    )
    return Monitoring(port, host)


def ready(monitoring: Monitoring) -> Callable[[], bool]:
    return lambda: monitoring.get("/readyz")[0] == 200


def delivered(
    monitoring: Monitoring, count: int, target: str = "dossier"
) -> Callable[[], bool]:
    labels = {"site": SITE, "target": target, "outcome": "delivered"}
    return lambda: monitoring.value("deliveries_total", **labels) == count


def test_figures_move_when_certificates_are_delivered_and_held(
    laboratory: Laboratory, bal: Bal, sent: list[Sending]
) -> None:
    monitoring = watched(laboratory)
    process = laboratory.start()
    try:
        until(ready(monitoring), "a service that is ready")
        assert monitoring.value("messages", state="delivered") == 0
        assert monitoring.value("deliveries_total") is None
        bal.deliver(sent[0].raw)
        until(delivered(monitoring, 1), "the first delivery")
        until(lambda: monitoring.value("messages", state="delivered") == 1, "its message")
        assert monitoring.value("delivery_seconds_count", kind="folder") == 1
        # The attachment's name is of another site: the message is held as a whole.
        bal.deliver(sent[2].raw.replace(SITE.encode() + b"_", b"990000028_"))
        until(lambda: monitoring.value("messages", state="held") == 1, "the held one")
        # What is no directory is refused: the delivery itself is held.
        folder = laboratory.folder(SITE)
        folder.rename(folder.with_name("aside"))
        folder.write_text("no directory")
        bal.deliver(sent[3].raw)
        held = {"site": SITE, "target": "dossier", "outcome": "held"}
        until(lambda: monitoring.value("deliveries_total", **held) == 1, "the refused one")
        folder.unlink()
        folder.with_name("aside").rename(folder)
        until(lambda: monitoring.value("messages", state="held") == 2, "both")
        assert monitoring.value("messages_received") == 3
    finally:
        assert stop(process)[0] == 0
    assert monitoring.get("/healthz")[0] == 0


def test_figures_of_a_quiet_service_say_so_and_name_nobody(
    laboratory: Laboratory, bal: Bal, sent: list[Sending], secrets: Secrets
) -> None:
    bal.deliver(*(one.raw for one in sent))
    monitoring = watched(laboratory)
    process = laboratory.start()
    try:
        until(lambda: monitoring.value("messages", state="delivered") == 4, "all of them")
        until(ready(monitoring), "a service that is ready")
        for name, value in {
            "balance_difference": 0, "rules_valid": 1, "ledger_writable": 1,
            "mailbox_failing": 0, "retention_backlog": 0, "login_refusals": 0,
            "oldest_unsettled_seconds": 0, "deliveries_open": 0, "purge_stopped": 0,
        }.items():  # fmt: skip
            assert monitoring.value(name) == value, name
        checked = monitoring.value("last_good_check_timestamp_seconds", mailbox="lbm")
        assert checked is not None
        assert checked > NOW.timestamp()
        text = monitoring.text()
        assert not secrets.found_in(text)
        for entry in laboratory.listed():
            assert entry["id"] not in text
            assert all(one["id"] not in text for one in entry["deliveries"] if "id" in one)
    finally:
        stop(process)


def test_figures_move_when_certificates_are_printed(
    printing: Laboratory, printers: Printers, bal: Bal, sent: list[Sending]
) -> None:
    monitoring = watched(printing)
    paused = printers.queue(SITE)
    printers.cupsd.pause(paused)
    process = printing.start()
    try:
        until(ready(monitoring), "a service that is ready")
        bal.deliver(sent[0].raw)
        labels = {"site": SITE, "target": "papier"}
        until(
            lambda: monitoring.value("print_jobs", state="delivering", **labels) == 1,
            "a job that CUPS took",
        )
        until(
            lambda: monitoring.value("target_hindered_seconds", **labels) is not None,
            "the printer that is paused",
        )
        printers.cupsd.resume(paused)
        until(delivered(monitoring, 1, "papier"), "the print")
        until(lambda: monitoring.value("print_jobs", **labels) == 0, "nothing left to print")
        assert monitoring.value("delivery_seconds_count", kind="print") == 1
    finally:
        stop(process)


def test_readiness_follows_the_mail_server_and_life_does_not(
    laboratory: Laboratory, dovecot: Dovecot, bal: Bal, sent: list[Sending]
) -> None:
    monitoring = watched(laboratory)
    process = laboratory.start()
    try:
        until(ready(monitoring), "a service that is ready")
        dovecot.stop()
        try:
            until(lambda: monitoring.get("/readyz")[0] == 503, "a service that is not ready")
            status, told = monitoring.told("/readyz")
            assert (status, told["ready"]) == (503, False)
            (reason,) = told["reasons"]
            assert reason.startswith("mailbox lbm: its checks fail since ")
            until(lambda: monitoring.value("mailbox_failing", mailbox="lbm") == 1, "the figure")
            assert monitoring.told("/healthz") == (200, {"alive": True, "reasons": []})
        finally:
            dovecot.start()
        until(ready(monitoring), "the way back")
        bal.deliver(sent[0].raw)
        until(delivered(monitoring, 1), "a delivery after it")
        assert monitoring.told("/readyz") == (200, {"ready": True, "reasons": []})
    finally:
        stop(process)


def test_rules_with_a_mistake_are_a_reason_and_a_figure(laboratory: Laboratory) -> None:
    monitoring = watched(laboratory, "::1")
    process = laboratory.start()
    good = laboratory.routing.read_text(encoding="utf-8")
    try:
        until(ready(monitoring), "a service that is ready")
        laboratory.write_routing("version: 1\nsites: {990000010: {}}\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: monitoring.value("rules_valid") == 0, "the refusal")
        reasons = monitoring.told("/readyz")[1]["reasons"]
        assert [reason.partition(":")[0] for reason in reasons] == ["rules"]
        laboratory.write_routing(good)
        process.send_signal(signal.SIGHUP)
        until(lambda: monitoring.value("rules_valid") == 1, "the old ones again")
        until(ready(monitoring), "a service that is ready again")
    finally:
        stop(process)


def test_a_port_that_is_taken_stops_no_work_and_check_says_so(
    laboratory: Laboratory, bal: Bal, sent: list[Sending]
) -> None:
    monitoring = watched(laboratory)
    with socket.create_server(("127.0.0.1", monitoring.port)):
        ended = laboratory.command("check")
        assert ended.status == 1
        assert "EADDRINUSE" in ended.out
        assert "choose another port for metrics.listen" in ended.out
        process = laboratory.start()
        try:
            bal.deliver(sent[0].raw)
            until(lambda: len(laboratory.files(SITE)) == 1, "a delivery all the same")
        finally:
            assert stop(process)[0] == 0
    assert f"metrics: 127.0.0.1:{monitoring.port} is free" in laboratory.command("check").out


def test_check_beside_a_running_service_finds_it_at_its_port(laboratory: Laboratory) -> None:
    monitoring = watched(laboratory)
    process = laboratory.start()
    try:
        until(ready(monitoring), "a service that is ready")
        ended = laboratory.command("check")
        assert ended.status == 0, ended.out
        assert f"the service shows them at 127.0.0.1:{monitoring.port}" in ended.out
    finally:
        stop(process)


def test_clients_that_say_nothing_hold_nobody_up(
    laboratory: Laboratory, bal: Bal, sent: list[Sending]
) -> None:
    monitoring = watched(laboratory)
    process = laboratory.start()
    silent: list[socket.socket] = []
    try:
        until(ready(monitoring), "a service that is ready")
        silent += [socket.create_connection(("127.0.0.1", monitoring.port)) for _ in range(40)]
        bal.deliver(sent[0].raw)
        until(lambda: len(laboratory.files(SITE)) == 1, "a delivery all the same")
        # They are left after some seconds, and others get their turn.
        until(delivered(monitoring, 1), "an answer all the same")
    finally:
        for sock in silent:
            sock.close()
        assert stop(process)[0] == 0


@pytest.mark.slow
def test_a_part_that_hangs_ends_life_as_the_watchdog_sees_it(
    laboratory: Laboratory, bal: Bal, logs: IO[bytes]
) -> None:
    monitoring = watched(laboratory)
    password = laboratory.top / "lbm.password"
    command = [*PROGRAM, "run", "--config", str(laboratory.config)]
    with Supervised(command, environ=environment(), log=logs, watchdog=20.0) as service:
        service.until(ready(monitoring), "a service that is ready")
        password.rename(laboratory.top / "password")
        os.mkfifo(password, 0o600)
        bal.server.kick(bal)
        seen: list[object] = []

        def dead() -> bool:
            status, told = monitoring.told("/healthz")
            if status == 503:
                seen.append(told)
            return bool(seen) or service.bitten > 0

        service.until(dead, "the end of life")
        service.until(lambda: service.bitten > 0, "the bite")
        (laboratory.top / "password").rename(password)
        service.until(ready(monitoring), "a service that lives again")
        # It is killed as soon as it is noticed: who asks may be too late to see it.
        for told in seen:
            assert isinstance(told, dict)
            assert told["alive"] is False
            assert "mailbox lbm: no progress" in told["reasons"][0]
        assert service.end() == 0
