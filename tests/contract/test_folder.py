"""What a site's folder must survive: every fault of a disk, a share, a person or a thief."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.edges.folder import MountTables, SiteFolder
from dispatcher.edges.folder import opened as opened_module
from dispatcher.edges.folder.names import safe_name
from dispatcher.errors import DispatcherError, InDoubt, Refused, Unavailable
from dispatcher.ports import Outcome

SITE = FinessET("990000010")
NAME = "990000010_21048BC000020_DUPONT_Zoé.pdf"
PDF = b"%PDF-1.7 one certificate %%EOF"
OTHER = b"%PDF-1.7 two certificate %%EOF"
SECRET = bytes(range(32))


def order(key: str = "4f2a", content: bytes = PDF, name: str = NAME) -> Order:
    return Order(key, SITE, "dossier", Document(name, content))


def the(outcomes: tuple[Outcome, ...]) -> Outcome:
    (outcome,) = outcomes
    return outcome


def words(outcome: Outcome) -> str:
    assert isinstance(outcome, DispatcherError)
    return f"{outcome} {outcome.hint}"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


class Memory:
    """A memory of mount points."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.broken: Unavailable | None = None

    def get(self, path: str) -> str | None:
        return self.kept.get(path)

    def set(self, path: str, mountpoint: str) -> None:
        if self.broken is not None:
            raise self.broken
        self.kept[path] = mountpoint


class Host:
    """A machine with a folder, whose mount tables a test can write."""

    def __init__(self, base: Path) -> None:
        self.share = base / "srv" / "share"
        self.place = self.share / "gare"
        self.place.mkdir(parents=True)
        self.tables = MountTables(mountinfo=base / "mountinfo", fstab=base / "fstab")
        self.memory = Memory()
        self.mounted("/")
        self.folder = SiteFolder(
            self.place, secret=SECRET, remembered_mount=self.memory, tables=self.tables
        )

    def mounted(self, *points: str | Path, kind: str = "ext4") -> None:
        lines = [
            f"{n} 1 0:{n} / {escaped(p)} rw - {kind} dev rw\n" for n, p in enumerate(points)
        ]
        self.tables.mountinfo.write_text("".join(lines))

    def listed(self, *points: str | Path) -> None:
        lines = ["# made by hand", "", "UUID=1 / ext4 defaults 0 1", "UUID=2 none swap sw"]
        lines += [f"//nas/{n} {escaped(p)} cifs noauto,rw 0 0" for n, p in enumerate(points)]
        self.tables.fstab.write_text("\n".join(lines))


def escaped(path: str | Path) -> str:
    return str(path).replace(" ", "\\040")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def place(host: Host) -> Path:
    return host.place


@pytest.fixture
def folder(host: Host) -> SiteFolder:
    return host.folder


