"""LoRA adapters on a real backbone, made on the spot with random weights."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.messages import Prompt, Role, Sampling, Segment

pytestmark = pytest.mark.real

WIDTH, LAYERS, RANK = 576, 30, 4  # SmolLM2-135M
PROMPT = Prompt(
    (Segment("<|im_start|>user\n", True), Segment("Name a colour.", False), Segment("<|im_end|>\n", True)),
    (Segment("<|im_start|>assistant\n", True),),
)


def random_adapter(path: Path, activated: bool, seed: int = 0) -> Path:
    """A LoRA on every query projection, strong enough to change what is written."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(RANK))
    if activated:
        tokens, kinds = [1, 520, 9531], gguf.GGUFValueType
        writer.add_key_value("adapter.alora.invocation_tokens", tokens, kinds.ARRAY, kinds.UINT32)
    for layer in range(LAYERS):
        for part, shape in (("lora_a", (RANK, WIDTH)), ("lora_b", (WIDTH, RANK))):
            weights = random.normal(0, 0.5, shape).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.attn_q.weight.{part}", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def written(backend: LlamaCppBackend, role: Role) -> tuple[str, int]:
    """What a role writes, and how much of its trunk was in the cache."""
    done = backend.complete(role, PROMPT, None, Sampling(max_tokens=16))
    return done.text, done.usage.reused


@pytest.mark.parametrize("activated", [True, False], ids=["activated", "classic"])
def test_an_adapter_acts_on_its_own_role_alone(small_model, tmp_path, activated):
    adapter = random_adapter(tmp_path / "role.gguf", activated)
    specs = {
        Role.PLANNER: ModelSpec(str(small_model), context_tokens=512),
        Role.CALLER: ModelSpec(str(small_model), str(adapter), context_tokens=512),
    }
    backend = LlamaCppBackend(specs)
    try:
        plain, _ = written(backend, Role.PLANNER)
        adapted, shared = written(backend, Role.CALLER)
        assert adapted != plain
        assert written(backend, Role.PLANNER)[0] == plain
        assert written(backend, Role.CALLER)[0] == adapted
    finally:
        backend.close()
    # An activated adapter leaves the trunk as it is, so both roles share it; a classic one changes it.
    assert (shared > 0) is activated


def test_an_activated_adapter_reads_the_trunk_as_the_backbone_does(small_model, tmp_path):
    """The same adapter gives another text as a classic one, whose trunk it has already changed."""
    texts = set()
    for activated in (True, False):
        adapter = random_adapter(tmp_path / f"{activated}.gguf", activated)
        backend = LlamaCppBackend({Role.CALLER: ModelSpec(str(small_model), str(adapter), context_tokens=512)})
        texts.add(written(backend, Role.CALLER)[0])
        backend.close()
    assert len(texts) == 2
