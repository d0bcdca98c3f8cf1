"""Training on a two-layer random model: samples, the packed pass, stages that survive a kill, adapters in llama.cpp."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("peft", reason="the extra [train] is not installed")

from peft import PeftModel  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

from umi_local.assemble import sample_writer  # noqa: E402
from umi_local.backends.llama_cpp.context import CancelFlag, Context  # noqa: E402
from umi_local.backends.llama_cpp.vocabulary import Vocabulary  # noqa: E402
from umi_local.backends.llama_cpp.weights import Weights  # noqa: E402
from umi_local.errors import ConfigError, ModelCorrupt, StorageError, UsageError  # noqa: E402
from umi_local.messages import TEAM, Role  # noqa: E402
from umi_local.records import parse_record  # noqa: E402
from umi_local.training import backbone, checkpoint, dataset, forward, plot, runs  # noqa: E402
from umi_local.training.average import average  # noqa: E402
from umi_local.training.export import export  # noqa: E402
from umi_local.training.packing import Row, rows  # noqa: E402
from umi_local.training.recipe import Adapter  # noqa: E402
from umi_local.training.samples import Sample  # noqa: E402
from umi_local.training.stage import _split  # noqa: E402

RECIPE = """
pack = "smollm2-135m"
longest = 2000
row_tokens = 600
held_out = 0.2
[adapter]
rank = 4
[stages.global]
learning_rate = 1e-2
batch = 4
[stages.role]
learning_rate = 1e-2
batch = 4
[parts.everyday]
count = 1
"""
TOOLS = [
    {
        "name": name,
        "description": f"Find a {name}",
        "parameters": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "day": {"type": "string"}},
            "required": ["to"],
        },
    }
    for name in ("train", "bus")
]


def record(number: int = 0, **changes: Any) -> Any:
    data = {
        "id": f"r{number}",
        "source": "here",
        "tools": TOOLS,
        "history": [],
        "query": f"A train to York, {number}",
        "steps": [
            {
                "thought": f"Use train to go to York {number}.",
                "tool": "train",
                "arguments": {"day": "Monday", "to": f"York {number}"},
                "observation": f"9:0{number}",
            }
        ],
        "answer": f"At 9:0{number}.",
        "meta": {"final_thought": "The result is there."},
        **changes,
    }
    return parse_record(json.dumps(data))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def vocabulary(tiny: Path) -> Vocabulary:
    return Vocabulary(tiny)


def samples_of(vocabulary: Vocabulary, *records: Any) -> list[Sample]:
    writer = sample_writer("smollm2-135m", vocabulary, 2000)
    return [sample for each in records for sample in writer.samples(each)]


def begun(folder: Path, vocabulary: Vocabulary, count: int = 12, text: str = RECIPE) -> runs.Run:
    recipe = folder / "r.toml"
    recipe.write_text(text)
    run = runs.begin(folder / "run", str(recipe))
    writer = sample_writer("smollm2-135m", vocabulary, 2000)
    dataset.write((("here", record(i)) for i in range(count)), writer, run.folder, [])
    return run


def test_only_what_a_role_writes_carries_loss(vocabulary: Vocabulary) -> None:
    team, single = samples_of(vocabulary, record(3))
    targets = {}
    for turn in team.turns:
        targets.setdefault(turn.role, []).append(vocabulary.text(turn.tokens[turn.given :]))
        before = vocabulary.text((*team.trunk[: turn.at], *turn.tokens[: turn.given]))
        speaker = "conclusion" if turn.role is Role.SUMMARIZER else turn.role.value
        assert before.endswith(f"<|im_end|>\n<|im_start|>{speaker}\n")
    assert targets == {
        Role.PLANNER: [
            "Use train to go to York 3. Next: caller.<|im_end|>",
            "The result is there. Next: conclusion.<|im_end|>",
        ],
        # Arguments stand in the order of the schema, in which a constrained caller writes them.
        Role.CALLER: ['{"name": "train", "arguments": {"to": "York 3", "day": "Monday"}}<|im_end|>'],
        Role.SUMMARIZER: ["At 9:03.<|im_end|>"],
    }
    whole = [vocabulary.text(turn.tokens[turn.given :]) for turn in single.turns]
    assert whole[0].startswith('Use train to go to York 3. Next: caller.\n{"name"')
    assert whole[1] == "The result is there. Next: conclusion.\nAt 9:03.<|im_end|>"


def test_a_sample_is_what_inference_reads_token_for_token(tiny: Path, vocabulary: Vocabulary) -> None:
    from umi_local.markup import markup_for
    from umi_local.prompts import ChatRenderer
    from umi_local.styles.data import chat_style, worked_examples

    made = record(1)
    run = replace(made.trajectory, steps=made.trajectory.steps[:1], answer="", stop=None)
    style = chat_style()
    markup = markup_for("chatml", vocabulary.info, style.speakers, style.cues)
    renderer = ChatRenderer(style, markup, worked_examples())
    weights = Weights(str(tiny), 0)
    prompt = renderer.render(run, Role.PLANNER)
    team = samples_of(vocabulary, made)[0]
    turn = [turn for turn in team.turns if turn.role is Role.PLANNER][1]
    given = [*team.trunk[: turn.at], *turn.tokens[: turn.given]]
    # The order of the arguments is the one thing that a constrained model writes and a record need not have.
    ordered = prompt.text.replace('{"day": "Monday", "to": "York 1"}', '{"to": "York 1", "day": "Monday"}')
    assert vocabulary.text(given) == ordered
    assert given[-turn.given :] == weights.tokenize(prompt.suffix)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": [{"tool": "plane", "arguments": {}}]}, "not listed"),
        ({"steps": [{"tool": "train", "arguments": {"too": 1}}]}, "does not fit its schema"),
        ({"steps": [{"tool": "train", "arguments": {"day": "Monday"}}]}, "missing"),
        ({"query": "x" * 9000}, "more tokens than the recipe"),
        ({"meta": {"final_thought": "Found."}}, "no form that a planner may write"),
    ],
)
def test_what_makes_no_sample_is_counted_with_its_reason(
    vocabulary: Vocabulary, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        samples_of(vocabulary, record(**changes))
    writer = sample_writer("smollm2-135m", vocabulary, 2000)
    tally = dataset.write([("here", record(**changes)), ("here", record(1))], writer, tmp_path, [])
    assert sum(tally.left_out.values()) == 1
    assert len(list(dataset.read(tmp_path))) == 2


def test_samples_are_read_as_they_were_written(vocabulary: Vocabulary, tmp_path: Path) -> None:
    other = record(7, tools=TOOLS[:1])
    written = samples_of(vocabulary, record(1), other, record(2))
    writer = sample_writer("smollm2-135m", vocabulary, 2000)
    dataset.write([("here", each) for each in (record(1), other, record(2))], writer, tmp_path, [])
    assert list(dataset.read(tmp_path)) == written
    assert len({sample.trunk[: sample.head] for sample in written}) > 1


@pytest.mark.parametrize("damaged", [lambda raw: raw[:-40], lambda raw: raw[:10] + b"\xff" * 40 + raw[50:]])
def test_damaged_samples_are_refused(vocabulary: Vocabulary, tmp_path: Path, damaged: Callable[[bytes], bytes]) -> None:
    run = begun(tmp_path, vocabulary)
    path = run.folder / dataset.SAMPLES
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(UsageError, match="damaged"):
        list(dataset.read(run.folder))


@pytest.mark.parametrize("error", [UsageError("No such file."), KeyboardInterrupt()])
def test_samples_stay_where_making_them_anew_breaks_off(
    vocabulary: Vocabulary, tmp_path: Path, error: BaseException
) -> None:
    def records() -> Iterator[tuple[str, Any]]:
        yield "here", record(1)
        raise error

    run = begun(tmp_path, vocabulary)
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(type(error)):
        dataset.write(records(), sample_writer("smollm2-135m", vocabulary, 2000), run.folder, [])
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def adapted(tiny: Path, names: dict[str, list[int]], scale: float = 0.0, **options: Any) -> Any:
    model = backbone.with_adapters(backbone.load(tiny, **options), Adapter(rank=4), names, seed=1)
    if scale:
        chance = torch.Generator().manual_seed(2)
        for name in names:
            for key, tensor in backbone.state_of(model, name).items():
                if "lora_B" in key:
                    noise = torch.randn(tensor.shape, generator=chance) * scale
                    backbone.set_state(model, name, {**backbone.state_of(model, name), key: noise})
    return model


def plain_loss(model: Any, row: Row, role: Role) -> float:
    """The same turns one by one, each with its own trunk in front of it, where PEFT tells the adapter where to act."""
    total = 0.0
    for turn in row.of(role):
        ids = torch.tensor([[*row.head, *row.trunks[turn.run][: turn.at], *turn.tokens]])
        with torch.no_grad():
            logits = model(input_ids=ids, alora_offsets=[len(turn.tokens)]).logits[0]
        count = len(turn.tokens) - turn.given
        loss = torch.nn.functional.cross_entropy(logits[-count - 1 : -1], ids[0, -count:], reduction="sum")
        total += float(loss)
    return total


def test_runs_packed_in_a_row_do_not_see_each_other(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    made = [sample.only(TEAM) for sample in samples_of(vocabulary, *map(record, range(5)))]
    (row,) = rows([sample for sample in made if sample], 100_000, "a seed")
    assert len(row.ids) == 5
    assert len(row.head) > 100
    model = adapted(tiny, {role.value: [1, 5] for role in TEAM}, scale=0.2, dtype=torch.float32)
    heads = forward.Heads()
    for role in TEAM:
        model.set_adapter(role.value)
        trunk = forward.trunk_of(model, row, heads)
        loss, count = forward.loss_of(model, row, role, trunk)
        assert count == row.targets(role)
        checkpoint.save_adapter(tmp_path / role, model, role.value)
        saved = PeftModel.from_pretrained(backbone.load(tiny, dtype=torch.float32), tmp_path / role)
        assert saved.peft_config["default"].alora_invocation_tokens == [1, 5]
        assert loss.item() == pytest.approx(plain_loss(saved, row, role), rel=1e-4)


def test_runs_with_tools_of_their_own_share_a_row_too(tiny: Path, vocabulary: Vocabulary) -> None:
    records = [record(i, tools=[*TOOLS, {**TOOLS[0], "name": f"tram{i}"}]) for i in range(3)]
    made = [sample.only([Role.PLANNER]) for sample in samples_of(vocabulary, *records)]
    kept = [sample for sample in made if sample]
    assert len({sample.trunk[: sample.head] for sample in kept}) == 3
    (row,) = rows(kept, 100_000, "a seed")
    assert (len(row.ids), len(row.head)) == (3, 0)
    model = adapted(tiny, {"planner": [1, 5]}, scale=0.2, dtype=torch.float32)
    loss, _ = forward.loss_of(model, row, Role.PLANNER, forward.trunk_of(model, row, forward.Heads()))
    each = [forward_alone(model, sample) for sample in kept]
    assert loss.item() == pytest.approx(sum(each), rel=1e-4)


def forward_alone(model: Any, sample: Sample) -> float:
    (row,) = rows([sample], 100_000, "a seed")
    loss, _ = forward.loss_of(model, row, Role.PLANNER, forward.trunk_of(model, row, forward.Heads()))
    return float(loss)


def test_a_stage_may_end_by_the_clock_with_all_it_has_learnt(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    run = begun(tmp_path, vocabulary, 30)
    outcome = train(run, tiny, runs.plan(run, runs.GLOBAL, (), within=1e-4))
    metrics = checkpoint.metrics_of(run.stage(runs.GLOBAL))
    assert outcome.finished
    assert 1 <= outcome.steps < metrics[-1]["steps"]
    assert run.adapter("single").is_dir()
    assert "single" in metrics[-1]["held_out"]
    # What is done is done: the command trains no further, even without its clock.
    assert train(run, tiny, runs.plan(run, runs.GLOBAL, ())).steps == outcome.steps


def train(run: runs.Run, tiny: Path, plan: Any, steps: int = 1000) -> Any:
    """Train until so many steps are told, then run out of time."""
    told: list[object] = []
    return runs.train(run, plan, backbone.load(tiny), lambda: len(told) >= steps, told.append)


def test_a_stage_learns_and_one_broken_off_ends_where_a_whole_one_does(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    ends = []
    for name, pauses in (("whole", []), ("broken", [1, 1])):
        (tmp_path / name).mkdir()
        run = begun(tmp_path / name, vocabulary)
        for steps in pauses:
            outcome = train(run, tiny, runs.plan(run, runs.GLOBAL, ()), steps)
            assert not outcome.finished
        assert train(run, tiny, runs.plan(run, runs.GLOBAL, ())).finished
        metrics = checkpoint.metrics_of(run.stage(runs.GLOBAL))
        assert [entry["step"] for entry in metrics] == list(range(1, metrics[-1]["steps"] + 1))
        assert metrics[-1]["losses"]["single"] < metrics[0]["losses"]["single"]
        ends.append(checkpoint.load_adapter(run.adapter("single")))
    for key in ends[0]:
        assert torch.equal(ends[0][key], ends[1][key])


def test_however_little_time_there_is_a_step_is_done(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    plan = runs.plan(run, runs.GLOBAL, ())
    assert [train(run, tiny, plan, steps=0).steps for _ in range(2)] == [1, 2]


def test_the_roles_go_on_from_the_global_adapter(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    with pytest.raises(UsageError, match="no finished adapter"):
        runs.plan(run, "roles", TEAM)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    plan = runs.plan(run, "roles", TEAM)
    first = checkpoint.load_adapter(run.adapter("single"))
    assert all(torch.equal(plan.start["caller"][key], tensor) for key, tensor in first.items())
    assert train(run, tiny, plan).finished
    planner, caller = (checkpoint.load_adapter(run.adapter(name)) for name in ("planner", "caller"))
    assert any(not torch.equal(planner[key], caller[key]) for key in planner)


def test_an_exported_adapter_can_be_gone_on_from(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    (file,) = export(run, tiny, tmp_path / "out")
    shipped = runs.Shipped({"single": file}, tiny)
    model = adapted(tiny, {"single": [1]}, dtype=torch.float32)
    found, trained = shipped.state("single", model), checkpoint.load_adapter(run.adapter("single"))
    assert found.keys() == trained.keys()
    for key, tensor in trained.items():
        assert torch.allclose(found[key], tensor, atol=1e-3), key
    with pytest.raises(UsageError, match="no adapter for planner"):
        shipped.state("planner", adapted(tiny, {"planner": [1]}, dtype=torch.float32))
    with pytest.raises(ModelCorrupt, match="another shape"):
        backbone.set_state(adapted(tiny, {"other": [1]}), "other", {k: v[:1] for k, v in found.items()})


def test_the_mean_of_two_adapters_is_between_them(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    (one,) = export(run, tiny, tmp_path / "one")
    two, mean = tmp_path / "two.gguf", tmp_path / "mean.gguf"
    shutil.copy(one, two)
    for tensor in gguf.GGUFReader(two, "r+").tensors:
        tensor.data[:] = tensor.data + np.float16(0.25)
    average([one, two], mean)
    for before, after in zip(gguf.GGUFReader(one).tensors, gguf.GGUFReader(mean).tensors, strict=True):
        assert np.allclose(after.data, before.data + np.float16(0.125), atol=1e-3), before.name
    with pytest.raises(UsageError, match="there already"):
        average([one, two], mean)
    with pytest.raises(UsageError, match="at least two"):
        average([one], tmp_path / "none.gguf")
    with pytest.raises(UsageError, match="shape"):
        average([one, tiny], tmp_path / "none.gguf")


def test_one_adapter_may_learn_all_roles(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    assert train(run, tiny, runs.plan(run, runs.MULTITASK, TEAM)).finished
    # What opens the turns of all three is how every turn opens.
    assert vocabulary.text(run.invocation(TEAM)) == "<|im_start|>"
    assert [file.name for file in export(run, tiny, tmp_path / "out")] == ["multitask.gguf"]


def test_a_role_trained_alone_becomes_what_it_becomes_beside_the_others(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """Roles that learn together share the reading of the trunk and nothing else."""
    run = begun(tmp_path, vocabulary)
    losses = {}
    for stage, roles in (("roles", TEAM), ("planner", (Role.PLANNER,))):
        train(run, tiny, runs.plan(run, stage, roles, scratch=True))
        losses[stage] = checkpoint.metrics_of(run.stage(stage))[0]["losses"]["planner"]
    assert losses["roles"] == pytest.approx(losses["planner"], rel=0.05)


def test_a_stage_begun_on_other_samples_is_not_gone_on_with(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()), steps=1)
    begun(tmp_path, vocabulary, count=10)
    with pytest.raises(UsageError, match="other samples"):
        train(run, tiny, runs.plan(run, runs.GLOBAL, ()))


def test_a_stage_begun_with_other_adapters_is_not_gone_on_with(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    train(run, tiny, runs.plan(run, "roles", TEAM, scratch=True), steps=1)
    with pytest.raises(UsageError, match="was begun with no adapters"):
        train(run, tiny, runs.plan(run, "roles", TEAM))
    folder = run.stage("roles")
    shutil.rmtree(folder)
    train(run, tiny, runs.plan(run, "roles", TEAM), steps=1)
    with pytest.raises(UsageError, match="was begun with other adapters than these"):
        train(run, tiny, runs.plan(run, "roles", TEAM, scratch=True))
    state = torch.load(folder / checkpoint.CHECKPOINT)
    del state["start"]  # as earlier versions left it
    torch.save(state, folder / checkpoint.CHECKPOINT)
    assert train(run, tiny, runs.plan(run, "roles", TEAM, scratch=True), steps=1).steps == 2


def test_roles_that_learn_in_different_ways_do_not_learn_together(vocabulary: Vocabulary, tmp_path: Path) -> None:
    own = "[stages.caller]\nlearning_rate = 5e-3\nbatch = 4\n[parts"
    run = begun(tmp_path, vocabulary, text=RECIPE.replace("[parts", own))
    with pytest.raises(ConfigError, match="--role caller"):
        runs.plan(run, "roles", TEAM, scratch=True)
    assert runs.plan(run, "caller", (Role.CALLER,), scratch=True).learn.learning_rate == 5e-3


def test_a_joined_run_is_held_out_with_any_of_its_requests(vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary, count=40)
    whole = run.samples(TEAM)
    (held, *_), (kept, *_) = (
        [each.id for each in whole if (checkpoint.share_of(each.id, 1) < 0.2) is way] for way in (True, False)
    )
    trained = [replace(each, id=f"{kept}+{held}") if each.id == kept else each for each in whole]
    learnt, _ = _split(whole, TEAM, run.recipe)
    still_learnt, _ = _split(trained, TEAM, run.recipe)
    assert len(still_learnt) == len(learnt) - 1


def test_a_stage_without_anything_to_learn_from_says_so(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary, text=RECIPE.replace("held_out = 0.2", "held_out = 1"))
    with pytest.raises(UsageError, match="Every sample is held out"):
        train(run, tiny, runs.plan(run, runs.GLOBAL, ()))


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_said_and_not_begun_again_in_silence(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path, damage: bytes | None
) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()), steps=1)
    path = run.stage(runs.GLOBAL) / checkpoint.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1000] if damage is None else damage)
    with pytest.raises(ModelCorrupt, match="Remove it to begin the stage again"):
        train(run, tiny, runs.plan(run, runs.GLOBAL, ()))


def test_what_a_kill_leaves_of_a_checkpoint_is_not_read(tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()), steps=1)
    folder = run.stage(runs.GLOBAL)
    (folder / f"{checkpoint.CHECKPOINT}.part").write_bytes(b"half")
    with (folder / checkpoint.METRICS).open("a") as file:
        file.write('{"step": 2, "losses": {}, "held_out": {}}\n{"step": 3, "lo')
    assert train(run, tiny, runs.plan(run, runs.GLOBAL, ())).finished
    steps = [entry["step"] for entry in checkpoint.metrics_of(folder)]
    assert steps == sorted(set(steps))


def test_an_exported_adapter_gives_the_logits_that_it_gave_in_training(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    run = begun(tmp_path, vocabulary)
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    (file,) = export(run, tiny, tmp_path / "out")
    sample = next(sample for sample in run.samples([Role.SINGLE]) if sample.only([Role.SINGLE]))
    turn = sample.turns[0]
    model = PeftModel.from_pretrained(backbone.load(tiny, dtype=torch.float32), run.adapter("single"))
    ids = torch.tensor([[*sample.trunk[: turn.at], *turn.tokens]])
    with torch.no_grad():
        ours = model(input_ids=ids).logits[0, -1].numpy()  # PEFT finds the invocation tokens itself
    weights = Weights(str(tiny), 0)
    adapter = weights.adapter(str(file))
    assert adapter is not None
    assert adapter.activated
    context = Context(weights, 2048, 1, CancelFlag())
    context.advance_trunk(sample.trunk[: turn.at])
    context.fork(adapter)
    theirs = np.array(context.read(list(turn.tokens))[0])
    context.drop_fork()
    context.fork(None)
    without = np.array(context.read(list(turn.tokens))[0])
    assert np.abs(theirs - ours).max() < 0.02 * np.abs(ours).max()
    assert np.abs(theirs - without).max() > 0.2 * np.abs(ours).max()


def test_an_export_without_room_leaves_what_was_there(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = begun(tmp_path, vocabulary), tmp_path / "out"
    train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    (file,) = export(run, tiny, out)
    before = file.read_bytes()
    assert [export(run, tiny, out), file.read_bytes()] == [[file], before]

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gguf.GGUFWriter.write_tensors_to_file", full)
    with pytest.raises(StorageError, match="No space left on device"):
        export(run, tiny, out)
    assert file.read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == ["files.toml", "single.gguf"]


@pytest.mark.parametrize("what", ["step", "picture", "adapter", "run", "export"])
def test_what_cannot_be_written_is_a_sentence(what: str, tiny: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    run, file = begun(tmp_path, vocabulary), tmp_path / "file"
    file.touch()
    (tmp_path / "in" / "single" / "adapter_model.safetensors").mkdir(parents=True)  # where a file is to be
    writes: dict[str, Callable[[], object]] = {
        "step": lambda: checkpoint.append_metrics(file, {}),
        "picture": lambda: plot.draw_losses(tmp_path / "none"),
        "adapter": lambda: checkpoint.save_adapter(tmp_path / "in", adapted(tiny, {"single": [1]}), "single"),
        "run": lambda: runs.begin(file, str(tmp_path / "r.toml")),
        "export": lambda: export(run, tiny, file),
    }
    if what == "export":
        train(run, tiny, runs.plan(run, runs.GLOBAL, ()))
    with pytest.raises(StorageError, match="cannot be written"):
        writes[what]()


def test_a_role_that_no_sample_teaches_is_told_when_they_are_made_and_before_the_backbone_is_loaded(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "short.toml"
    recipe.write_text(RECIPE.replace("longest = 2000", "longest = 10").replace("count = 1", "count = 12"))
    words = ["--run", str(tmp_path / "run"), "--backbone", str(tiny)]
    code, _, err = command(capsys, "data", *words, "--recipe", str(recipe))
    assert code == 2
    assert "left out 12: everyday: more tokens than the recipe's `longest`" in err
    assert "nothing to learn from" in err
    monkeypatch.setattr("umi_local.training.backbone.load", lambda *_: pytest.fail("loaded"))
    code, _, err = command(capsys, "global", *words)
    assert code == 2
    assert "teaches whole steps" in err


@pytest.mark.parametrize("device", ["abacus", "cuda"])
def test_a_device_that_is_not_there_is_a_sentence(tiny: Path, device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(UsageError, match="cannot use the device"):
        backbone.load(tiny, device)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    from umi_local.cli.main import run

    with pytest.raises(SystemExit) as ended:
        run(["train", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_without_its_data_no_run_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run", str(tmp_path / "run"), "--recipe", "cpu-0.5b", "--data", str(tmp_path)]
    code, _, err = command(capsys, "all", *words)
    assert (code, "--data DIR" in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_one_command_goes_from_made_records_to_adapters_and_does_nothing_twice(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE.replace("longest = 2000", "longest = 8000").replace("count = 1", "count = 4"))
    words = ["all", "--run", str(tmp_path / "run"), "--recipe", str(recipe), "--backbone", str(tiny)]
    code, out, _ = command(capsys, *words)
    assert code == 0
    assert "everyday.planner" in out
    written = sorted(path.name for path in (tmp_path / "run" / "gguf").iterdir())
    assert written == ["caller.gguf", "files.toml", "planner.gguf", "single.gguf", "summarizer.gguf"]
    assert (tmp_path / "run" / "stages" / "global" / "loss.png").is_file()
    before = (tmp_path / "run" / "adapters" / "planner" / "adapter_model.safetensors").stat().st_mtime_ns
    code, out, _ = command(capsys, *words)
    assert code == 0
    assert "is finished" not in out
    assert (tmp_path / "run" / "adapters" / "planner" / "adapter_model.safetensors").stat().st_mtime_ns == before
    code, out, _ = command(capsys, "show", "--run", str(tmp_path / "run"), "--backbone", str(tiny))
    assert code == 0
    assert "«" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["global", "--run", "{tmp}/none"], "is no training run"),
        (["role", "--run", "{tmp}/none", "--role", "chef"], "is no training run"),
        (["data", "--run", "{tmp}/new", "--recipe", "nothing"], "There is no recipe nothing"),
        (["show", "--run", "{tmp}/none"], "There are no samples"),
        (["export", "--run", "{tmp}/none", "--out", "{tmp}/out"], "is no training run"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, _, err = command(capsys, *(word.format(tmp=tmp_path) for word in arguments))
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_training_needs_neither_llama_cpp_nor_the_tools() -> None:
    """A machine lent for training has torch and little else."""
    import subprocess
    import sys

    code = (
        "import sys, umi_local.training.runs; print([m for m in ('llama_cpp', 'duckdb', 'pint') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_training_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = command(capsys, "global", "--run", str(tmp_path))
    assert code == 2
    assert "umi-local[train]" in err
