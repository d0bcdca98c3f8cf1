"""A converted adapter, and one folded into its base, give what PEFT gives; others are refused with a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from llama_logits import Loaded
from tiny_checkpoints import save_model, save_tokenizer

from umi_local.convert import merge as merging
from umi_local.convert.adapter import Backbone, target_of
from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.merge import merge
from umi_local.convert.output import Source
from umi_local.convert.peft_adapter import convert_adapter
from umi_local.errors import ModelCorrupt, ModelMissing, UmiError, UsageError

HERE = Source("a test")
TOKENS = [int(token) for token in np.random.default_rng(0).integers(3, 590, 64)]
WAYS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "patterns": {"rank_pattern": {"v_proj": 3}, "alpha_pattern": {"o_proj": 24, "layers.1.self_attn.v_proj": 2}},
    "rslora": {"use_rslora": True},
}


def saved(folder: Path, name: str, **options: Any) -> Any:
    """A model, its GGUF and an adapter with random weights; gives back PEFT's model."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = save_model(folder / "model", name)
    save_tokenizer(folder / "model")
    convert_checkpoint(folder / "model", folder / "base.gguf", "f32", HERE, lambda *_: None)
    torch.manual_seed(1)
    config = LoraConfig(
        **{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False, **options}
    )
    adapted = get_peft_model(model, config).eval()
    adapted.save_pretrained(folder / "adapter")
    return adapted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["llama", "qwen2", "granite", "gemma3"])
def test_logits_are_those_of_peft(name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(merging, "BLOCK_BYTES", 4096)  # a few rows at a time
    adapted = saved(tmp_path, name, **WAYS[way])
    convert_adapter(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "adapter.gguf", "f32", HERE)
    merge(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "merged.gguf", "f32", HERE, lambda *_: None)
    with torch.no_grad():
        wanted = adapted(torch.tensor([TOKENS])).logits[0].numpy()
    beside = Loaded(tmp_path / "base.gguf", tmp_path / "adapter.gguf")
    folded, base = Loaded(tmp_path / "merged.gguf"), Loaded(tmp_path / "base.gguf")
    assert np.abs(beside.logits(TOKENS) - wanted).max() < 1e-3
    assert np.abs(folded.logits(TOKENS) - wanted).max() < 1e-3
    assert np.abs(base.logits(TOKENS) - wanted).max() > 0.1
    for loaded in (beside, folded, base):
        loaded.close()


def test_an_activated_adapter_keeps_its_invocation_and_is_not_merged(tmp_path: Path) -> None:
    saved(tmp_path, "qwen2", alora_invocation_tokens=[5, 6, 7])
    convert_adapter(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "adapter.gguf", "f16", HERE)
    fields = gguf.GGUFReader(tmp_path / "adapter.gguf").fields
    assert list(fields["adapter.alora.invocation_tokens"].contents()) == [5, 6, 7]
    with pytest.raises(UsageError, match="activated"):
        merge(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "m.gguf", "f16", HERE, lambda *_: None)
    assert not (tmp_path / "m.gguf").exists()


def test_what_an_adapter_does_not_change_is_merged_byte_for_byte(tmp_path: Path) -> None:
    saved(tmp_path, "qwen2", target_modules=["q_proj"])
    merge(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "m.gguf", "q8_0", HERE, lambda *_: None)
    before, after = (gguf.GGUFReader(tmp_path / name) for name in ("base.gguf", "m.gguf"))
    held = {tensor.name: tensor for tensor in after.tensors}
    for tensor in before.tensors:
        changed = ".attn_q.weight" in tensor.name
        assert np.array_equal(tensor.data, held[tensor.name].data) is not changed, tensor.name
    ours = "umi_local.convert."
    kept = [name for name in before.fields if not name.startswith((ours, "GGUF.", "general.file_type"))]
    assert all(before.fields[name].contents() == after.fields[name].contents() for name in kept)


def test_a_base_made_for_the_time_being_is_written_as_its_checkpoint_would_be(tmp_path: Path) -> None:
    saved(tmp_path, "qwen3-moe", target_modules=["q_proj"])
    made_of = [tmp_path / "model" / "config.json"]
    for quant in ("f16", "q8_0"):
        one, other = tmp_path / f"{quant}.gguf", tmp_path / f"{quant}-merged.gguf"
        convert_checkpoint(tmp_path / "model", one, quant, HERE, lambda *_: None)
        merge(tmp_path / "adapter", tmp_path / "base.gguf", other, quant, HERE, lambda *_: None, made_of)
        plain, merged = ({t.name: t.tensor_type for t in gguf.GGUFReader(path).tensors} for path in (one, other))
        assert merged == plain


def test_numbers_that_are_none_or_too_large_are_told(adapter: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(adapter / "adapter", tmp_path / "adapter"))
    tensors = load_file(folder / "adapter_model.safetensors")
    first, second, *_ = sorted(tensors)
    tensors[first][0, 0], tensors[second][0, 0] = np.nan, 1e6
    save_file(tensors, folder / "adapter_model.safetensors")
    for quant, told in (("f16", 2), ("f32", 1)):
        out = tmp_path / f"{quant}.gguf"
        assert len(convert_adapter(folder, adapter / "base.gguf", out, quant, HERE).warnings) == told
    merged = merge(folder, adapter / "base.gguf", tmp_path / "m.gguf", "f32", HERE, lambda *_: None)
    assert first in merged.warnings[0]
    assert "blk.0." in merged.warnings[1]  # where it went
    tensors[first][0, 0] = 0.0
    save_file(tensors, folder / "adapter_model.safetensors")
    (told,) = merge(folder, adapter / "base.gguf", tmp_path / "h.gguf", "f16", HERE, lambda *_: None).warnings
    assert "too large for the type" in told


@pytest.mark.parametrize("which", ["A", "B"])
def test_half_a_pair_is_refused(which: str, adapter: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(adapter / "adapter", tmp_path / "adapter"))
    tensors = load_file(folder / "adapter_model.safetensors")
    del tensors[next(name for name in sorted(tensors) if f".lora_{which}." in name)]
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ModelCorrupt, match=f"has no matching lora_{which}"):
        convert_adapter(folder, adapter / "base.gguf", tmp_path / "a.gguf", "f16", HERE)


