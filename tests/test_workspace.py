"""What the agent is told of the workspace without asking."""

from __future__ import annotations

from pathlib import Path

from umi_local.toolbox import Workspace


def test_files_folders_and_the_columns_of_tables_are_named_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "c.txt").write_text("secret text")
    (tmp_path / "a.csv").write_text('day, "km run"\n1,2\n')
    told = Workspace(tmp_path).overview()
    assert told == "Files in the workspace: a.csv (columns day, km run), b/, c.txt."


def test_hidden_files_are_not_told_and_many_are_counted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=1")
    assert Workspace(tmp_path).overview() == "The workspace is empty."
    for i in range(30):
        (tmp_path / f"f{i:02}").touch()
    assert Workspace(tmp_path).overview().endswith("f23, and 6 more.")


def test_a_link_to_a_table_outside_tells_nothing_of_it(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "outside.csv"
    inside.mkdir()
    outside.write_text("pin,card\n1,2\n")
    (inside / "link.csv").symlink_to(outside)
    assert Workspace(inside).overview() == "Files in the workspace: link.csv."


def test_binary_tables_and_line_breaks_in_names_stay_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(bytes(range(256)))
    (tmp_path / "two\nlines").touch()
    assert "\n" not in Workspace(tmp_path).overview()


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert Workspace(tmp_path / "gone").overview() == ""
