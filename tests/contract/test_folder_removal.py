"""Removing delivered documents from a site's folder: ours, unchanged, and nothing else."""

from __future__ import annotations

import errno
import os
import traceback
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from dispatcher.core.delivery import Order, Receipt
from dispatcher.edges.folder import reference_of
from dispatcher.errors import DispatcherError, Refused, Unavailable
from dispatcher.ports import Copy, Removal
from tests.contract.test_folder import NAME, OTHER, PDF, SECRET, Faults, Host, contents, order

PART = ".sidep-4f2a.part"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


def deliver(host: Host, one: Order | None = None) -> Copy:
    one = one or order()
    (receipt,) = host.folder.deliver([one])
    assert isinstance(receipt, Receipt)
    return Copy(one.id, receipt.reference, one.document.sha256)


def words(error: DispatcherError) -> str:
    """Return all that could be told of an error, as a log would."""
    return "".join([error.hint, *traceback.format_exception(error)])


# --- whose it is -------------------------------------------------------------------------


def test_the_document_goes_and_everything_else_stays(host: Host) -> None:
    copy = deliver(host)
    others = {"lettre.pdf": PDF, "x.txt": b"x", NAME + ".bak": PDF, "." + NAME: PDF}
    for name, content in others.items():
        (host.place / name).write_bytes(content)
    (host.place / "classeur").mkdir()
    assert host.folder.remove(copy) is Removal.REMOVED
    assert contents(host.place) == others
    assert (host.place / "classeur").is_dir()


def test_a_document_that_staff_renamed_is_theirs(host: Host) -> None:
    copy = deliver(host)
    (host.place / NAME).rename(host.place / "DUPONT appelé.pdf")
    assert host.folder.remove(copy) is Removal.GONE
    assert contents(host.place) == {"DUPONT appelé.pdf": PDF}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(OTHER, id="other content"),
        pytest.param(PDF[:-1] + b"!", id="the last byte differs"),
        pytest.param(PDF + b"\n", id="one byte more"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_document_that_was_edited_is_left_alone(host: Host, content: bytes) -> None:
    copy = deliver(host)
    (host.place / NAME).write_bytes(content)
    assert host.folder.remove(copy) is Removal.CHANGED
    assert contents(host.place) == {NAME: content}


def test_a_huge_file_in_its_place_is_not_even_read(host: Host, faults: Faults) -> None:
    copy = deliver(host)
    with (host.place / NAME).open("r+b") as file:
        file.truncate(1 << 40)
    faults.fail("open", errno.EIO, nth=2)  # the first is the folder's
    assert host.folder.remove(copy) is Removal.CHANGED


def swap_for_symlink(path: Path) -> None:
    kept = path.with_name("kept elsewhere")
    path.rename(kept)
    path.symlink_to(kept)


def swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swap_for_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "swap",
    [
        pytest.param(swap_for_symlink, id="a symlink to the same content"),
        pytest.param(swap_for_folder, id="a folder"),
        pytest.param(swap_for_pipe, id="a pipe, which is never opened"),
    ],
)
def test_what_is_no_file_in_its_place_is_left_alone(
    host: Host, swap: Callable[[Path], None]
) -> None:
    copy = deliver(host)
    swap(host.place / NAME)
    before = os.lstat(host.place / NAME)
    assert host.folder.remove(copy) is Removal.CHANGED
    assert os.lstat(host.place / NAME).st_ino == before.st_ino


def test_a_hard_link_that_somebody_made_is_theirs(host: Host) -> None:
    copy = deliver(host)
    os.link(host.place / NAME, host.share / "sauvegarde.pdf")
    assert host.folder.remove(copy) is Removal.REMOVED
    assert contents(host.place) == {}
    assert (host.share / "sauvegarde.pdf").read_bytes() == PDF


@pytest.mark.parametrize("linked", [True, False], ids=["the same file", "a file half written"])
def test_what_a_killed_attempt_left_goes_with_the_document(host: Host, *, linked: bool) -> None:
    copy = deliver(host)
    if linked:
        os.link(host.place / NAME, host.place / PART)
    else:
        (host.place / PART).write_bytes(PDF[:5])
    assert host.folder.remove(copy) is Removal.REMOVED
    assert contents(host.place) == {}


def test_a_share_that_lists_names_decomposed_still_has_our_document(host: Host) -> None:
    copy = deliver(host)
    decomposed = unicodedata.normalize("NFD", NAME)
    (host.place / NAME).rename(host.place / decomposed)
    assert host.folder.remove(copy) is Removal.REMOVED
    assert contents(host.place) == {}


def test_where_both_forms_of_a_name_exist_only_ours_goes(host: Host) -> None:
    decomposed = unicodedata.normalize("NFD", NAME)
    (host.place / decomposed).write_bytes(PDF)
    name = next(iter(contents(host.place)))
    (host.place / NAME).write_bytes(PDF)
    copy = Copy("4f2a", reference_of(SECRET, NAME), sha256(PDF).hexdigest())
    assert host.folder.remove(copy) is Removal.REMOVED
    assert contents(host.place) == {name: PDF}


