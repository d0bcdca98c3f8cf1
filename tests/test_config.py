"""`umi-local config`, and what `doctor` says of safety."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from umi_local.doctor import examination, without_secrets
from umi_local.mcp import ServerFile
from umi_local.paths import config_dir, servers_file
from umi_local.settings import Settings


def umi_local(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "umi_local", *words], capture_output=True, text=True, check=False
    )


def test_a_new_file_says_all_that_can_be_set_and_changes_nothing() -> None:
    made = Path(umi_local("config", "init").stdout.strip())
    assert str(made) == umi_local("config", "path").stdout.strip()
    assert tomllib.loads(made.read_text(encoding="utf-8")) == {}
    switched_on = "\n".join(line.removeprefix("# ") for line in made.read_text(encoding="utf-8").splitlines()[1:])
    told = tomllib.loads(switched_on)
    assert set(told) == set(Settings.model_fields)
    Settings.model_validate(told)
    assert umi_local("config", "init").returncode == 2


def test_each_value_is_shown_with_where_it_comes_from() -> None:
    (config_dir() / "config.toml").write_text("max_steps = 3", encoding="utf-8")
    told = json.loads(umi_local("config", "show", "--json").stdout)
    assert told["max_steps"] == {"value": 3, "from": "config.toml"}
    assert told["seed"] == {"value": 0, "from": "default"}


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("config.toml", "max_step = 3", "max_step"),
        ("config.toml", "[permissions]\nallow = ['write file']", "no rule"),
        ("config.toml", "[permissions]\nallow = ['wriite_file']", "Did you mean write_file?"),
        ("config.toml", "pack = 'nosuch'", "no pack 'nosuch'"),
        ("config.toml", "[chat]\ntheme = 'blue'", "no theme 'blue'"),
        ("config.toml", "[chat]\nthem = 'dark'", "theme, reduced_motion, keys"),
        ("config.toml", "[chat.keys]\nnonsense = 'f3'", "no action 'nonsense'"),
        ("mcp.json", '{"mcpServers": {"a": {}}}', "a command or a url"),
        ("always.txt", "(((", "no rule"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(file: str, text: str, problem: str) -> None:
    assert umi_local("config", "validate").returncode == 0
    (config_dir() / file).write_text(text, encoding="utf-8")
    done = umi_local("config", "validate")
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_tells_of_sandbox_and_servers_and_nothing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "very-secret-value")
    ServerFile(servers_file()).add(
        "hub",
        {"command": "x", "args": ["--from", "https://example.org/?code=abcdef123"], "env": {"T": "${env:HUB_TOKEN}"}},
    )
    found = examination()
    assert found["safety"]["sandbox"] in ("bubblewrap", "namespaces", "seatbelt", "none")
    assert found["mcp_servers"]["hub"]["variables"] == ["T"]
    assert "cannot be used" in found["mcp_servers"]["hub"]["state"]
    assert "abcdef123" not in json.dumps(found)
    assert "very-secret-value" not in json.dumps(found)


@pytest.mark.parametrize(
    "text",
    [
        *("--api-key=hunter22", "https://me:hunter22@example.org", "Authorization: Bearer hunter22", "sk-hunter22"),
        *("--pat hunter22", "--password=abc,hunter22", "--secret=p@hunter22", "ghp_hunter22", "xoxb-hunter22"),
        *("AKIAhunter22", "Basic hunter22==", "https://hunter22@example.org/mcp", "https://x.org/?code=hunter22"),
        *('{"token": "hunter22"}', "aB3hunter22aB3aB3aB3aB3aB3aB3aB3aB3aB3"),
    ],
)
def test_what_looks_like_a_key_is_blotted_out(text: str) -> None:
    assert "hunter22" not in without_secrets(text)


def test_shells_complete_names_and_never_fail() -> None:
    from umi_local.cli import completing

    assert completing.packs("smol") == ["smollm2-135m"]
    assert completing.tools("calc") == ["calculator"]
    assert completing.sessions("") == []
    servers_file().write_text("{", encoding="utf-8")
    assert completing.servers("") == []
