"""What holds the parts apart: which packages there are, who may import whom, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]

# A module imports from its own line and from those above it.
RANKS = [
    "errors atomic messages trajectory events protocols wire records",
    "markup prompts parse constraints observations stats styles settings paths manifest plain",
    "agent roles",
    "toolbox",
    "convert",
    "backends",
    "tools models packs pull mcp own_packs",
    "database sessions",
    "training",
    "evaluation",
    "permissions setups extensions",
    "assemble doctor",
    "conversation chat_commands serve",
    "bench",
    "cli tui",
    "__main__",
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names.split()}
APART = {("cli", "tui"), ("tui", "cli")}


def module_files() -> dict[str, Path]:
    """Every source file by its module's full name."""
    found: dict[str, Path] = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = path
    return found


MODULES = module_files()


def imported(name: str) -> Iterator[str]:
    """The modules that module `name` imports at any depth, those for type checking only left out."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    is_package = MODULES[name].name == "__init__.py"
    for node in at_run_time(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from at_run_time(child)


def part(module: str) -> str:
    """The second word of a module of ours: `cli` of `umi_local.cli.main`; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def test_the_packages_listed_by_hand_are_those_on_the_disk() -> None:
    on_disk = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == on_disk


def test_every_folder_with_source_is_a_package() -> None:
    bare = {path.parent for path in MODULES.values() if not (path.parent / "__init__.py").is_file()}
    assert not bare


def test_every_part_has_a_rank() -> None:
    parts = {part(name) for name in MODULES} - {""}
    assert parts <= set(RANK), "say in RANKS what the new part may import"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str) -> None:
    own = part(name)
    for other in {part(target) for target in imported(name) if target.startswith("umi_local.")}:
        assert RANK[other] <= RANK.get(own, -1), f"{name} may not import umi_local.{other}"
        assert (own, other) not in APART, "the front ends do not know each other"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_llama_cpp_is_imported_by_the_backends_alone(name: str) -> None:
    if part(name) != "backends":
        assert not [target for target in imported(name) if target.partition(".")[0] == "llama_cpp"]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_file_can_be_read_in_one_go(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    "code",
    [
        "import umi_local",
        "from umi_local.cli.main import run; run(['--help'])",
        "from umi_local.cli.main import run; run(['ask', '--help'])",
    ],
)
def test_what_must_be_quick_loads_nothing_heavy(code: str) -> None:
    heavy = ("llama_cpp", "llguidance", "textual", "torch", "rich", "numpy", "httpx", "duckdb", "sqlite3")
    report = f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    checked = f"import atexit, sys; atexit.register(lambda: {report}); {code}"
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
