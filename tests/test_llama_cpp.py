"""The llama.cpp backend with real models."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.constraints import constraint_for
from umi_local.errors import ConfigError, ContextFull, ModelCorrupt, ModelFailed, ModelMissing, OutOfMemory
from umi_local.messages import TEAM, Constraint, Prompt, Role, Sampling, Segment, ToolSpec
from umi_local.parse import json_calls
from umi_local.styles.data import chat_style
from umi_local.trajectory import Trajectory

pytestmark = pytest.mark.real

PLAN = Role.PLANNER


def chat(*turns: str) -> Prompt:
    trunk: list[Segment] = []
    for text in turns:
        trunk += [Segment("<|im_start|>user\n", True), Segment(text, False), Segment("<|im_end|>\n", True)]
    return Prompt(tuple(trunk), (Segment("<|im_start|>assistant\n", True),))


def pick(*words: str) -> Constraint:
    return Constraint("start: " + " | ".join(f'"{word}"' for word in words) + "\n")


@pytest.fixture(scope="module")
def backend(small_model: Path) -> Iterator[LlamaCppBackend]:
    made = LlamaCppBackend({role: ModelSpec(str(small_model)) for role in Role})
    yield made
    made.close()


def test_the_same_question_has_the_same_answer_whatever_came_between(backend):
    first = backend.complete(PLAN, chat("Name a fruit."), None, Sampling(max_tokens=12))
    backend.complete(Role.CALLER, chat("Count to ten.", "And on."), None, Sampling(max_tokens=12))
    again = backend.complete(PLAN, chat("Name a fruit."), None, Sampling(max_tokens=12))
    assert again.text == first.text
    assert first.text


def test_a_trunk_that_grows_is_read_only_where_it_is_new(backend):
    backend.complete(PLAN, chat("one " * 200), pick("yes"), Sampling())
    usage = backend.complete(Role.CALLER, chat("one " * 200, "two"), pick("yes"), Sampling()).usage
    assert usage.reused >= 200
    assert usage.evaluated < 30


def test_what_is_written_streams_and_adds_up(backend):
    pieces: list[str] = []
    written = backend.complete(PLAN, chat("Tell me about the sea."), None, Sampling(max_tokens=20), pieces.append)
    assert "".join(pieces) == written.text
    assert len(pieces) > 5
    assert not written.finished


def test_forced_tokens_are_not_sampled(backend):
    usage = backend.complete(PLAN, chat("hi"), pick("the one and only thing that may be said"), Sampling()).usage
    assert usage.forced > 5
    assert usage.sampled <= 2


def test_a_seed_repeats_a_sampled_text_and_another_seed_varies_it(backend):
    def text(seed: int) -> str:
        return backend.complete(PLAN, chat("Invent a name."), None, Sampling(1.5, seed=seed, max_tokens=12)).text

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


def test_a_constraint_that_does_not_compile_stops_the_turn(backend):
    with pytest.raises(ConfigError, match="does not compile"):
        backend.complete(PLAN, chat("hi"), Constraint("start: /(/\n"), Sampling())


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_read(backend):
    with pytest.raises(ContextFull, match=r"needs \d+ tokens and the context has \d+"):
        backend.complete(PLAN, chat("word " * 10_000), None, Sampling())
    assert backend.complete(PLAN, chat("hi"), pick("yes"), Sampling()).text == "yes"


def test_a_context_that_the_tools_alone_fill_is_told_as_such(backend):
    prompt = replace(chat("word " * 10_000), constant=2)  # the opening and the text
    with pytest.raises(ContextFull, match=r"tools and worked examples alone need \d+ tokens.*--tools"):
        backend.complete(PLAN, prompt, None, Sampling())


def test_a_listener_that_fails_is_not_taken_for_the_models_end(backend):
    def closed(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        backend.complete(PLAN, chat("hi"), pick("yes"), Sampling(), closed)
    assert backend.complete(PLAN, chat("hi"), pick("yes"), Sampling()).text == "yes"


def test_cancelling_stops_a_turn_at_once_and_keeps_what_was_written(backend):
    started = threading.Event()
    timer = threading.Thread(target=lambda: (started.wait(30), backend.cancel()))
    timer.start()
    before = time.monotonic()
    written = backend.complete(
        PLAN, chat("Write a very long story."), None, Sampling(max_tokens=1500), lambda _: started.set()
    )
    timer.join()
    assert not written.finished
    assert written.text
    assert time.monotonic() - before < 20
    assert backend.complete(PLAN, chat("hi"), pick("yes"), Sampling()).text == "yes"


def test_a_child_that_dies_is_a_sentence_and_the_next_question_gets_a_new_one(backend):
    backend.complete(PLAN, chat("hi"), pick("yes"), Sampling())
    child = backend._child
    assert child is not None

    def shoot(_: str) -> None:
        os.kill(child.pid, signal.SIGSEGV)

    with pytest.raises(ModelFailed, match="Ask again"):
        backend.complete(PLAN, chat("Write a very long story."), None, Sampling(max_tokens=500), shoot)
    assert backend.complete(PLAN, chat("hi"), pick("yes"), Sampling()).text == "yes"


def test_a_child_that_is_killed_points_to_memory(backend):
    backend.complete(PLAN, chat("hi"), pick("yes"), Sampling())
    child = backend._child
    assert child is not None
    with pytest.raises(OutOfMemory, match="memory"):
        backend.complete(PLAN, chat("Go on."), None, Sampling(max_tokens=500), lambda _: child.kill())


def test_one_file_may_play_all_roles_or_each_role_have_its_own(small_model, default_model):
    specs = {role: ModelSpec(str(small_model)) for role in TEAM} | {Role.CALLER: ModelSpec(str(default_model))}
    backend = LlamaCppBackend(specs)
    try:
        names = {backend.describe(role).name for role in TEAM}
        assert len(names) == 2
        for role in (*TEAM, *TEAM):
            assert backend.complete(role, chat("hi"), pick("yes", "no"), Sampling()).text in ("yes", "no")
    finally:
        backend.close()


@pytest.mark.parametrize("size", [0, 4, 1000, 1_000_000])
def test_a_truncated_file_is_refused_with_a_sentence(small_model, tmp_path, size):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(small_model.read_bytes()[:size])
    with pytest.raises(ModelCorrupt, match=r"broken\.gguf"):
        LlamaCppBackend({PLAN: ModelSpec(str(broken))}).describe(PLAN)


def test_random_bytes_are_refused_with_a_sentence(tmp_path):
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(os.urandom(100_000))
    with pytest.raises(ModelCorrupt, match="GGUF"):
        LlamaCppBackend({PLAN: ModelSpec(str(noise))}).describe(PLAN)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelMissing, match=r"nowhere\.gguf"):
        LlamaCppBackend({PLAN: ModelSpec(str(tmp_path / "nowhere.gguf"))}).describe(PLAN)


def test_a_model_larger_than_the_memory_is_refused_before_it_is_loaded(small_model, tmp_path):
    huge = tmp_path / "huge.gguf"
    huge.write_bytes(small_model.read_bytes())
    os.truncate(huge, 1 << 42)  # sparse
    with pytest.raises(OutOfMemory, match="GiB"):
        LlamaCppBackend({PLAN: ModelSpec(str(huge))}, frozenset([str(huge)])).describe(PLAN)


def test_an_adapter_that_is_none_is_refused(small_model):
    backend = LlamaCppBackend({PLAN: ModelSpec(str(small_model), adapter=str(small_model))})
    with pytest.raises(ModelCorrupt, match="not an adapter"):
        backend.complete(PLAN, chat("hi"), None, Sampling())
    backend.close()


@pytest.mark.parametrize("fixture", ["small_model", "default_model"])
def test_no_text_from_outside_becomes_a_control_token(fixture, request):
    """Every special token of the vocabulary, spelt out in a query, stays text."""
    import llama_cpp

    from umi_local.backends.llama_cpp.weights import Weights

    weights = Weights(str(request.getfixturevalue(fixture)), 0)
    special = {}
    for token in range(weights.vocab_size):
        attributes = llama_cpp.llama_vocab_get_attr(weights.vocab, token)
        if attributes & (llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED):
            text = llama_cpp.llama_vocab_get_text(weights.vocab, token).decode()
            if text.strip():
                special[token] = text
    assert len(special) > 2
    for token, text in special.items():
        for said in (text, f"a{text}b", f"\n{text}\n"):
            assert token not in weights.tokenize([Segment(said, False)]), text
        assert token in weights.tokenize([Segment(text, True)]), text


def test_a_turn_after_other_turns_has_the_logits_of_a_fresh_context(small_model):
    from umi_local.backends.llama_cpp.context import CancelFlag, Context
    from umi_local.backends.llama_cpp.weights import Weights

    weights = Weights(str(small_model), 0)
    trunk = weights.tokenize([Segment("The harbour lies to the north of the town. " * 8, False)])
    suffix = weights.tokenize([Segment("The town", False)])

    def logits(context: Context) -> np.ndarray:
        context.advance_trunk(trunk)
        context.fork(None)
        found = context.read(suffix)[0].copy()
        context.drop_fork()
        return found

    used = Context(weights, 1024, 0, CancelFlag())
    first = logits(used)
    used.fork(None)
    used.read(weights.tokenize([Segment("Something else entirely was said here.", False)]))
    used.drop_fork()
    assert np.abs(logits(used) - first).max() < 1e-4
    assert np.abs(logits(Context(weights, 1024, 0, CancelFlag())) - first).max() < 1e-4


SCHEMAS = [
    {"type": "object", "properties": {"größe": {"type": "integer"}, "名前": {"type": "string"}}, "required": ["名前"]},
    {
        "type": "object",
        "properties": {
            "where": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "zone": {"enum": ["north", "south"]}},
                "required": ["city"],
            },
            "days": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["where", "days"],
    },
    {"type": "object", "properties": {}, "required": []},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_constrained_call_fits_its_schema(backend, schema):
    from jsonschema import validate

    tools = (ToolSpec("look_up", "Looks something up.", schema),)
    constraint = constraint_for(Role.CALLER, chat_style().language, Trajectory("", tools), (), 2)
    for seed in range(3):
        written = backend.complete(
            Role.CALLER, chat("Find Überlingen, 日本 and day 3."), constraint, Sampling(1.2, seed=seed, max_tokens=400)
        )
        if written.finished:
            for call in json_calls(written.text):
                validate(json.loads(json.dumps(call.arguments)), {**schema, "additionalProperties": False})
