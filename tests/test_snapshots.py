"""What one process has read of a prompt, the next need not read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.snapshots import Snapshots, key_of
from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.messages import Completion, Prompt, Role, Sampling, Segment

KEY = key_of({"model": "m"}, [1, 2, 3])


@pytest.fixture
def kept(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots", 100_000_000)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def only_file(kept: Snapshots) -> Path:
    (path,) = kept.folder.iterdir()
    return path


def test_what_is_kept_comes_back_byte_for_byte(kept: Snapshots) -> None:
    state = os.urandom(10_000)
    kept.save(KEY, state)
    assert kept.load(KEY) == state
    assert kept.load(key_of({"model": "other"}, [1, 2, 3])) is None


def test_a_key_depends_on_everything_that_was_told() -> None:
    keys = {
        key_of({"model": model, "build": build}, tokens) for model in "ab" for build in "12" for tokens in ([1], [2])
    }
    assert len(keys) == 8


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "empty", "other header", "no header"])
def test_a_damaged_snapshot_is_removed_and_counts_as_not_there(kept: Snapshots, damage: str) -> None:
    kept.save(KEY, b"x" * 5000)
    path = only_file(kept)
    whole = path.read_bytes()
    flipped = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
    path.write_bytes(
        {
            "cut": whole[:-7],
            "flipped": flipped,
            "longer": whole + b"x",
            "empty": b"",
            "other header": whole.replace(KEY.encode(), KEY[::-1].encode(), 1),
            "no header": os.urandom(9000),
        }[damage]
    )
    assert kept.load(KEY) is None
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symlinks")
def test_a_link_to_somebody_elses_file_is_not_followed(kept: Snapshots, tmp_path: Path) -> None:
    kept.save(KEY, b"x" * 500)
    path = only_file(kept)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert kept.load(KEY) is None
    assert elsewhere.exists()


@pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root may give a file away")
def test_another_users_snapshot_is_not_believed(kept: Snapshots) -> None:
    kept.save(KEY, b"x" * 500)
    os.chown(only_file(kept), 12345, 12345)
    assert kept.load(KEY) is None


def test_the_folder_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, 3500)
    keys = [key_of({}, [number]) for number in range(4)]
    for age, key in enumerate(keys[:3]):
        kept.save(key, b"x" * 900)
        os.utime(tmp_path / f"{key}.state", (1000 + age, 1000 + age))
    assert kept.load(keys[0]) is not None  # used just now
    kept.save(keys[3], b"x" * 900)
    assert [kept.load(key) is not None for key in keys] == [True, False, True, True]
    kept.save(KEY, b"x" * 4000)
    assert kept.load(KEY) is None


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = Snapshots(tmp_path / "file", 1_000_000)
    kept.save(KEY, b"x")
    assert kept.load(KEY) is None


def prompt(said: str) -> Prompt:
    rules = "Answer shortly and kindly, and say so if you do not know. " * 5
    trunk = [Segment("<|im_start|>system\n", True), Segment(rules, False), Segment("<|im_end|>\n", True)]
    asked = [Segment("<|im_start|>user\n", True), Segment(said, False), Segment("<|im_end|>\n", True)]
    return Prompt((*trunk, *asked), (Segment("<|im_start|>assistant\n", True),), len(trunk))


def answer(model: Path, kept: Snapshots | None, said: str, context: int = 0) -> Completion:
    """What a process of its own writes."""
    backend = LlamaCppBackend({Role.PLANNER: ModelSpec(str(model), context_tokens=context)}, snapshots=kept)
    try:
        return backend.complete(Role.PLANNER, prompt(said), None, Sampling(max_tokens=16))
    finally:
        backend.close()


def test_a_second_process_reads_only_what_is_new_and_writes_the_same(model: Path, kept: Snapshots) -> None:
    plain = answer(model, None, "Name a fruit.")
    first = answer(model, kept, "Name a fruit.")
    second = answer(model, kept, "Name a fruit.")
    other = answer(model, kept, "And what is the tallest mountain?")
    assert plain.text == first.text == second.text
    assert (plain.usage.reused, first.usage.reused) == (0, 0)
    assert second.usage.reused > 200
    assert other.usage.reused == second.usage.reused
    assert second.usage.reused + second.usage.evaluated == first.usage.evaluated
    assert len(list(kept.folder.iterdir())) == 1


def test_a_snapshot_of_another_context_size_is_not_used(model: Path, kept: Snapshots) -> None:
    answer(model, kept, "Name a fruit.", 2048)
    assert answer(model, kept, "Name a fruit.", 1024).usage.reused == 0  # some models scale positions by the size
    assert answer(model, kept, "Name a fruit.", 2048).usage.reused > 200


def test_a_snapshot_that_was_damaged_is_replaced(model: Path, kept: Snapshots) -> None:
    first = answer(model, kept, "Name a fruit.")
    path = only_file(kept)
    path.write_bytes(path.read_bytes()[:-4096])
    second = answer(model, kept, "Name a fruit.")
    assert second.text == first.text
    assert second.usage.reused == 0
    assert answer(model, kept, "Name a fruit.").usage.reused > 0


def test_a_beginning_is_kept_anew_where_the_trunk_held_another(model: Path, kept: Snapshots) -> None:
    backend = LlamaCppBackend({Role.PLANNER: ModelSpec(str(model))}, snapshots=kept)
    other = Prompt((Segment("<|im_start|>system\nBe brief.<|im_end|>\n", True),), prompt("").suffix, 1)
    try:
        first = backend.complete(Role.PLANNER, prompt("Name a fruit."), None, Sampling(max_tokens=8))
        backend.complete(Role.PLANNER, other, None, Sampling(max_tokens=8))
        again = backend.complete(Role.PLANNER, prompt("Name a fruit."), None, Sampling(max_tokens=8))
    finally:
        backend.close()
    assert again.text == first.text
    assert again.usage.reused > 200
