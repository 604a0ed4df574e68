"""Signals reach a command that waits, wherever it stands when they come."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

from dispatcher.cli.signals import STOP, Signals

_WAITING = """\
import signal
from dispatcher.cli.signals import STOP, Signals
signals = Signals(*STOP, signal.SIGHUP)
print("ready", flush=True)
hups = 0
while (came := signals.wait(0.0001)) not in STOP:
    hups += came is signal.SIGHUP
print(hups, came.name)
"""


def test_a_storm_of_signals_stops_nobody_from_being_told_to_end() -> None:
    # An Event set in the handler waits for itself after some hundreds of them.
    chance, pause = random.Random(1), threading.Event()
    with subprocess.Popen(
        [sys.executable, "-c", _WAITING], stdout=subprocess.PIPE, text=True
    ) as waiting:
        try:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "ready\n"
            for _ in range(10_000):
                assert waiting.poll() is None
                os.kill(waiting.pid, signal.SIGHUP)
                pause.wait(chance.uniform(0, 0.0002))
            os.kill(waiting.pid, signal.SIGTERM)
            said, _ = waiting.communicate(timeout=30)
        finally:
            waiting.kill()
    hups, last = said.split()
    assert int(hups) > 0
    assert last == "SIGTERM"


def test_without_a_signal_the_time_goes_by() -> None:
    before = {number: signal.getsignal(number) for number in (*STOP, signal.SIGHUP)}
    try:
        signals = Signals(*STOP, signal.SIGHUP)
        began = time.monotonic()
        assert signals.wait(0.05) is None
        assert time.monotonic() - began >= 0.05
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.wait(60) is signal.SIGHUP
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
