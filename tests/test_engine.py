"""One engine for all roles: nothing that one turn did shows in another, and what does not fit is told."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_model import LAYERS, WIDTH, write_tiny_model

from umi_local.backends.llama_cpp.context import CancelFlag, Context
from umi_local.backends.llama_cpp.devices import Device, Size, layers_that_fit
from umi_local.backends.llama_cpp.engine import Engine, file_identity, gpu_layers_of, size_of
from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.backends.llama_cpp.weights import NotLoaded, Weights
from umi_local.backends.llama_cpp.writer import Guide, chooser
from umi_local.cli.choices import resolve
from umi_local.convert.vet import vet_gguf
from umi_local.errors import ModelCorrupt, OutOfMemory
from umi_local.messages import Constraint, Role, Sampling, Segment
from umi_local.settings import Settings

RANK = 4
TRUNK = [
    Segment("<|im_start|>user\n", True),
    Segment("Name a colour, please. " * 6, False),
    Segment("<|im_end|>\n", True),
]
SUFFIX = [Segment("<|im_start|>planner\n", True)]


def write_adapter(path: Path, activated: bool, seed: int = 0, **changes: Any) -> Path:
    """A LoRA on every query projection of the tiny model, strong enough to change what is written."""
    facts = {"width": WIDTH, "tensor": "attn_q", "architecture": "llama", "also": "", **changes}
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, facts["architecture"])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(RANK))
    if activated:
        kinds = gguf.GGUFValueType
        writer.add_key_value("adapter.alora.invocation_tokens", [1], kinds.ARRAY, kinds.UINT32)
    names = [f"blk.{layer}.{facts['tensor']}.weight" for layer in range(LAYERS)] + (
        [facts["also"]] if facts["also"] else []
    )
    for name in names:
        for part, shape in (("lora_a", (RANK, facts["width"])), ("lora_b", (facts["width"], RANK))):
            writer.add_tensor(f"{name}.{part}", random.normal(0, 0.5, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        "base": None,
        "activated": write_adapter(folder / "activated.gguf", True, seed=1),
        "other": write_adapter(folder / "other.gguf", True, seed=2),
        "classic": write_adapter(folder / "classic.gguf", False, seed=3),
    }


def logits(context: Context, adapter: Any, trunk: Sequence[int], suffix: Sequence[int]) -> np.ndarray:
    context.advance_trunk(trunk, None if adapter is None or adapter.activated else adapter)
    context.fork(adapter)
    found = np.array(context.read(list(suffix))[0])
    context.drop_fork()
    return found


@pytest.mark.parametrize("kind", ["base", "activated", "classic"])
def test_a_turn_has_the_logits_of_a_fresh_context_whatever_came_before(
    model: Path, adapters: dict[str, Path | None], kind: str
) -> None:
    """As the engine keeps them: classic adapters have a context of their own, all others share one."""
    weights = Weights(str(model), 0)
    loaded = {name: weights.adapter(str(path) if path else None) for name, path in adapters.items()}
    trunk, suffix = weights.tokenize(TRUNK), weights.tokenize(SUFFIX)
    longer = weights.tokenize([*TRUNK, Segment("And another one?", False)])
    other = weights.tokenize([Segment("Something else altogether. " * 3, False)])
    fresh = logits(Context(weights, 512, 1, CancelFlag()), loaded[kind], trunk, suffix)
    sharing = ["classic"] if kind == "classic" else ["base", "activated", "other"]
    histories = [(name, tokens) for name in sharing for tokens in (trunk, longer, other)]
    for history in permutations(histories, 2):
        used = Context(weights, 512, 1, CancelFlag())
        for name, tokens in history:
            logits(used, loaded[name], tokens, suffix)
        assert np.abs(logits(used, loaded[kind], trunk, suffix) - fresh).max() < 1e-4
    if kind != "base":
        plain = logits(Context(weights, 512, 1, CancelFlag()), None, trunk, suffix)
        assert np.abs(fresh - plain).max() > 0.1


def engine(model: Path, adapters: dict[str, Path | None], **options: Any) -> Engine:
    roles = dict(zip((Role.PLANNER, Role.CALLER, Role.SUMMARIZER), ("base", "activated", "classic"), strict=True))
    specs = {
        role: ModelSpec(str(model), str(path) if (path := adapters[kind]) else None, threads=1)
        for role, kind in roles.items()
    }
    return Engine(specs, **options)


def write(using: Engine, role: Role) -> Any:
    return using.complete(role, TRUNK, SUFFIX, None, Sampling(max_tokens=12), lambda _: None)


def test_one_role_after_another_gives_the_first_its_answer_again(model: Path, adapters: dict[str, Path | None]) -> None:
    used = engine(model, adapters)
    texts: dict[Role, set[str]] = {}
    for role in (Role.PLANNER, Role.CALLER, Role.PLANNER, Role.SUMMARIZER, Role.CALLER, Role.PLANNER, Role.SUMMARIZER):
        texts.setdefault(role, set()).add(write(used, role).text)
    assert all(len(written) == 1 for written in texts.values())
    assert len(set.union(*texts.values())) == 3


def test_three_roles_on_one_backbone_load_it_once_and_share_a_trunk(
    model: Path, adapters: dict[str, Path | None]
) -> None:
    used = engine(model, adapters)
    assert write(used, Role.PLANNER).usage.reused == 0
    assert write(used, Role.CALLER).usage.reused > 100
    assert write(used, Role.SUMMARIZER).usage.reused == 0  # a classic adapter changes what the trunk is
    assert len(used._weights) == 1
    assert len(used._contexts) == 2


def test_models_that_do_not_fit_together_are_loaded_in_turn_and_that_is_told(tmp_path: Path) -> None:
    paths = [write_tiny_model(tmp_path / f"{i}.gguf", seed=i) for i in range(2)]
    specs = {
        role: ModelSpec(str(path), threads=1) for role, path in zip((Role.PLANNER, Role.CALLER), paths, strict=True)
    }
    roomy, tight = Engine(specs), Engine(specs, memory=paths[0].stat().st_size * 3 // 2)
    first = [write(roomy, role).text for role in (Role.PLANNER, Role.CALLER, Role.PLANNER)]
    told = [write(tight, role) for role in (Role.PLANNER, Role.CALLER, Role.PLANNER)]
    assert [turn.text for turn in told] == first
    assert len(roomy._weights) == 2
    assert len(tight._weights) == 1
    assert not told[0].notes
    assert "loaded in turn" in told[1].notes[0]


def test_a_context_longer_than_the_models_is_told_and_shortened(model: Path) -> None:
    used = Engine({Role.PLANNER: ModelSpec(str(model), context_tokens=100_000, threads=1)})
    (note,) = write(used, Role.PLANNER).notes
    assert "trained for 4,096 tokens" in note
    assert not write(used, Role.PLANNER).notes


@pytest.mark.parametrize(
    "changes",
    [{"width": WIDTH * 2}, {"tensor": "attn_nowhere"}, {"architecture": "gemma"}, {"also": "token_embd.weight"}],
    ids=["another width", "unknown tensors", "another architecture", "embeddings of another size"],
)
def test_an_adapter_that_does_not_fit_the_backbone_is_refused(
    model: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    adapter = write_adapter(tmp_path / "other.gguf", True, **changes)
    used = Engine({Role.PLANNER: ModelSpec(str(model), str(adapter), threads=1)})
    with pytest.raises(ModelCorrupt, match=r"other\.gguf is not an adapter for tiny\.gguf"):
        write(used, Role.PLANNER)


CPU = Device("CPU", "a processor", False, 16 << 30, 16 << 30)


def gpu(free: int) -> Device:
    return Device("CUDA0", "a card", True, free, 24 << 30)


def test_as_many_layers_are_offloaded_as_fit_beside_their_cache() -> None:
    size = Size(layers=25, tensor_bytes=500_000_000, cache_bytes_per_layer=4_000_000)
    assert layers_that_fit(size, [CPU]) == 0
    assert layers_that_fit(size, [CPU, gpu(0)]) == 0
    assert layers_that_fit(size, [CPU, gpu(600_000_000 + 10 * 24_000_000)]) == 10
    assert layers_that_fit(size, [CPU, gpu(8 << 30)]) == 25
    assert layers_that_fit(size, [gpu(600_000_000 + 5 * 24_000_000)] * 2) == 10


def test_the_layers_asked_for_are_bounded_by_what_there_is(model: Path) -> None:
    def asked(layers: int | None, *found: Device) -> tuple[int, list[str]]:
        return gpu_layers_of(ModelSpec(str(model), gpu_layers=layers), found)

    assert asked(None, CPU) == (0, [])
    assert asked(0, CPU, gpu(8 << 30)) == (0, [])
    assert asked(2, CPU, gpu(8 << 30)) == (2, [])
    assert asked(None, CPU, gpu(8 << 30)) == (LAYERS + 1, [])
    layers, (note,) = asked(99, CPU, gpu(8 << 30))
    assert (layers, note) == (LAYERS + 1, f"tiny.gguf has {LAYERS + 1} layers; all of them are offloaded.")
    layers, (note,) = asked(5, CPU)
    assert layers == 0
    assert "finds no GPU" in note


@pytest.mark.parametrize("fails", ["weights", "cache"])
def test_what_does_not_fit_a_gpu_is_tried_with_fewer_layers(
    model: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """There is no GPU here: what llama.cpp would answer on one is put in its place."""
    monkeypatch.setattr("umi_local.backends.llama_cpp.engine.devices", lambda: [CPU, gpu(8 << 30)])
    tried: list[int] = []

    def loads(path: str, layers: int) -> Weights:
        tried.append(layers)
        if fails == "weights" and layers > 1:
            raise NotLoaded("llama.cpp could not load it.")
        weights = Weights(path, 0)
        weights.gpu_layers = layers
        return weights

    def makes(weights: Weights, *rest: Any, **more: Any) -> Context:
        if fails == "cache" and weights.gpu_layers > 1:
            raise OutOfMemory("no room")
        return Context(weights, *rest, **more)

    monkeypatch.setattr("umi_local.backends.llama_cpp.engine.Weights", loads)
    monkeypatch.setattr("umi_local.backends.llama_cpp.engine.Context", makes)
    engine = Engine({Role.PLANNER: ModelSpec(str(model), context_tokens=256, gpu_layers=None)})
    done = engine.complete(Role.PLANNER, TRUNK, SUFFIX, None, Sampling(max_tokens=2), lambda _: None)
    assert tried == [LAYERS + 1, 1]
    assert done.notes == (f"{LAYERS + 1} layers do not fit into the GPU's memory, but 1 do.",)
    again = engine.complete(Role.PLANNER, TRUNK, SUFFIX, None, Sampling(max_tokens=2), lambda _: None)
    assert again.text == done.text
    assert not again.notes


@pytest.mark.parametrize(("asked", "layers"), [("auto", None), (3, 3), (0, 0)])
def test_what_is_set_reaches_the_model(model: Path, asked: int | str, layers: int | None) -> None:
    wanted = resolve("", [str(model)], None, mode="multi")
    settings = Settings.model_validate({"threads": 2, "gpu_layers": asked, "context": 300})
    specs, _ = replace(wanted, settings=settings).specs()
    for spec in specs.values():
        assert (spec.threads, spec.gpu_layers, spec.context_tokens) == (2, layers, 300)
        assert (spec.read_threads, spec.identity) == (0, "")


def test_the_vocabulary_is_masked_only_where_the_first_choice_is_not_allowed(model: Path) -> None:
    weights = Weights(str(model), 0)
    guide = Guide(weights, Constraint('start: "yes" | "no"'))
    masks: list[bytes] = []
    mask = guide._matcher.compute_bitmask

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(matcher, name)

        def compute_bitmask(self) -> bytes:
            masks.append(mask())
            return masks[-1]

    matcher, guide._matcher = guide._matcher, Counted()  # type: ignore[assignment]
    fits, other = weights.tokenize_content("no")[0], weights.tokenize_content("x")[0]
    choose = chooser(Sampling())
    likely = np.zeros(weights.vocab_size, np.float32)
    likely[fits] = 1.0
    assert guide.pick(likely, choose) == fits
    assert not masks
    likely[other] = 2.0
    assert guide.pick(likely, choose) == fits
    assert len(masks) == 1


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="looks at what Linux has mapped")
def test_a_model_is_mapped_from_its_file(tmp_path: Path) -> None:
    """So that its pages are shared and can be given back."""
    file = write_tiny_model(tmp_path / "mapped.gguf")
    weights = Weights(str(file), 0)
    assert str(file) in Path("/proc/self/maps").read_text()
    weights.close()


def test_another_file_in_the_place_of_one_is_told_apart(tmp_path: Path) -> None:
    """As when an archive that keeps times is unpacked over it."""
    found = set()
    for content in (b"a" * 3_000_000, b"a" * 2_999_999 + b"b", b"b" + b"a" * 2_999_999):
        (tmp_path / "model.gguf").write_bytes(content)
        os.utime(tmp_path / "model.gguf", (1, 1))
        found.add(str(file_identity(str(tmp_path / "model.gguf"))))
    assert len(found) == 3
    (tmp_path / "small.gguf").write_bytes(b"x")
    assert file_identity(str(tmp_path / "small.gguf")) == file_identity(str(tmp_path / "small.gguf"))


def test_a_models_size_is_read_from_its_header(model: Path) -> None:
    weights = Weights(str(model), 0)
    size = size_of(vet_gguf(model), 1024)
    assert size.layers == LAYERS + 1
    assert size.cache_bytes_per_layer * LAYERS == Context(weights, 1024, 1, CancelFlag()).cache_bytes


def test_no_tiles_are_used_that_llama_cpp_dies_of() -> None:
    """In a process of its own: what is granted once stays granted."""
    code = (
        "import ctypes; from umi_local.backends.llama_cpp.amx import refuse_amx; print(refuse_amx());"
        "granted = ctypes.c_ulong(); ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(granted));"
        "print(granted.value >> 18 & 1)"
    )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("tiles are a matter of Linux on x86_64")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert told == ["True", "0"]
