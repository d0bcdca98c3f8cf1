"""What `doctor` tells when something does not work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from umi_local import paths
from umi_local.cli.main import run
from umi_local.doctor import examination, without_secrets
from umi_local.permissions import remember, take_back
from umi_local.toolbox import Rule, Ruling


def test_it_knows_the_installed_llama_cpp_and_its_devices() -> None:
    found = examination()["llama_cpp"]
    assert found["version"]
    assert any("CPU" in device["name"] for device in found["devices"])
    assert found["gpu"] == any(device["is_gpu"] for device in found["devices"])


def test_each_setting_says_where_it_comes_from() -> None:
    (paths.config_dir() / "config.toml").write_text('max_steps = 5\npack = "smollm2-135m"\n')
    found = examination()
    assert [name for name, pack in found["packs"].items() if pack["default"]] == ["smollm2-135m"]
    values = found["settings"]["values"]
    assert values["max_steps"] == {"value": 5, "from": "config.toml"}
    assert values["threads"]["from"] == "default"


def test_one_broken_part_does_not_hide_the_others(tmp_path: Path) -> None:
    (paths.config_dir() / "config.toml").write_text("max_steps = 'many'\n")
    packs = paths.private_dir(paths.data_dir() / "packs")
    (packs / "broken.toml").write_text("name = ")
    found = examination()
    assert "max_steps" in found["settings"]["problem"]
    assert "TOML" in found["packs"]["broken"]["problem"]
    assert found["packs"]["qwen2.5-coder-0.5b"]["default"]
    assert found["machine"]["cores"]


@pytest.mark.parametrize(
    ("home", "text", "told"),
    [
        ("/home/me", "in /home/me/models and /home/meyer/x", "in ~/models and /home/meyer/x"),
        ("/", "/tmp/home/x", "/tmp/home/x"),
    ],
)
def test_the_home_folder_is_not_named(monkeypatch: pytest.MonkeyPatch, home: str, text: str, told: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert without_secrets(text) == told


def test_a_model_that_is_not_here_says_what_is_left_to_fetch() -> None:
    (state, *_) = examination()["packs"]["smollm2-135m"]["files"].values()
    assert state == "not here, 98 MB to fetch"


def test_what_was_allowed_for_good_is_listed_with_the_command_that_takes_it_back() -> None:
    remember(Rule(Ruling.ALLOW, "write_file", (("path", "a.txt"),)))
    paths.audit_file().write_text("{}\n{}\n")
    found = examination()["safety"]
    (rule,) = found["always_allowed"]
    assert "write_file" in rule
    assert found["decisions_kept"] == 2
    take_back(rule)
    assert examination()["safety"]["always_allowed"] == []
    assert found["taken_back_with"] == "umi-local tools revoke"


def test_tools_that_were_left_out_are_told_without_json_too() -> None:
    from umi_local.cli.doctor import _lines

    told = list(_lines({"tools_left_out": ["The tools of a.py are left out: NameError."], "nothing": []}))
    assert told == ["tools left out", "  The tools of a.py are left out: NameError."]


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_the_command_prints_all_of_it_and_nothing_secret(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMI_LOCAL_API_KEY", "hunter2")
    with pytest.raises(SystemExit) as ended:
        run(["doctor", *flags])
    told = capsys.readouterr().out
    assert not ended.value.code
    assert "hunter2" not in told
    assert str(os.cpu_count()) in told
    if flags:
        assert json.loads(told)["schema_version"] == 1
    else:
        assert "llama cpp" in told
        assert "max_steps" in told
