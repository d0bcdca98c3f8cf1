"""Users' own tools: files, packages, templates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from umi_local.extensions import ENTRY_POINTS, Extensions, own_folder

TOOL = '''
from typing import Annotated
from umi_local.toolbox import tool

@tool()
def {name}(text: Annotated[str, "what"]) -> str:
    """Say it louder."""
    return text.upper()
'''


def put(name: str, text: str) -> Path:
    own_folder().mkdir(parents=True, exist_ok=True)
    path = own_folder() / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_typed_functions_is_enough() -> None:
    put("mine.py", TOOL.format(name="louder"))
    (tool,) = Extensions([]).tools
    assert tool.spec.description == "Say it louder."
    assert tool.function("a") == "A"


def test_a_broken_file_and_a_taken_name_are_left_out_alone_with_a_reason() -> None:
    put("a_broken.py", "raise RuntimeError('no')")
    put("b_syntax.py", "def (")
    put("c_taken.py", TOOL.format(name="calculator"))
    put("d_fine.py", TOOL.format(name="louder"))
    put("e_async.py", TOOL.format(name="later").replace("def later", "async def later"))
    put("_helper.py", "raise RuntimeError('not read')")
    found = Extensions(["calculator"])
    assert [tool.name for tool in found.tools] == ["louder"]
    assert len(found.problems) == 4
    assert "there is another of this name" in found.problems[2]
    assert "later is async" in found.problems[3]


def test_packages_offer_tools_by_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(TOOL.format(name="louder"), encoding="utf-8")
    metadata = tmp_path / "shouting-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nlouder = shouting:louder\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [tool.name for tool in Extensions([]).tools] == ["louder"]


def test_the_template_passes_its_own_test_and_can_be_run() -> None:
    def umi_local(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-P", "-m", "umi_local", "tools", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    made = umi_local("new", "count_words")
    test = made.stdout.splitlines()[1]
    checked = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in checked.stdout, checked.stdout
    assert umi_local("run", "count_words", '{"text": "one two"}').stdout == "2 words\n"
    assert umi_local("new", "count_words").returncode == 2
    assert umi_local("new", "Not A Name").returncode == 2
