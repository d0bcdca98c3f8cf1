"""How many threads are fastest is measured once and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.backends.llama_cpp.tuning import Threads, fastest, tuned
from umi_local.messages import Prompt, Role, Sampling, Segment


class Machine:
    """Speeds by thread count, and what was tried."""

    def __init__(self, read: dict[int, float], write: dict[int, float]) -> None:
        self.read, self.write = read, write
        self.tried: list[int] = []

    def trial(self, count: int) -> tuple[float, float]:
        self.tried.append(count)
        return self.read[count], self.write[count]


def test_reading_and_writing_each_get_what_is_fastest_for_them() -> None:
    machine = Machine({1: 10, 2: 20, 4: 35, 6: 40}, {1: 5, 2: 8, 4: 7, 6: 6})
    assert fastest(6, machine.trial) == Threads(write=2, read=6)


def test_beside_a_busy_process_one_thread_may_be_best_and_no_more_are_tried() -> None:
    machine = Machine({1: 60, 2: 6, 4: 3}, {1: 12, 2: 1.4, 4: 1})
    assert fastest(4, machine.trial) == Threads(1, 1)
    assert machine.tried == [1, 2]


def test_what_was_measured_is_kept_for_the_same_machine_and_model(tmp_path: Path) -> None:
    file, machine = tmp_path / "threads.json", Machine({1: 10, 2: 20}, {1: 5, 2: 9})
    assert tuned(file, {"model": "a"}, 2, machine.trial) == Threads(2, 2)
    assert tuned(file, {"model": "a"}, 2, machine.trial) == Threads(2, 2)
    assert machine.tried == [1, 2]
    tuned(file, {"model": "b"}, 2, machine.trial)
    tuned(file, {"model": "a"}, 1, machine.trial)
    assert machine.tried == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 3}', "\x00"])
def test_a_damaged_file_is_measured_anew_and_replaced(tmp_path: Path, content: str) -> None:
    file, machine = tmp_path / "threads.json", Machine({1: 10}, {1: 5})
    file.write_text(content)
    assert tuned(file, {}, 1, machine.trial) == Threads(1, 1)
    kept = [entry for entry in json.loads(file.read_text()).values() if isinstance(entry, dict)]
    assert kept == [{"write": 1, "read": 1}]


def test_numbers_that_this_machine_cannot_have_are_not_believed(tmp_path: Path) -> None:
    file, machine = tmp_path / "threads.json", Machine({1: 10}, {1: 5})
    tuned(file, {}, 1, machine.trial)
    file.write_text(file.read_text().replace('"write": 1', '"write": 64'))
    assert tuned(file, {}, 1, machine.trial) == Threads(1, 1)
    assert machine.tried == [1, 1]


def test_a_folder_that_cannot_be_written_only_costs_the_next_measurement(tmp_path: Path) -> None:
    assert tuned(tmp_path / "none" / "threads.json", {}, 1, Machine({1: 10}, {1: 5}).trial) == Threads(1, 1)


def test_the_models_process_measures_before_its_first_turn(tmp_path: Path) -> None:
    model, file = write_tiny_model(tmp_path / "tiny.gguf"), tmp_path / "threads.json"
    prompt = Prompt((Segment("One two three. " * 9, False),), (Segment("<|im_start|>", True),))

    def answer(tuning: Path | None, threads: int = 0) -> str:
        backend = LlamaCppBackend({Role.PLANNER: ModelSpec(str(model), threads=threads)}, tuning=tuning)
        try:
            return backend.complete(Role.PLANNER, prompt, None, Sampling(max_tokens=8)).text
        finally:
            backend.close()

    assert answer(file, threads=1) == answer(None)
    assert not file.exists()
    assert answer(file) == answer(None)
    (kept,) = json.loads(file.read_text()).values()
    assert kept["write"] >= 1
