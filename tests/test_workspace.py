"""What the agent is told of the workspace without asking."""

from __future__ import annotations

from pathlib import Path

import pytest

from umi_local.assemble import context_for, toolbox_for
from umi_local.toolbox import Approval, Workspace, policy_of
from umi_local.tools import BUILTIN_TOOLS


def test_files_folders_and_the_columns_of_tables_are_named_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "c.txt").write_text("secret text")
    (tmp_path / "a.csv").write_text('day, "km run"\n1,2\n')
    told = Workspace(tmp_path).overview()
    assert told == 'Files in the workspace: a.csv (columns day, "km run"), b/, c.txt.'


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


def test_a_folder_gives_way_to_what_is_in_it_where_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "car" / "old").mkdir(parents=True)
    (tmp_path / "car" / "fuel.csv").write_text("\ufeffDate;Price per litre;Litres\n1;2;3\n")
    (tmp_path / "car" / "old" / "log.txt").touch()
    (tmp_path / "many").mkdir()
    for i in range(23):
        (tmp_path / "many" / f"f{i}").touch()
    told = Workspace(tmp_path).overview()
    assert (
        told
        == 'Files in the workspace: car/fuel.csv (columns Date, "Price per litre", Litres), car/old/log.txt, many/.'
    )


def test_a_header_that_is_cut_names_whole_columns_alone(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(",".join(f"column_{i}" for i in range(200)) + "\n1\n")
    told = Workspace(tmp_path).overview()
    assert told.endswith("column_39, column_40, ...).")


def test_what_a_rule_denies_to_a_reading_tool_is_not_spoken_of(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    for name in ("letters/secret.txt", "letters/open.txt", "plan.csv"):
        (tmp_path / name).touch()
    approval = Approval(policy_of(deny=["read_file(path=letters/secret*)", "query_table(path=*.csv)"]))
    told = context_for(toolbox_for(BUILTIN_TOOLS, tmp_path, approval))
    assert told == "Files in the workspace: letters/open.txt."  # and nothing of `home`, umi-local's own


@pytest.mark.parametrize("deny", [["read_file", "read_file(path=secret*)"], ["read_file(path=secret*)", "read_file"]])
def test_what_a_rule_denies_stays_untold_whatever_else_is_denied(tmp_path: Path, deny: list[str]) -> None:
    (tmp_path / "work").mkdir()
    for name in ("work/open.csv", "work/secret.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    rules = policy_of(deny=[*deny, "query_table(path=secret*)"], ask=["query_table(path=open*)"])
    told = context_for(toolbox_for(BUILTIN_TOOLS, tmp_path / "work", Approval(rules)))
    assert told == "Files in the workspace: open.csv."
    reading = ["list_files", "read_file", "search_files", "query_table"]
    nothing = Approval(policy_of(deny=[*reading, "search_notes"]))
    assert context_for(toolbox_for(BUILTIN_TOOLS, tmp_path / "work", nothing)) == ""


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "a.csv").write_text("a,b\n")
    (tmp_path / "closed").chmod(0o444)
    try:
        assert "closed" in Workspace(tmp_path).overview()
    finally:
        (tmp_path / "closed").chmod(0o755)
