"""Files that are written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from umi_local import atomic


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_goes_wrong_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="halfway"), atomic.replacing(path) as draft:
        draft.write_text("ne", encoding="utf-8")
        raise ValueError("halfway")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_may_have_all_the_letters_that_a_file_system_allows(tmp_path: Path) -> None:
    for name in ("n" * 255, "ü" * 127):
        atomic.write(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("held", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_permissions(tmp_path: Path, held: int) -> None:
    path = tmp_path / "mine.txt"
    atomic.write(path, b"old", mode=held)
    assert mode_of(path) == held
    atomic.write(path, b"new")
    assert (mode_of(path), path.read_bytes()) == (held, b"new")


def test_a_new_file_gets_the_permissions_that_any_other_gets(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("x", encoding="utf-8")
    atomic.write(tmp_path / "new.txt", b"x")
    assert mode_of(tmp_path / "new.txt") == mode_of(tmp_path / "other.txt")


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "far.txt").write_text("far", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to("far.txt")
    atomic.write(tmp_path / "link.txt", b"new")
    assert (tmp_path / "far.txt").read_text(encoding="utf-8") == "far"
    assert (tmp_path / "link.txt").read_bytes() == b"new"
    assert not (tmp_path / "link.txt").is_symlink()


def test_permissions_that_cannot_be_kept_are_no_reason_to_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.txt"
    atomic.write(path, b"old")

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refused)
    atomic.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_what_has_no_name_is_an_error_of_the_system() -> None:
    for place in (".", "/"):
        with pytest.raises(IsADirectoryError):
            atomic.write(Path(place), b"")


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.write(tmp_path / "no" / "file.txt", b"")
