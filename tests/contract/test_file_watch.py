"""The watch on a file hears of every kind of change, on the real file system."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.events import FileClosedNoWriteEvent, FileModifiedEvent, FileOpenedEvent

from dispatcher.edges.watch import FileWatch

DEADLINE = 60.0


class Watched:
    """A file, its watch, and whether the watch told of anything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told = threading.Event()
        self.watch = FileWatch(path, self.told.set)
        self.watch.start()

    def hears(self) -> bool:
        heard = self.told.wait(DEADLINE)
        self.told.clear()
        return heard


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    place = tmp_path / "etc"
    place.mkdir()
    (place / "routing.yaml").write_text("a", encoding="utf-8")
    made = Watched(place / "routing.yaml")
    yield made
    made.watch.stop()


def test_a_file_that_is_written_is_heard_of(watched: Watched) -> None:
    watched.path.write_text("b", encoding="utf-8")
    assert watched.hears()


def test_a_file_that_is_renamed_over_it_is_heard_of(watched: Watched) -> None:
    beside = watched.path.with_name("new")
    beside.write_text("b", encoding="utf-8")
    assert watched.hears()
    beside.rename(watched.path)
    assert watched.hears()


def test_a_file_that_is_deleted_and_comes_back_is_heard_of(watched: Watched) -> None:
    watched.path.unlink()
    assert watched.hears()
    watched.path.write_text("b", encoding="utf-8")
    assert watched.hears()


def test_what_a_switched_symlink_points_to_is_heard_of_after_a_renewal(
    watched: Watched, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "routing.yaml").write_text("b", encoding="utf-8")
    watched.path.unlink()
    watched.path.symlink_to(elsewhere / "routing.yaml")
    assert watched.hears()
    watched.watch.renew()
    watched.told.clear()
    (elsewhere / "routing.yaml").write_text("c", encoding="utf-8")
    assert watched.hears()


def test_a_directory_made_anew_is_heard_of_after_a_renewal(watched: Watched) -> None:
    shutil.rmtree(watched.path.parent)
    assert watched.hears()
    watched.watch.renew()  # nothing is there to listen to
    watched.path.parent.mkdir()
    watched.watch.renew()
    watched.told.clear()
    watched.path.write_text("b", encoding="utf-8")
    assert watched.hears()


def test_reading_it_is_no_change(watched: Watched) -> None:
    for event in (FileOpenedEvent("x"), FileClosedNoWriteEvent("x")):
        watched.watch.on_any_event(event)
    assert not watched.told.is_set()
    watched.watch.on_any_event(FileModifiedEvent("x"))
    assert watched.told.is_set()