def test_an_empty_reference_or_a_guessed_one_removes_nothing(host: Host) -> None:
    copy = deliver(host)
    for reference in ("", "0" * 32, NAME):
        assert host.folder.remove(Copy("4f2a", reference, copy.sha256)) is Removal.GONE
    assert contents(host.place) == {NAME: PDF}


# --- races -------------------------------------------------------------------------------


def between(
    monkeypatch: pytest.MonkeyPatch, call: str, act: Callable[[], object], *, at: int = 1
) -> None:
    """Act just before the nth call of an os function on a document's name."""
    real = getattr(os, call)
    left = [at]

    def first_act(path: object, *args: object, **options: object) -> object:
        if path == NAME:
            left[0] -= 1
            if not left[0]:
                act()
        return real(path, *args, **options)

    monkeypatch.setattr(os, call, first_act)


def replaced(path: Path, content: bytes = OTHER) -> Callable[[], None]:
    def act() -> None:
        fresh = path.with_name("fresh")
        fresh.write_bytes(content)
        fresh.replace(path)

    return act


@pytest.mark.parametrize("at", [1, 2], ids=["before it is looked at", "before the last look"])
@pytest.mark.parametrize("content", [OTHER, PDF], ids=["other content", "the same content"])
def test_a_file_that_took_its_place_meanwhile_is_not_removed_unread(
    host: Host, monkeypatch: pytest.MonkeyPatch, at: int, content: bytes
) -> None:
    copy = deliver(host)
    between(monkeypatch, "stat", replaced(host.place / NAME, content), at=at)
    if at == 1:
        expected = Removal.CHANGED if content == OTHER else Removal.REMOVED
        assert host.folder.remove(copy) is expected
    else:
        with pytest.raises(Unavailable):
            host.folder.remove(copy)
        assert contents(host.place) == {NAME: content}


def test_a_file_written_to_while_it_is_looked_at_is_not_removed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = deliver(host)
    between(monkeypatch, "stat", lambda: (host.place / NAME).write_bytes(OTHER), at=2)
    with pytest.raises(Unavailable):
        host.folder.remove(copy)
    assert contents(host.place) == {NAME: OTHER}
    assert host.folder.remove(copy) is Removal.CHANGED


@pytest.mark.parametrize(
    ("call", "at"), [("stat", 1), ("open", 1), ("stat", 2)], ids=["look", "open", "last look"]
)
def test_a_file_that_is_taken_meanwhile_is_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    copy = deliver(host)
    between(monkeypatch, call, (host.place / NAME).unlink, at=at)
    assert host.folder.remove(copy) is Removal.GONE


def test_a_symlink_planted_meanwhile_is_not_followed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = deliver(host)
    between(monkeypatch, "open", lambda: swap_for_symlink(host.place / NAME))
    with pytest.raises(Unavailable):
        host.folder.remove(copy)
    assert (host.place / "kept elsewhere").read_bytes() == PDF
    monkeypatch.undo()
    assert host.folder.remove(copy) is Removal.CHANGED


# --- the folder itself -------------------------------------------------------------------


def test_an_unmounted_share_is_asked_later_and_never_empty(host: Host) -> None:
    host.mounted("/", host.share)
    copy = deliver(host)
    (host.place / NAME).unlink()  # what lies below the mount point has no document
    host.mounted("/")
    with pytest.raises(Unavailable, match="no longer on the share"):
        host.folder.remove(copy)
    host.mounted("/", host.share)
    assert host.folder.remove(copy) is Removal.GONE


def test_a_share_of_fstab_that_is_not_mounted_is_asked_later(host: Host) -> None:
    copy = deliver(host)
    host.listed(host.share)
    with pytest.raises(Unavailable, match="not mounted"):
        host.folder.remove(copy)
    assert contents(host.place) == {NAME: PDF}


def test_a_missing_folder_is_asked_later(host: Host) -> None:
    copy = deliver(host)
    host.place.rename(host.share / "elsewhere")
    with pytest.raises(Unavailable, match="missing"):
        host.folder.remove(copy)


def test_a_symlink_in_the_folder_s_place_is_refused(host: Host) -> None:
    copy = deliver(host)
    host.place.rename(host.share / "elsewhere")
    host.place.symlink_to(host.share / "elsewhere")
    with pytest.raises(Refused):
        host.folder.remove(copy)
    assert contents(host.share / "elsewhere") == {NAME: PDF}


def unmounted_meanwhile(host: Host) -> None:
    host.mounted("/")


def swapped_meanwhile(host: Host) -> None:
    host.place.rename(host.share / "elsewhere")
    host.place.mkdir()