class Faults:
    """Makes system calls fail, and remembers which were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls: list[str] = []

    def fail(
        self, call: str, code: int, *, nth: int = 1, for_ever: bool = False, done: bool = False
    ) -> None:
        """Fail the nth call, before or (`done`) after it did its work."""
        real, count = getattr(os, call), itertools.count(1)

        def failing(*args: object, **options: object) -> object:
            self.calls.append(call)
            at = next(count)
            failed = at == nth or (for_ever and at > nth)
            if failed and done:
                real(*args, **options)
            if failed:
                raise OSError(code, os.strerror(code), NAME)
            return real(*args, **options)

        self._monkeypatch.setattr(os, call, failing)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


# --- publishing ------------------------------------------------------------------------


def test_the_document_lies_there_under_its_name_for_the_site_s_group_only(
    folder: SiteFolder, place: Path
) -> None:
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert contents(place) == {NAME: PDF}
    assert stat.S_IMODE((place / NAME).stat().st_mode) == 0o640


def test_a_new_file_gets_the_group_of_the_folder(folder: SiteFolder, place: Path) -> None:
    groups = {*os.getgroups(), os.getegid()} if os.geteuid() else {12345}
    other = next((group for group in groups if group != os.getegid()), os.getegid())
    os.chown(place, -1, other)
    folder.deliver([order()])
    assert (place / NAME).stat().st_gid == other


def test_a_file_is_readable_by_the_group_whatever_the_umask(
    folder: SiteFolder, place: Path
) -> None:
    before = os.umask(0o777)
    try:
        folder.deliver([order()])
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / NAME).stat().st_mode) == 0o640


def test_a_group_is_flushed_whole_then_named_then_the_folder_is_flushed_once(
    folder: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(fd: int) -> None:
        real_fsync(fd)
        steps.append("folder" if _is_folder(fd) else "file")

    def link(*args: object, **options: object) -> None:
        real_link(*args, **options)  # type: ignore[arg-type] # passed on as they came
        steps.append("name")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    outcomes = folder.deliver([order(f"{n}", PDF, f"{n}.pdf") for n in range(12)])
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert steps == ["file"] * 12 + ["name"] * 12 + ["folder"]


def test_while_it_is_written_a_file_bears_no_name_of_a_patient(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        seen.extend(os.listdir(place))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    folder.deliver([order("4f2a")])
    assert seen[0] == ".sidep-4f2a.part"


def test_one_bad_order_does_not_hide_what_became_of_the_others(
    folder: SiteFolder, place: Path
) -> None:
    (place / "2.pdf").symlink_to("elsewhere")
    outcomes = folder.deliver([order(f"{n}", PDF, f"{n}.pdf") for n in range(5)])
    assert [type(outcome) for outcome in outcomes] == [
        Receipt,
        Receipt,
        Refused,
        Receipt,
        Receipt,
    ]
    assert sorted(contents(place)) == ["0.pdf", "1.pdf", "3.pdf", "4.pdf"]


def test_several_threads_may_deliver_at_once(folder: SiteFolder, place: Path) -> None:
    outcomes: list[Outcome] = []

    def work(lane: int) -> None:
        for n in range(10):
            outcomes.extend(folder.deliver([order(f"{lane}-{n}", b"%d" % lane, f"{n}")]))

    lanes = [threading.Thread(target=work, args=(lane,)) for lane in range(4)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert len(contents(place)) == 40


# --- names that are taken ---------------------------------------------------------------


def test_other_content_under_the_name_is_kept_and_ours_is_marked(
    folder: SiteFolder, place: Path
) -> None:
    (place / NAME).write_bytes(OTHER)
    receipt = the(folder.deliver([order()]))
    marked = f"{NAME[:-4]}-{order().document.sha256[:8]}.pdf"
    assert isinstance(receipt, Receipt)
    assert not receipt.already_there
    assert contents(place) == {NAME: OTHER, marked: PDF}
    assert folder.lookup(receipt.reference) == marked


def test_when_the_marked_name_is_taken_too_there_are_more_digits(
    folder: SiteFolder, place: Path
) -> None:
    (place / NAME).write_bytes(OTHER)
    (place / f"{NAME[:-4]}-{order().document.sha256[:8]}.pdf").write_bytes(OTHER)
    folder.deliver([order()])
    assert contents(place)[f"{NAME[:-4]}-{order().document.sha256[:16]}.pdf"] == PDF


def test_when_every_name_is_taken_a_person_must_look(folder: SiteFolder, place: Path) -> None:
    for digits in (0, 8, 16, 32, 64):
        mark = f"-{order().document.sha256[:digits]}" if digits else ""
        (place / f"{NAME[:-4]}{mark}.pdf").write_bytes(OTHER)
    assert isinstance(the(folder.deliver([order()])), Refused)


def test_a_marked_copy_is_known_again_after_the_other_file_has_gone(
    folder: SiteFolder, place: Path
) -> None:
    (place / NAME).write_bytes(OTHER)
    first = the(folder.deliver([order()]))
    (place / NAME).unlink()
    second = the(folder.deliver([order()]))
    assert isinstance(first, Receipt)
    assert second == Receipt(first.reference, already_there=True)
    assert len(contents(place)) == 1


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(NAME.upper(), id="but for case"),
        pytest.param(unicodedata.normalize("NFD", NAME), id="but for composition"),
    ],
)
def test_names_equal_for_some_file_system_count_as_one(
    taken: str, folder: SiteFolder, place: Path
) -> None:
    (place / taken).write_bytes(OTHER)
    folder.deliver([order()])
    assert set(contents(place)) == {taken, f"{NAME[:-4]}-{order().document.sha256[:8]}.pdf"}


def test_the_same_content_under_a_name_of_other_case_is_no_second_file(
    folder: SiteFolder, place: Path
) -> None:
    (place / NAME.upper()).write_bytes(PDF)
    receipt = the(folder.deliver([order()]))
    assert isinstance(receipt, Receipt)
    assert receipt.already_there
    assert set(contents(place)) == {NAME.upper()}
    assert folder.lookup(receipt.reference) == NAME.upper()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_keeps_the_name_and_is_never_opened(
    make: Callable[[Path], None], folder: SiteFolder, place: Path
) -> None:
    make(place / NAME)
    assert folder.find(order()) is None
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert set(contents(place)) == {f"{NAME[:-4]}-{order().document.sha256[:8]}.pdf"}


def test_a_name_taken_between_looking_and_naming_is_not_overwritten(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(*args: object, **options: object) -> None:
        if not (place / NAME).exists():
            (place / NAME).write_bytes(OTHER)
        real(*args, **options)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(os, "link", link)
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert contents(place)[NAME] == OTHER
    assert len(contents(place)) == 2


@pytest.mark.parametrize(
    "name",
    ['<a>:"b"|c?*.pdf', "CON", "a. . .", "é" * 300, "../../up.pdf", ".sidep-4f2a.part"],
)
def test_an_odd_name_is_delivered_safely_and_found_again(
    name: str, folder: SiteFolder, place: Path
) -> None:
    receipt = the(folder.deliver([order(name=name)]))
    assert isinstance(receipt, Receipt)
    assert set(contents(place)) == {safe_name(name)} == {folder.lookup(receipt.reference)}
    assert folder.find(order(name=name)) == Receipt(receipt.reference, already_there=True)


def test_a_reference_that_nothing_bears_leads_nowhere(folder: SiteFolder) -> None:
    folder.deliver([order()])
    assert folder.lookup("0" * 32) is None


# --- symlinks ---------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "precious").write_bytes(b"precious")
    yield path
    assert contents(path) == {"precious": b"precious"}


def test_a_symlink_in_the_folder_s_place_is_refused(
    host: Host, place: Path, outside: Path
) -> None:
    place.rmdir()
    place.symlink_to(outside)
    assert isinstance(the(host.folder.deliver([order()])), Refused)
    with pytest.raises(Unavailable):
        host.folder.find(order())


def test_a_symlink_above_the_folder_is_an_administrator_s_choice(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "short").symlink_to(host.share)
    folder = SiteFolder(tmp_path / "short" / "gare", secret=SECRET, tables=host.tables)
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert contents(host.place) == {NAME: PDF}


@pytest.mark.parametrize("target", ["precious", "new"])
def test_a_symlink_under_the_temporary_name_is_refused(
    target: str, folder: SiteFolder, place: Path, outside: Path
) -> None:
    (place / ".sidep-4f2a.part").symlink_to(outside / target)
    assert isinstance(the(folder.deliver([order("4f2a")])), Refused)
    assert (place / ".sidep-4f2a.part").is_symlink()
    assert not (place / NAME).exists()


@pytest.mark.parametrize("target", ["precious", "new"])
def test_a_symlink_under_the_final_name_is_refused(
    target: str, folder: SiteFolder, place: Path, outside: Path
) -> None:
    (place / NAME).symlink_to(outside / target)
    assert isinstance(the(folder.deliver([order()])), Refused)
    assert (place / NAME).is_symlink()
    assert not list(place.glob(".*"))


def test_a_symlink_to_the_same_content_is_no_proof_of_delivery(
    folder: SiteFolder, place: Path, tmp_path: Path
) -> None:
    (tmp_path / "copy").write_bytes(PDF)
    (place / NAME).symlink_to(tmp_path / "copy")
    assert folder.find(order()) is None


def test_a_folder_swapped_for_a_symlink_while_it_is_written_is_refused(
    folder: SiteFolder, place: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        if not place.is_symlink():
            place.rename(place.with_name("away"))
            place.symlink_to(outside)

    monkeypatch.setattr(os, "fsync", fsync)
    assert isinstance(the(folder.deliver([order()])), Refused)
    assert contents(place.with_name("away")) == {}


def test_a_part_swapped_before_it_is_named_is_not_taken_for_ours(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(*args: object, **options: object) -> None:
        (place / ".sidep-4f2a.part").unlink()
        (place / ".sidep-4f2a.part").write_bytes(OTHER)
        real(*args, **options)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(os, "link", link)
    assert isinstance(the(folder.deliver([order("4f2a")])), InDoubt)
    assert folder.find(order("4f2a")) is None


# --- shares -----------------------------------------------------------------------------


def test_a_missing_folder_is_an_unmounted_share_and_never_created(
    folder: SiteFolder, place: Path
) -> None:
    place.rmdir()
    outcome = the(folder.deliver([order()]))
    assert isinstance(outcome, Unavailable)
    assert "mount" in outcome.hint.lower()
    with pytest.raises(Unavailable):
        folder.find(order())
    with pytest.raises(Unavailable):
        folder.lookup("0" * 32)
    assert not place.exists()


def test_a_file_in_the_folder_s_place_is_refused(folder: SiteFolder, place: Path) -> None:
    place.rmdir()
    place.write_bytes(b"")
    assert isinstance(the(folder.deliver([order()])), Refused)


def assert_untouched(host: Host) -> None:
    outcome = the(host.folder.deliver([order()]))
    assert isinstance(outcome, Unavailable)
    assert outcome.hint
    with pytest.raises(Unavailable):
        host.folder.find(order())
    assert os.listdir(host.place) == []
    assert "problem" in {finding.level for finding in host.folder.check()}
    assert host.folder.health().trouble


def test_a_share_of_fstab_that_is_not_mounted_gets_no_byte(host: Host) -> None:
    host.listed(host.share)
    assert_untouched(host)


def test_a_share_of_fstab_with_a_space_in_its_name_is_known(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    host = Host(tmp_path / "a b")
    host.listed(host.place)
    assert_untouched(host)
    host.mounted("/", host.place)
    assert isinstance(the(host.folder.deliver([order()])), Receipt)


def test_an_automount_point_alone_is_no_mount(host: Host) -> None:
    host.listed(host.share)
    host.mounted("/", host.share, kind="autofs")
    assert_untouched(host)


def test_a_share_of_fstab_reached_through_a_symlink_is_known(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "short").symlink_to(host.share.parent)
    host.listed(tmp_path / "short" / "share")
    folder = SiteFolder(
        tmp_path / "short" / "share" / "gare", secret=SECRET, tables=host.tables
    )
    assert isinstance(the(folder.deliver([order()])), Unavailable)
    host.mounted("/", host.share)
    assert isinstance(the(folder.deliver([order()])), Receipt)


def test_other_shares_of_fstab_do_not_matter(host: Host) -> None:
    host.listed(host.share.with_name("share2"), host.place / "below")
    assert isinstance(the(host.folder.deliver([order()])), Receipt)


def test_a_mounted_share_is_written_and_its_mount_point_remembered(host: Host) -> None:
    host.listed(host.share)
    host.mounted("/", host.share)
    assert isinstance(the(host.folder.deliver([order()])), Receipt)
    assert host.memory.kept == {str(host.place): str(host.share)}


def test_a_folder_that_lay_on_a_share_and_does_not_now_gets_no_byte(host: Host) -> None:
    host.memory.kept[str(host.place)] = str(host.share)
    assert_untouched(host)


def test_a_folder_that_came_onto_a_share_is_written_and_remembered(host: Host) -> None:
    host.memory.kept[str(host.place)] = "/"
    host.mounted("/", host.share)
    assert isinstance(the(host.folder.deliver([order()])), Receipt)
    assert host.memory.kept == {str(host.place): str(host.share)}


def test_without_a_memory_of_the_mount_nothing_is_published(host: Host) -> None:
    host.memory.broken = Unavailable("the ledger's disk is full")
    assert the(host.folder.deliver([order()])) is host.memory.broken
    assert os.listdir(host.place) == []


def test_a_share_unmounted_while_it_is_written_gets_no_name(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.listed(host.share)
    host.mounted("/", host.share)
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        host.mounted("/")

    monkeypatch.setattr(os, "fsync", fsync)
    assert isinstance(the(host.folder.deliver([order()])), Unavailable)
    assert os.listdir(host.place) == []


def test_another_folder_in_its_place_while_it_is_written_gets_nothing(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        place.rename(place.with_name("away"))
        place.mkdir()

    monkeypatch.setattr(os, "fsync", fsync)
    assert isinstance(the(folder.deliver([order()])), Unavailable)
    assert os.listdir(place) == os.listdir(place.with_name("away")) == []


def test_a_path_that_does_not_answer_just_before_naming_means_later(
    folder: SiteFolder, place: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        faults.fail("lstat", errno.EIO, for_ever=True)

    monkeypatch.setattr(os, "fsync", fsync)
    assert isinstance(the(folder.deliver([order()])), Unavailable)
    assert os.listdir(place) == []


def test_when_nobody_can_say_what_is_mounted_nothing_is_written(host: Host) -> None:
    host.tables.mountinfo.unlink()
    assert_untouched(host)


# --- disks ------------------------------------------------------------------------------

BEFORE = [
    pytest.param("open", 2, errno.ENOSPC, id="no inode is left"),
    pytest.param("open", 2, errno.EROFS, id="read-only by now"),
    pytest.param("open", 1, errno.EACCES, id="folder may not be entered"),
    pytest.param("open", 2, errno.EACCES, id="folder may not be written"),
    pytest.param("open", 2, errno.EDQUOT, id="quota of files"),
    pytest.param("listdir", 1, errno.EIO, id="folder cannot be listed"),
    pytest.param("write", 1, errno.ENOSPC, id="disk full"),
    pytest.param("write", 1, errno.EDQUOT, id="quota"),
    pytest.param("write", 1, errno.EIO, id="disk dying"),
    pytest.param("fsync", 1, errno.EIO, id="flush failed"),
    pytest.param("fsync", 1, errno.ENOSPC, id="full only when flushed"),
    pytest.param("close", 1, errno.EDQUOT, id="quota told at close"),
    pytest.param("link", 1, errno.ENOSPC, id="no room for the name"),
    pytest.param("link", 1, errno.EROFS, id="read-only at the last moment"),
    pytest.param("link", 1, errno.EACCES, id="name not allowed"),
]


@pytest.mark.parametrize(("call", "nth", "code"), BEFORE)
def test_before_the_name_is_given_a_fault_means_later(
    call: str, nth: int, code: int, *, folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail(call, code, nth=nth)
    outcome = the(folder.deliver([order()]))
    assert isinstance(outcome, Unavailable)
    assert outcome.hint
    assert contents(place) == {}
    assert isinstance(the(folder.deliver([order()])), Receipt), "the fault is over"
    assert contents(place) == {NAME: PDF}


@pytest.mark.parametrize(("call", "nth", "code"), BEFORE)
def test_a_fault_says_nothing_of_the_patient(
    call: str, nth: int, code: int, *, folder: SiteFolder, faults: Faults
) -> None:
    faults.fail(call, code, nth=nth)
    said = words(the(folder.deliver([order()])))
    assert not [part for part in ("DUPONT", "Zo", "21048BC") if part in said]


def test_a_failed_flush_is_never_repeated(
    folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail("fsync", errno.EIO, for_ever=True)
    folder.deliver([order()])
    assert faults.calls == ["fsync"]
    assert contents(place) == {}


def test_one_full_moment_costs_only_the_document_it_met(
    folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail("write", errno.ENOSPC, nth=3)
    outcomes = folder.deliver([order(f"{n}", PDF, f"{n}.pdf") for n in range(5)])
    kinds = sorted(type(outcome).__name__ for outcome in outcomes)
    assert kinds == ["Receipt"] * 4 + ["Unavailable"]
    assert len(contents(place)) == 4


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET])
def test_when_naming_may_have_happened_and_cannot_be_seen_there_is_doubt(
    code: int, folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail("link", code)
    assert isinstance(the(folder.deliver([order()])), InDoubt)
    assert not list(place.glob(".*"))
    assert folder.find(order()) is None


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EEXIST])
def test_when_only_the_answer_was_lost_looking_shows_the_truth(
    code: int, folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail("link", code, done=True)
    receipt = the(folder.deliver([order()]))
    assert isinstance(receipt, Receipt)
    assert not receipt.already_there
    assert contents(place) == {NAME: PDF}


def test_a_name_that_is_not_durable_is_in_doubt_and_then_found(
    folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail("fsync", errno.EIO, nth=2)
    assert isinstance(the(folder.deliver([order()])), InDoubt)
    assert contents(place) == {NAME: PDF}
    assert isinstance(folder.find(order()), Receipt)


def test_what_is_found_is_made_durable_before_it_counts(
    folder: SiteFolder, place: Path, faults: Faults
) -> None:
    (place / NAME).write_bytes(PDF)
    faults.fail("fsync", errno.EIO, for_ever=True)
    with pytest.raises(Unavailable):
        folder.find(order())
    assert isinstance(the(folder.deliver([order()])), Unavailable)


def test_what_is_found_is_flushed_as_a_file_and_as_a_name(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / NAME).write_bytes(PDF)
    flushed: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(_is_folder(fd)))
    folder.find(order())
    assert flushed == [False, True]


def _is_folder(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_a_folder_is_no_alarm(
    code: int, folder: SiteFolder, faults: Faults
) -> None:
    faults.fail("fsync", code, nth=2)
    assert isinstance(the(folder.deliver([order()])), Receipt)


@pytest.mark.parametrize("call", ["fchmod", "fchown"])
def test_a_share_that_knows_no_modes_or_groups_is_no_alarm(
    call: str, folder: SiteFolder, faults: Faults
) -> None:
    faults.fail(call, errno.EPERM, for_ever=True)
    assert isinstance(the(folder.deliver([order()])), Receipt)


def test_short_writes_are_written_to_the_end(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert contents(place) == {NAME: PDF}


def test_writes_that_write_nothing_do_not_go_on_for_ever(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, _data: 0)
    assert isinstance(the(folder.deliver([order()])), Unavailable)
    assert os.listdir(place) == []


@pytest.mark.parametrize(
    ("call", "nth"), [("open", 1), ("open", 2), ("listdir", 1), ("write", 1), ("fsync", 1)]
)
def test_a_stale_handle_is_opened_again_by_its_path_once(
    call: str, nth: int, *, folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail(call, errno.ESTALE, nth=nth)
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert contents(place) == {NAME: PDF}


def test_a_handle_that_stays_stale_is_unavailable(folder: SiteFolder, faults: Faults) -> None:
    faults.fail("listdir", errno.ESTALE, for_ever=True)
    assert isinstance(the(folder.deliver([order()])), Unavailable)
    assert len(faults.calls) == 2


def test_a_stale_handle_does_not_hide_a_delivery(
    folder: SiteFolder, place: Path, faults: Faults
) -> None:
    (place / NAME.upper()).write_bytes(PDF)
    faults.fail("listdir", errno.ESTALE)
    assert isinstance(folder.find(order()), Receipt)


@pytest.mark.parametrize(
    ("call", "nth"),
    # The first two stats are of the tables of mounts.
    [("open", 1), ("listdir", 1), ("stat", 3), ("read", 1)],
)
def test_a_folder_that_cannot_be_looked_into_proves_no_absence(
    call: str, nth: int, *, folder: SiteFolder, place: Path, faults: Faults
) -> None:
    # Under another case, so that only the list of names leads to it.
    (place / NAME.upper()).write_bytes(PDF)
    faults.fail(call, errno.EIO, nth=nth)
    with pytest.raises(Unavailable):
        folder.find(order())


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_a_file_is_renamed_and_still_overwrites_nothing(
    code: int, folder: SiteFolder, place: Path, faults: Faults
) -> None:
    faults.fail("link", code, for_ever=True)
    outcomes = folder.deliver([order("1"), order("2", OTHER), order("3")])
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert contents(place) == {
        NAME: PDF,
        f"{NAME[:-4]}-{order(content=OTHER).document.sha256[:8]}.pdf": OTHER,
    }


def test_renaming_refuses_a_name_that_was_taken_just_now(
    folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_args: object, **_options: object) -> None:
        (place / NAME).write_bytes(OTHER)
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert isinstance(the(folder.deliver([order()])), Receipt)
    assert contents(place)[NAME] == OTHER
    assert len(contents(place)) == 2


def test_a_file_system_that_can_only_overwrite_is_refused(
    folder: SiteFolder, place: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Libc:
        """A C library of before renameat2."""

    faults.fail("link", errno.EPERM)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_a, **_k: Libc())
    assert isinstance(the(folder.deliver([order()])), Refused)
    assert os.listdir(place) == []


def test_a_real_disk_that_is_full_gets_no_torn_file_and_goes_on_when_freed(
    host: Host, tmp_path: Path
) -> None:
    """A process that may write no more than 4 kB a file stands for a full disk."""
    script = tmp_path / "child.py"
    script.write_text(
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from dispatcher.edges.folder import MountTables, SiteFolder\n"
        "from dispatcher.core.certificate import Document\n"
        "from dispatcher.core.delivery import Order\n"
        "from dispatcher.core.finess import FinessET\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "tables = MountTables(Path(sys.argv[2]), Path(sys.argv[3]))\n"
        "folder = SiteFolder(Path(sys.argv[1]), secret=bytes(32), tables=tables)\n"
        "for size in (10_000, 100):\n"
        "    document = Document('a.pdf', b'x' * size)\n"
        "    order = Order('1', FinessET('990000010'), 'dossier', document)\n"
        "    print(type(folder.deliver([order])[0]).__name__)\n"
    )
    ran = subprocess.run(
        [
            sys.executable,
            str(script),
            str(host.place),
            str(host.tables.mountinfo),
            str(host.tables.fstab),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path.cwd(),
    )
    assert ran.stdout.split() == ["Unavailable", "Receipt"]
    assert contents(host.place) == {"a.pdf": b"x" * 100}


# --- after a crash ----------------------------------------------------------------------


def test_a_leftover_of_a_crash_is_written_anew(folder: SiteFolder, place: Path) -> None:
    (place / ".sidep-4f2a.part").write_bytes(PDF[:5])
    assert isinstance(the(folder.deliver([order("4f2a")])), Receipt)
    assert contents(place) == {NAME: PDF}


def test_a_leftover_that_had_its_name_already_does_not_hurt_the_named_file(
    folder: SiteFolder, place: Path
) -> None:
    (place / ".sidep-4f2a.part").write_bytes(PDF)
    os.link(place / ".sidep-4f2a.part", place / NAME)
    receipt = the(folder.deliver([order("4f2a")]))
    assert isinstance(receipt, Receipt)
    assert receipt.already_there
    assert contents(place) == {NAME: PDF}


def test_looking_changes_nothing_of_others(folder: SiteFolder, place: Path) -> None:
    (place / ".sidep-other.part").write_bytes(PDF[:5])
    before = place.stat().st_mtime_ns
    assert folder.find(order("4f2a")) is None
    list(folder.check())
    assert os.listdir(place) == [".sidep-other.part"]
    assert place.stat().st_mtime_ns == before


def test_settling_a_delivery_removes_what_its_killed_attempt_left(
    folder: SiteFolder, place: Path
) -> None:
    folder.deliver([order()])
    (named,) = place.iterdir()
    os.link(named, place / ".sidep-4f2a.part")
    (place / ".sidep-other.part").write_bytes(b"another delivery is under way")
    assert folder.find(order()) is not None
    assert sorted(path.name for path in place.iterdir()) == [".sidep-other.part", NAME]


def test_leftovers_of_long_ago_go_with_the_next_delivery_and_recent_ones_stay(
    folder: SiteFolder, place: Path
) -> None:
    for name in (".sidep-old.part", ".sidep-new.part", ".other"):
        (place / name).write_bytes(b"half")
    for name in (".sidep-old.part", ".other"):
        os.utime(place / name, (1_000_000_000, 1_000_000_000))
    folder.deliver([order()])
    assert set(contents(place)) == {NAME, ".sidep-new.part", ".other"}


@pytest.mark.parametrize(
    "step", ["write", "fsync", "close", "lstat", "link", "unlink", "fsync folder"]
)
def test_killed_at_any_step_the_next_attempt_leaves_one_whole_file(
    step: str, folder: SiteFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The power went out."""

    call, nth = ("fsync", 2) if step == "fsync folder" else (step, 1)
    real, count = getattr(os, call), itertools.count(1)

    def die(*args: object, **options: object) -> object:
        if next(count) == nth:
            raise Killed
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, die)
        # After a kill nobody tidies either.
        patch.setattr(opened_module.OpenFolder, "remove", lambda *_: None)
        if call == "unlink":
            patch.setattr(opened_module.OpenFolder, "remove", die)
        with pytest.raises(Killed):
            folder.deliver([order("4f2a")])
    found = folder.find(order("4f2a"))
    receipt = the(folder.deliver([order("4f2a")]))
    assert isinstance(receipt, Receipt)
    assert receipt.already_there == (found is not None)
    assert {n: c for n, c in contents(place).items() if not n.startswith(".")} == {NAME: PDF}


