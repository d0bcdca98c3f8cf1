"""Recorded runs written again: the same work under every setting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from umi_local.assemble import known_tools
from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.spec import Features, ModelSpec
from umi_local.backends.llama_cpp.vocabulary import Vocabulary
from umi_local.bench.measure import NAIVE, SETTINGS, Bench, Limits
from umi_local.bench.replay import Replay, Turn, distinct_tokens, recorded_runs, replay, turns_of
from umi_local.cli.bench import table
from umi_local.markup import markup_for
from umi_local.messages import TEAM, Role, Usage
from umi_local.prompts import ChatRenderer
from umi_local.styles.data import chat_style
from umi_local.toolbox import Tool


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def words(model: Path) -> Vocabulary:
    return Vocabulary(model)


def tools(*names: str) -> list[Tool]:
    return [tool for tool in known_tools() if tool.name in names]


@pytest.fixture(scope="module")
def turns(words: Vocabulary) -> list[Turn]:
    """The runs that two small tools are enough for: the tiny model has a vocabulary of bytes and a short context."""
    style, few = chat_style(), tools("calculator", "add_note")
    runs = recorded_runs([tool.spec for tool in few])
    names = {tool.name for tool in few}
    fitting = [run for run in runs if {call.name for step in run.steps for call in step.calls} <= names]
    assert len(fitting) >= 2
    return list(turns_of(fitting, ChatRenderer(style, markup_for("chatml", words.info, style.speakers, style.cues))))


@pytest.fixture(scope="module")
def replays(model: Path, turns: list[Turn]) -> Iterator[dict[str, Replay]]:
    found = {}
    for name, features in {**SETTINGS, "naive": NAIVE}.items():
        backend = LlamaCppBackend({role: ModelSpec(str(model), threads=1) for role in TEAM}, features=features)
        found[name] = replay(backend, turns)
        backend.close()
    yield found


def test_the_recorded_calls_are_calls_of_the_tools_as_they_are() -> None:
    by_name = {tool.name: tool for tool in known_tools()}
    runs = recorded_runs([tool.spec for tool in known_tools() if tool.enabled])
    assert len(runs) >= 6
    for run in runs:
        for step in run.steps:
            for call in step.calls:
                by_name[call.name].validate(call.arguments)


def test_every_setting_writes_what_was_recorded(replays: dict[str, Replay], turns: list[Turn]) -> None:
    written = {name: done.written for name, done in replays.items()}
    # How a grammar cuts forced text into tokens is its own affair, so only settings without forcing are alike.
    assert written["no forcing"] == written["no forcing, no drafting"] == written["naive"]
    assert sum(len(turn.text) for turn in turns) * 0.8 <= written["naive"]


def test_a_turn_is_the_recorded_text(model: Path, turns: list[Turn]) -> None:
    from umi_local.messages import Sampling

    for features in (Features(), NAIVE):
        backend = LlamaCppBackend({role: ModelSpec(str(model), threads=1) for role in TEAM}, features=features)
        for turn in turns:
            sampling = Sampling(max_tokens=400)
            told = backend.complete(turn.role, turn.prompt, turn.constraint, sampling, recorded=turn.text)
            assert told.text == turn.text
            assert told.finished
        backend.close()


def test_a_shared_cache_reads_nothing_twice(replays: dict[str, Replay], turns: list[Turn], words: Vocabulary) -> None:
    distinct = distinct_tokens(turns, words)
    plain, naive = replays["no forcing, no drafting"], replays["naive"]
    assert plain.total("evaluated") <= distinct + plain.written
    assert naive.total("reused") == 0
    assert naive.total("evaluated") > 2 * plain.total("evaluated")


def test_features_that_are_off_count_nothing(replays: dict[str, Replay]) -> None:
    assert replays["agent"].total("forced") > 0
    assert replays["no forcing"].total("forced") == 0
    assert replays["no drafting"].total("drafted") == 0
    assert replays["agent"].first_word > 0


def test_ratios_are_made_of_what_was_measured() -> None:
    found = Bench(Limits(read=100, write=10, cache_bytes=50, model_bytes=500))
    found.replays["agent"] = Replay([Usage(evaluated=220, sampled=10, forced=10)], 2.0, 0.5)
    found.replays["no forcing, no drafting"] = Replay([Usage(evaluated=220, sampled=20)], 4.0, 0.5)
    found.distinct, found.unconstrained_seconds, found.first_words, found.peak_bytes = 200, 3.2, (4.0, 1.0), 600
    ratios = found.ratios()
    assert ratios == {
        "evaluated_per_distinct": 1.0,
        "agent_per_limit": 1.0,
        "agent_per_limit_fast": 0.5,
        "naive_per_agent": None,
        "second_first_word": 0.25,
        "constraint_cost": 1.25,
    }
    told = json.loads(json.dumps(found.to_json()))
    assert told["memory_bytes"]["beyond_model_and_cache"] == 50
    assert "constraint_cost" in table(found)


def test_the_planner_is_measured_on_its_own_role(turns: list[Turn]) -> None:
    assert {turn.role for turn in turns} == {Role.PLANNER, Role.CALLER, Role.SUMMARIZER}
