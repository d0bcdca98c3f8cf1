"""Compare our converter with llama.cpp's own, tensor by tensor and key by key, for every architecture of the tests.

    python tests/measure/reference_converter.py LLAMA_CPP_FOLDER [TYPE...]

LLAMA_CPP_FOLDER is `vendor/llama.cpp` of llama-cpp-python's source package. It is used for comparing only. The types
are f32, f16, bf16 and q8_0, by default all. An adapter of each model is compared as well, in f32 and f16.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_checkpoints import MODELS, save_model, save_sentencepiece, save_tokenizer

from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.output import Source
from umi_local.convert.peft_adapter import convert_adapter

# The reference knows a tokenizer by a hash of what it makes of one text, which no tokenizer trained here has.
_DRIVER = """
import sys, runpy
sys.path[:0] = [{root!r} + "/gguf-py", {root!r}]
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
import torch
for call in {calls!r}:
    sys.argv = call
    try:
        runpy.run_path({root!r} + "/" + call[0] + ".py", run_name="__main__")
    except Exception as error:
        print(" ".join(call[-4:]), type(error).__name__, error, file=sys.stderr)
"""
_TYPES = ("f32", "f16", "bf16", "q8_0")


def main(root: str, *types: str) -> int:
    different = 0
    for name in MODELS:
        with tempfile.TemporaryDirectory() as place:
            different += _compared(name, Path(place), root, types or _TYPES)
    return different


def _compared(name: str, place: Path, root: str, types: Sequence[str]) -> int:
    """How many of a model's files differ, each told with what differs."""
    folder, adapter = place / "model", place / "adapter"
    model = save_model(folder, name)
    if name.startswith(("gemma", "phi3")):
        save_sentencepiece(folder)
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    else:
        save_tokenizer(folder)
    _save_adapter(model, adapter)
    source, base = Source("test"), place / "base.gguf"
    convert_checkpoint(folder, base, "f32", source, lambda *_: None)
    calls: list[list[str]] = []
    for kind in types:
        theirs = str(place / f"theirs-{kind}.gguf")
        calls.append(["convert_hf_to_gguf", str(folder), "--outfile", theirs, "--outtype", kind])
        convert_checkpoint(folder, place / f"ours-{kind}.gguf", kind, source, lambda *_: None)
        if kind in ("f32", "f16"):
            theirs = str(place / f"theirs-adapter-{kind}.gguf")
            calls.append(["convert_lora_to_gguf", str(adapter), "--base", str(folder)])
            calls[-1] += ["--outfile", theirs, "--outtype", kind]
            convert_adapter(adapter, base, place / f"ours-adapter-{kind}.gguf", kind, source)
    driver = _DRIVER.format(root=root, calls=calls)
    run = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, env=os.environ)
    different = 0
    for ours in sorted(place.glob("ours-*.gguf")):
        theirs = ours.with_name(ours.name.replace("ours", "theirs"))
        if not theirs.is_file():
            print(f"{name} {ours.stem[5:]}: the reference fails: {run.stderr.strip()[-300:]}")
            continue
        told = [*_tensors(ours, theirs), *_metadata(ours, theirs)]
        different += bool(told)
        print(f"{name} {ours.stem[5:]}: {'the same' if not told else ''}")
        for line in told:
            print(f"    {line}")
    return different


def _save_adapter(model: Any, folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    targets = ["q_proj", "v_proj", "o_proj", "qkv_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder)


def _tensors(ours: Path, theirs: Path) -> list[str]:
    one, other = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in (ours, theirs))
    told = [f"tensor {name} is in one file only" for name in sorted(one.keys() ^ other.keys())]
    for name in sorted(one.keys() & other.keys()):
        a, b = one[name], other[name]
        if a.tensor_type != b.tensor_type or list(a.shape) != list(b.shape):
            told.append(f"tensor {name}: {a.tensor_type.name} {list(a.shape)}, {b.tensor_type.name} {list(b.shape)}")
        elif not np.array_equal(a.data, b.data):
            told.append(f"tensor {name}: values differ by up to {np.abs(a.data - b.data).max()}")
    return told


def _metadata(ours: Path, theirs: Path) -> list[str]:
    one, other = (_read(path) for path in (ours, theirs))
    told = []
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        near = isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-6 * abs(a)
        if a != b and not near and not key.startswith(("umi_local.", "general.")):
            told.append(f"{key}: {str(a)[:70]} | {str(b)[:70]}")
    return told


def _read(path: Path) -> dict[str, Any]:
    fields = gguf.GGUFReader(path).fields
    return {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