@pytest.mark.parametrize("happen", [unmounted_meanwhile, swapped_meanwhile])
@pytest.mark.parametrize("there", [True, False], ids=["with the document", "without it"])
def test_a_folder_that_is_no_longer_the_one_meant_is_asked_later(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    happen: Callable[[Host], None],
    *,
    there: bool,
) -> None:
    host.mounted("/", host.share)
    copy = deliver(host)
    if not there:
        (host.place / NAME).unlink()
    real = os.listdir

    def listed(folder: int) -> list[str]:
        names = real(folder)
        happen(host)
        return names

    monkeypatch.setattr(os, "listdir", listed)
    with pytest.raises(Unavailable):
        host.folder.remove(copy)
    left = list(host.share.rglob("*.pdf"))
    assert len(left) == there


# --- faults ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        pytest.param("unlink", errno.EROFS, "read-only", id="a read-only mount"),
        pytest.param("unlink", errno.EACCES, "write, list and enter", id="no right to remove"),
        pytest.param("unlink", errno.EPERM, "write, list and enter", id="a sticky folder"),
        pytest.param("unlink", errno.EBUSY, "open", id="open on a Windows machine"),
        pytest.param("unlink", errno.EIO, "share", id="a disk that fails"),
        pytest.param("read", errno.EIO, "share", id="a file that cannot be read"),
        pytest.param("listdir", errno.EIO, "share", id="a folder that cannot be listed"),
    ],
)
def test_a_fault_leaves_the_document_and_is_asked_later(
    host: Host, faults: Faults, call: str, *, code: int, says: str
) -> None:
    copy = deliver(host)
    faults.fail(call, code)
    with pytest.raises(Unavailable) as trouble:
        host.folder.remove(copy)
    assert says in trouble.value.hint
    assert errno.errorcode[code] in str(trouble.value)
    assert "DUPONT" not in words(trouble.value)
    assert contents(host.place) == {NAME: PDF}
    assert host.folder.remove(copy) is Removal.REMOVED


def test_a_removal_that_is_not_durable_is_asked_again(host: Host, faults: Faults) -> None:
    copy = deliver(host)
    faults.fail("fsync", errno.EIO)
    with pytest.raises(Unavailable):
        host.folder.remove(copy)
    assert host.folder.remove(copy) is Removal.GONE


@pytest.mark.parametrize("there", [True, False], ids=["removed", "gone"])
def test_what_is_told_is_durable(host: Host, faults: Faults, *, there: bool) -> None:
    copy = deliver(host)
    if not there:
        (host.place / NAME).unlink()
    faults.fail("fsync", errno.EIO, for_ever=True)
    with pytest.raises(Unavailable):
        host.folder.remove(copy)
    assert faults.calls == ["fsync"]


def test_a_stale_handle_is_opened_again_by_its_path_once(host: Host, faults: Faults) -> None:
    copy = deliver(host)
    faults.fail("listdir", errno.ESTALE)
    assert host.folder.remove(copy) is Removal.REMOVED


def test_a_handle_that_stays_stale_is_asked_later(host: Host, faults: Faults) -> None:
    copy = deliver(host)
    faults.fail("unlink", errno.ESTALE, for_ever=True)
    with pytest.raises(Unavailable):
        host.folder.remove(copy)
    assert len(faults.calls) == 2
    assert contents(host.place) == {NAME: PDF}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and remove everything")
@pytest.mark.parametrize("mode", [0o500, 0o000], ids=["not to be written", "not to be entered"])
def test_rights_taken_away_are_asked_later(host: Host, mode: int) -> None:
    copy = deliver(host)
    host.place.chmod(mode)
    try:
        with pytest.raises(Unavailable):
            host.folder.remove(copy)
    finally:
        host.place.chmod(0o770)
    assert contents(host.place) == {NAME: PDF}


# --- leftovers ---------------------------------------------------------------------------

NOON = datetime(2021, 3, 1, 12, 0, tzinfo=UTC)


def left(host: Host, name: str, at: float) -> Path:
    path = host.place / name
    path.write_bytes(b"half")
    os.utime(path, (at, at))
    return path


def test_old_temporary_files_of_ours_are_swept_and_nothing_else(host: Host) -> None:
    noon = NOON.timestamp()
    left(host, ".sidep-old.part", noon - 1)
    kept = [
        left(host, ".sidep-new.part", noon),
        left(host, ".sidep-old.part.pdf", noon - 9),
        left(host, "sidep-old.part", noon - 9),
        left(host, ".sidep-.part", noon - 9),
        left(host, NAME, noon - 9),
    ]
    (host.place / ".sidep-folder.part").mkdir()
    (host.place / ".sidep-link.part").symlink_to(kept[0])
    os.utime(host.place / ".sidep-link.part", (noon - 9, noon - 9), follow_symlinks=False)
    assert host.folder.sweep(NOON) == 1
    assert sorted(os.listdir(host.place)) == sorted(
        [*(path.name for path in kept), ".sidep-folder.part", ".sidep-link.part"]
    )
    assert host.folder.sweep(NOON) == 0


def test_nothing_is_swept_below_a_share_that_is_not_mounted(host: Host) -> None:
    host.mounted("/", host.share)
    deliver(host)
    old = left(host, ".sidep-old.part", NOON.timestamp() - 1)
    host.mounted("/")
    with pytest.raises(Unavailable):
        host.folder.sweep(NOON)
    assert old.exists()