def test_an_adapter_of_a_model_with_pictures_goes_with_its_text() -> None:
    key = "base_model.model.model.language_model.layers.3.self_attn.q_proj.lora_A.weight"
    assert target_of(key, Backbone("gemma3", 4, 4, 2)) == "blk.3.attn_q.weight"


REFUSED: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "dora": ({"use_dora": True}, "DoRA"),
    "modules": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "biases": ({"bias": "all"}, "biases"),
    "changed base": ({"init_lora_weights": "pissa_niter_16"}, "changes the base's own weights"),
    "kind": ({"peft_type": "IA3"}, "IA3"),
    "alpha": ({"lora_alpha": "much"}, "lora_alpha"),
    "tokens": ({"trainable_token_indices": [1]}, "tokens of its own"),
}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    saved(folder, "llama")
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_gguf_cannot_hold_is_refused(case: str, adapter: Path, tmp_path: Path) -> None:
    changes, words = REFUSED[case]
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes((adapter / "adapter/adapter_model.safetensors").read_bytes())
    config = json.loads((adapter / "adapter/adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UmiError, match=words):
        convert_adapter(folder, adapter / "base.gguf", tmp_path / "a.gguf", "f16", HERE)
    assert not (tmp_path / "a.gguf").exists()


def test_resized_embeddings_are_refused(adapter: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((adapter / "adapter/adapter_config.json").read_bytes())
    tensors = load_file(adapter / "adapter/adapter_model.safetensors")
    tensors["base_model.model.model.embed_tokens.weight"] = np.zeros((601, 64), np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(UsageError, match="resized embeddings"):
        convert_adapter(folder, adapter / "base.gguf", tmp_path / "a.gguf", "f16", HERE)


def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "other", "llama", hidden_size=32)
    save_tokenizer(tmp_path / "other")
    convert_checkpoint(tmp_path / "other", tmp_path / "other.gguf", "f16", HERE, lambda *_: None)
    with pytest.raises(UsageError, match="another base"):
        convert_adapter(adapter / "adapter", tmp_path / "other.gguf", tmp_path / "a.gguf", "f16", HERE)


def test_missing_weights_and_pickles_are_said(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter/adapter_config.json").read_bytes())
    with pytest.raises(ModelMissing, match=r"adapter_model\.safetensors"):
        convert_adapter(tmp_path, adapter / "base.gguf", tmp_path / "a.gguf", "f16", HERE)
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match="pickle"):
        convert_adapter(tmp_path, adapter / "base.gguf", tmp_path / "a.gguf", "f16", HERE)


def test_an_expression_that_may_take_for_ever_is_not_tried(adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes((adapter / "adapter/adapter_model.safetensors").read_bytes())
    config = json.loads((adapter / "adapter/adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "alpha_pattern": {"(a+)+$": 8}}))
    with pytest.raises(UsageError, match="alpha_pattern"):
        convert_adapter(folder, adapter / "base.gguf", tmp_path / "a.gguf", "f16", HERE)