# --- what IT should know ----------------------------------------------------------------


def levels(folder: SiteFolder) -> list[tuple[str, str]]:
    return [(finding.level, finding.what) for finding in folder.check()]


def test_a_folder_as_it_should_be_is_one_good_line(host: Host, place: Path) -> None:
    place.chmod(0o2770)
    assert {level for level, what in levels(host.folder) if "MiB" not in what} == set()
    assert ("ok" in {level for level, _ in levels(host.folder)}) is True


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        pytest.param(0o0770, "inherit", id="no setgid"),
        pytest.param(0o2775, "every user", id="open to everybody"),
    ],
)
def test_wrong_rights_are_a_warning(mode: int, says: str, host: Host, place: Path) -> None:
    place.chmod(mode)
    assert [level for level, what in levels(host.folder) if says in what] == ["warning"]


def test_a_symlink_and_a_leftover_in_the_folder_are_warnings(host: Host, place: Path) -> None:
    (place / "link.pdf").symlink_to("x")
    (place / ".sidep-1.part").write_bytes(b"half")
    found = [what for level, what in levels(host.folder) if level == "warning"]
    assert any("symlink" in what for what in found)
    assert any("unfinished" in what for what in found)


def test_a_folder_that_may_not_be_written_is_a_problem(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_a, **_k: False)
    assert "problem" in {level for level, _ in levels(host.folder)}


@pytest.mark.parametrize("swap", ["missing", "symlink"])
def test_a_folder_that_is_not_there_is_a_problem_with_a_hint(
    swap: str, host: Host, place: Path
) -> None:
    place.rmdir()
    if swap == "symlink":
        place.symlink_to(host.share)
    (finding,) = host.folder.check()
    assert finding.level == "problem"
    assert finding.hint
