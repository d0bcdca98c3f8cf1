"""Files: what is listed, read, found and written, and that nothing outside the workspace ever is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from umi_local.plain import visible
from umi_local.toolbox import Tool, ToolContext, ToolError, Workspace
from umi_local.tools.files import list_files, read_file, search_files, size, write_file
from umi_local.tools.paths import named_in


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    root = tmp_path / "workspace"
    (root / "letters").mkdir(parents=True)
    (root / "plan.md").write_text("# Plan\nCall the plumber on Friday\nBuy paint and brushes\n", encoding="utf-8")
    (root / "letters" / "Anna.txt").write_text("Dear Anna,\nthe plumber came.\n", encoding="utf-8")
    (root / ".secret").write_text("plumber", encoding="utf-8")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary.txt").write_text("the plumber knows\n", encoding="utf-8")
    return ToolContext(Workspace(root), tmp_path / "notes.md")


def call(tool: Tool, context: ToolContext, **arguments: object) -> str:
    text: str = tool.call(context, tool.validate(arguments))
    return text


def with_links(context: ToolContext) -> Path:
    """The workspace with links that lead out of it: to a file, to a folder, to nothing."""
    root = context.workspace.root
    (root / "link.txt").symlink_to(root.parent / "outside" / "diary.txt")
    (root / "linked").symlink_to(root.parent / "outside")
    (root / "nowhere").symlink_to(root.parent / "outside" / "new.txt")
    return root.parent / "outside"


# --- listing


def test_folders_come_first_and_hidden_files_not_at_all(context: ToolContext) -> None:
    assert call(list_files, context) == "letters/\nplan.md (56 bytes)"


@pytest.mark.parametrize("path", ["", "/", ".", "./"])
def test_the_top_has_several_names(context: ToolContext, path: str) -> None:
    assert call(list_files, context, path=path).startswith("letters/")


def test_a_folder_inside_is_listed_by_its_path(context: ToolContext) -> None:
    assert call(list_files, context, path="letters/../letters") == "Anna.txt (29 bytes)"


def test_an_empty_folder_says_so(context: ToolContext) -> None:
    (context.workspace.root / "empty").mkdir()
    assert call(list_files, context, path="empty") == "The folder is empty."


def test_a_folder_of_which_nothing_may_be_told_is_not_called_empty(context: ToolContext) -> None:
    denied = replace(context, permitted=lambda arguments: not arguments["path"].startswith("letters/"))
    assert call(list_files, denied, path="letters") == "Nothing in the folder may be told."


def test_of_names_that_differ_in_case_alone_none_is_guessed(context: ToolContext) -> None:
    for name in ("Bill.txt", "bill.txt"):
        (context.workspace.root / name).write_text(name, encoding="utf-8")
    if len(list(context.workspace.root.glob("?ill.txt"))) == 2:  # not every file system can
        with pytest.raises(ToolError, match="several files"):
            call(read_file, context, path="BILL.TXT")


def test_a_search_ends_where_nobody_waits_for_it(context: ToolContext) -> None:
    context.stop.set()
    with pytest.raises(ToolError, match="stopped"):
        call(search_files, context, text="plumber")


def test_a_long_list_is_cut_with_a_count_of_the_rest(context: ToolContext) -> None:
    many = context.workspace.root / "many"
    many.mkdir()
    for number in range(123):
        (many / f"{number:03}.txt").touch()
    lines = call(list_files, context, path="many").splitlines()
    assert (len(lines), lines[-1]) == (101, "... and 23 more.")


def test_links_that_lead_outside_are_not_listed(context: ToolContext) -> None:
    with_links(context)
    assert call(list_files, context) == "letters/\nplan.md (56 bytes)"


def test_a_missing_folder_is_said_to_be_missing(context: ToolContext) -> None:
    with pytest.raises(ToolError, match="There is no folder photos"):
        call(list_files, context, path="photos")


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 kB"), (1250, "1.2 kB"), (3_400_000, "3.4 MB")],
)
def test_sizes_are_short(count: int, told: str) -> None:
    assert size(count) == told


# --- reading


def test_a_text_is_read_whole(context: ToolContext) -> None:
    assert call(read_file, context, path=" letters/Anna.txt ") == "Dear Anna,\nthe plumber came.\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_windows_lines_are_understood(context: ToolContext, encoding: str) -> None:
    (context.workspace.root / "w.txt").write_bytes("één\r\ntwee".encode(encoding))
    assert call(read_file, context, path="w.txt") == "één\ntwee"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"\x7fELF\x02\x01", b"\xff\xfe\x00"])
def test_what_is_no_text_is_refused_and_not_searched(context: ToolContext, data: bytes) -> None:
    (context.workspace.root / "x.bin").write_bytes(data)
    with pytest.raises(ToolError, match=r"x\.bin is not a text file"):
        call(read_file, context, path="x.bin")
    assert "in 2 files; 1 could not be read" in call(search_files, context, text="zebra")


def test_text_of_old_windows_programs_is_read_and_searched(context: ToolContext) -> None:
    (context.workspace.root / "brief.txt").write_bytes("Die Kündigung – bis Mai.".encode("cp1252"))
    assert call(read_file, context, path="brief.txt") == "Die Kündigung – bis Mai."
    assert call(search_files, context, text="Kündigung") == "brief.txt:1: Die Kündigung – bis Mai."


@pytest.mark.parametrize(
    "path", ["PLAN.MD", '"plan.md"', "/plan.md", "./plan.md", "workspace/plan.md", "plan", "letters\\..\\plan.md"]
)
def test_the_one_file_that_can_be_meant_is_read(context: ToolContext, path: str) -> None:
    assert call(read_file, context, path=path).startswith("# Plan")


def test_a_file_is_found_in_another_folder_if_there_is_one_alone(context: ToolContext) -> None:
    assert "plumber" in call(read_file, context, path="anna.txt")
    (context.workspace.root / "old").mkdir()
    (context.workspace.root / "old" / "Anna.txt").write_text("another one")
    with pytest.raises(ToolError, match=r"several files of that name: letters/Anna\.txt, old/Anna\.txt\. Name one"):
        call(read_file, context, path="anna")


def test_no_file_that_a_rule_denies_is_found_or_offered(context: ToolContext) -> None:
    held = replace(context, permitted=lambda scope: not str(scope["path"]).startswith("letters"))
    with pytest.raises(ToolError) as raised:
        call(read_file, held, path="anna")
    assert str(raised.value) == "The file anna does not exist. The folder has: plan.md."


def test_an_empty_file_says_so(context: ToolContext) -> None:
    (context.workspace.root / "e.txt").touch()
    assert call(read_file, context, path="e.txt") == "e.txt is empty."


def test_a_long_file_is_cut_between_characters_and_says_so(context: ToolContext) -> None:
    (context.workspace.root / "long.txt").write_text("a" + "é" * 200_000, encoding="utf-8")
    text = call(read_file, context, path="long.txt")
    assert text.startswith("aéé")
    assert "�" not in text
    assert text.endswith("[These are the first 200 kB of 400 kB; search_files finds the rest.]")


def test_a_missing_file_is_answered_with_those_that_exist(context: ToolContext) -> None:
    with pytest.raises(ToolError, match=r"The file Plan\.txt does not exist\. Did you mean plan\.md\?"):
        call(read_file, context, path="Plan.txt")
    with pytest.raises(ToolError, match=r"The file ghost\.md does not exist\. The folder has: letters, plan\.md"):
        call(read_file, context, path="ghost.md")


def test_a_pipe_is_no_file(context: ToolContext) -> None:
    os.mkfifo(context.workspace.root / "pipe")
    with pytest.raises(ToolError):
        call(read_file, context, path="pipe")


# --- searching


def test_lines_are_found_in_any_case_with_file_and_number(context: ToolContext) -> None:
    assert call(search_files, context, text="The  PLUMBER").splitlines() == [
        "plan.md:2: Call the plumber on Friday",
        "letters/Anna.txt:2: the plumber came.",
    ]


def test_a_file_is_found_by_its_name_too(context: ToolContext) -> None:
    assert call(search_files, context, text="anna").splitlines() == [
        "letters/Anna.txt (a file of this name; read_file shows its text)",
        "letters/Anna.txt:1: Dear Anna,",
    ]


def test_lines_with_all_the_words_are_found_where_none_has_the_phrase(context: ToolContext) -> None:
    assert call(search_files, context, text="brushes paint") == (
        "These lines have all words of 'brushes paint':\nplan.md:3: Buy paint and brushes"
    )


def test_words_on_different_lines_of_a_file_are_found_where_no_line_has_them_all(context: ToolContext) -> None:
    (context.workspace.root / "pond.md").write_text("# The pond\nDig it.\nThe liner takes 12 square metres.\n")
    assert call(search_files, context, text="pond liner") == (
        "These lines are from files that have all words of 'pond liner':\n"
        "pond.md:1: # The pond\npond.md:3: The liner takes 12 square metres."
    )
    assert call(search_files, context, text="pond hose") == "Nothing was found for 'pond hose' in 3 files."


@pytest.mark.parametrize(
    "text", ["gate code", '"gate code"', "gate codes", "Gate code:", "What is the gate code?", "don't forget"]
)
def test_questions_quotes_and_plurals_find_what_is_meant(context: ToolContext, text: str) -> None:
    (context.workspace.root / "house.md").write_text("Don’t forget: the gate code is 4711.\n", encoding="utf-8")
    assert "house.md:1: Don’t forget: the gate code is 4711." in call(search_files, context, text=text)


def test_of_words_on_different_lines_the_telling_ones_come_first_and_a_few(context: ToolContext) -> None:
    chapters = "".join(f"Chapter {i} of the book\n" for i in range(40))
    (context.workspace.root / "book.md").write_text(f"{chapters}liner price 12\n the garden\n")
    told = call(search_files, context, text="price of the garden liner").splitlines()
    assert told[1:] == ["book.md:41: liner price 12", "book.md:42: the garden"]
    (context.workspace.root / "long.log").write_text("error\n" * 900 + "timeout\n")
    assert len(call(search_files, context, text="error timeout").splitlines()) == 6


def test_nothing_found_is_said_with_the_number_of_files(context: ToolContext) -> None:
    assert call(search_files, context, text="zebra") == "Nothing was found for 'zebra' in 2 files."


def test_a_search_may_be_held_to_a_folder_or_a_file(context: ToolContext) -> None:
    assert call(search_files, context, text="plumber", path="letters") == "letters/Anna.txt:2: the plumber came."
    assert call(search_files, context, text="plumber", path="plan.md") == "plan.md:2: Call the plumber on Friday"


def test_hidden_binary_and_linked_files_are_not_searched(context: ToolContext) -> None:
    with_links(context)
    (context.workspace.root / "b.bin").write_bytes(b"\0plumber")
    (context.workspace.root / ".git").mkdir()
    (context.workspace.root / ".git" / "x").write_text("plumber", encoding="utf-8")
    assert len(call(search_files, context, text="plumber").splitlines()) == 2


def test_a_file_that_is_too_large_to_search_is_told(context: ToolContext) -> None:
    (context.workspace.root / "log.txt").write_text("x\n" * 2_600_000 + "needle", encoding="utf-8")
    told = call(search_files, context, text="needle")
    assert told.endswith("; 1 could not be read, is off limits or larger than 5 MB.")


def test_many_and_long_lines_are_cut(context: ToolContext) -> None:
    (context.workspace.root / "log.txt").write_text(("x" * 500 + "needle" + "y" * 500 + "\n") * 99, encoding="utf-8")
    lines = call(search_files, context, text="needle").splitlines()
    assert len(lines) == 31
    assert all("needle" in line and len(line) < 250 for line in lines[:-1])
    assert lines[-1].startswith("... and more lines")


@pytest.mark.parametrize(("text", "path"), [("  ", ""), ("plumber", "photos")])
def test_a_search_for_nothing_or_nowhere_is_refused(context: ToolContext, text: str, path: str) -> None:
    with pytest.raises(ToolError):
        call(search_files, context, text=text, path=path)


# --- writing


def test_a_new_file_is_made_with_its_folders(context: ToolContext) -> None:
    assert call(write_file, context, path="a/b/c.txt", content="hä\n") == "Created a/b/c.txt (4 bytes)."
    assert (context.workspace.root / "a/b/c.txt").read_bytes() == "hä\n".encode()
    assert [entry.name for entry in (context.workspace.root / "a/b").iterdir()] == ["c.txt"]


def test_a_replaced_file_keeps_its_permissions(context: ToolContext) -> None:
    file = context.workspace.root / "plan.md"
    file.chmod(0o640)
    assert call(write_file, context, path="plan.md", content="new") == "Replaced plan.md (3 bytes)."
    assert file.read_text(encoding="utf-8") == "new"
    assert file.stat().st_mode & 0o777 == 0o640


def test_writing_asks_first(context: ToolContext) -> None:
    assert write_file.asks


def test_the_preview_of_a_change_is_a_unified_diff(context: ToolContext) -> None:
    assert write_file.preview
    shown = write_file.preview(context, {"path": "plan.md", "content": "# Plan\nCall the plumber on Friday\nRest"})
    assert shown.splitlines() == [
        "--- plan.md",
        "+++ plan.md",
        "@@ -1,3 +1,3 @@",
        " # Plan",
        " Call the plumber on Friday",
        "-Buy paint and brushes",
        "+Rest",
        "\\ No newline at end of file",
    ]


def test_the_preview_of_a_new_file_is_all_of_it(context: ToolContext) -> None:
    assert write_file.preview
    assert write_file.preview(context, {"path": "n.txt", "content": "a\nb"}) == "new file n.txt\na\nb"


def test_the_preview_shows_line_endings_that_change(context: ToolContext) -> None:
    (context.workspace.root / "w.txt").write_bytes(b"a\r\n")
    assert write_file.preview
    assert "-a\\r\n+a\n" in write_file.preview(context, {"path": "w.txt", "content": "a\n"})


def test_nothing_can_hide_in_a_preview() -> None:
    assert visible("a\x1b[2K\r\u202eb\u200b\tc\n") == "a\\x1b[2K\\r\\u202eb\\u200b\tc\n"


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("letters", "is a folder"),
        ("", "is a folder"),
        ("new/", "is a folder"),
        ("plan.md/x.txt", "plan.md is a file"),
        ("x" * 300, "not a usable path"),
        ("a\0b", "not a usable path"),
    ],
)
def test_what_cannot_be_a_file_is_refused(context: ToolContext, path: str, part: str) -> None:
    with pytest.raises(ToolError, match=part):
        call(write_file, context, path=path, content="x")


@pytest.mark.parametrize(("content", "part"), [("x" * 1_000_001, "too long"), ("\ud800", "UTF-8")])
def test_content_that_is_too_long_or_no_text_is_refused(context: ToolContext, content: str, part: str) -> None:
    with pytest.raises(ToolError, match=part):
        call(write_file, context, path="x.txt", content=content)
    assert not (context.workspace.root / "x.txt").exists()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("workspace/new.md", "new.md"),
        ("workspace/Anna's.md", "Anna's.md"),
        ("'new.md'", "new.md"),
        ("/new.md", "new.md"),
        ("letters\\new.md", "letters/new.md"),
        ("/letters/new.md", "letters/new.md"),
        ("./plan.md", "plan.md"),
        ("deep/er/new.md", "deep/er/new.md"),
    ],
)
def test_a_path_means_the_same_to_writing_as_to_reading(context: ToolContext, path: str, name: str) -> None:
    call(write_file, context, path=path, content="x")
    assert (context.workspace.root / name).read_text(encoding="utf-8") == "x"
    assert call(read_file, context, path=path) == "x"


def test_a_link_to_a_file_inside_is_written_through(context: ToolContext) -> None:
    (context.workspace.root / "same.md").symlink_to("plan.md")
    call(write_file, context, path="same.md", content="new")
    assert (context.workspace.root / "same.md").is_symlink()
    assert (context.workspace.root / "plan.md").read_text(encoding="utf-8") == "new"


# --- escapes

ESCAPES = [
    "../outside/diary.txt",
    "letters/../../outside/diary.txt",
    "/etc/hostname",
    "link.txt",
    "linked/diary.txt",
    "linked/../../outside/diary.txt",
    "letters/../link.txt",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_reads_outside_the_workspace(context: ToolContext, path: str) -> None:
    with_links(context)
    with pytest.raises(ToolError, match=r"lies outside the workspace|does not exist|There is no"):
        call(read_file, context, path=path)


@pytest.mark.parametrize("path", ["..", "/etc", "linked", "letters/../../outside", "link.txt"])
def test_no_path_lists_or_searches_outside_the_workspace(context: ToolContext, path: str) -> None:
    with_links(context)
    with pytest.raises(ToolError, match=r"lies outside the workspace|does not exist|There is no"):
        call(list_files, context, path=path)
    with pytest.raises(ToolError, match=r"lies outside the workspace|does not exist|There is no"):
        call(search_files, context, text="plumber", path=path)


@pytest.mark.parametrize("path", [*ESCAPES, "nowhere", "linked/new.txt", "linked/deep/new.txt", "../new.txt"])
def test_no_path_writes_or_previews_outside_the_workspace(context: ToolContext, path: str) -> None:
    outside = with_links(context)
    assert write_file.preview
    with pytest.raises(ToolError, match="lies outside the workspace"):
        call(write_file, context, path=path, content="x")
    with pytest.raises(ToolError, match="lies outside the workspace"):
        write_file.preview(context, {"path": path, "content": "x"})
    assert [entry.name for entry in outside.iterdir()] == ["diary.txt"]
    assert (outside / "diary.txt").read_text(encoding="utf-8") == "the plumber knows\n"
    assert sorted(entry.name for entry in outside.parent.iterdir() if entry.is_dir()) == ["outside", "workspace"]


def test_an_absolute_path_into_the_workspace_is_welcome(context: ToolContext) -> None:
    assert call(read_file, context, path=str(context.workspace.root / "plan.md")).startswith("# Plan")


@pytest.mark.parametrize(
    ("plan", "paths"),
    [
        ("Use read_file to read letters/Anna.txt.", ["letters/Anna.txt"]),
        ("Read plan.md and letters/Anna.txt", ["plan.md", "letters/Anna.txt"]),
        ("Read plan.md, then ghost.md", None),
        ("Read the old plan.md", None),
        ("Read ../outside/diary.txt", None),
        ("Read letters", None),
        ("Read `plan.md`.", ["plan.md"]),
        ("Read README and plan.md", None),
        ("Compare plan.md with plan (1).md", None),
        ("Read letters\\Anna.txt", None),
        ("Read r&plan.md", None),
        ("Read my shopping plan.md", None),
        ("Ask Anna, since plan.md has nothing", None),
        ("Read it, as 3.5 says", None),
    ],
)
def test_a_file_that_a_plan_names_is_the_one_that_is_read(
    context: ToolContext, plan: str, paths: list[str] | None
) -> None:
    for other in ("old plan.md", "README", "plan (1).md", "my shopping plan.md", "r&plan.md"):
        (context.workspace.root / other).write_text("another\n", encoding="utf-8")
    schema = read_file.narrow and read_file.narrow(context, plan, "")
    assert (schema and schema["properties"]) == (paths and {"path": {"enum": paths}})


def test_a_file_off_limits_is_not_looked_for_either(context: ToolContext) -> None:
    closed = replace(context, permitted=lambda arguments: arguments["path"] != "letters/Anna.txt")
    assert read_file.narrow
    assert read_file.narrow(closed, "Read letters/Anna.txt", "") is None
    assert read_file.narrow(closed, "Read plan.md", "") is not None


def test_a_long_plan_without_blanks_is_looked_through_at_once(context: ToolContext) -> None:
    assert named_in(context.workspace, "a1" * 500_000) == {}  # a search that is quadratic would take hours
