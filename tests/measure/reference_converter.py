"""Compare our converter with llama.cpp's own, tensor by tensor and key by key, for every architecture of the tests.

    python tests/measure/reference_converter.py LLAMA_CPP_FOLDER

LLAMA_CPP_FOLDER is `vendor/llama.cpp` of llama-cpp-python's source package. It is used for comparing only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_checkpoints import MODELS, save_model, save_sentencepiece, save_tokenizer

from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.output import Source

# The reference knows a tokenizer by a hash of what it makes of one text, which no tokenizer trained here has.
_DRIVER = """
import sys, runpy
sys.path[:0] = [{root!r} + "/gguf-py", {root!r}]
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = ["convert", {folder!r}, "--outfile", {out!r}, "--outtype", "f32"]
runpy.run_path({root!r} + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def main(root: str) -> int:
    different = 0
    for name in MODELS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            save_model(folder, name)
            if name.startswith(("gemma", "phi3")):
                save_sentencepiece(folder)
                (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
            else:
                save_tokenizer(folder)
            ours, theirs = Path(place) / "ours.gguf", Path(place) / "theirs.gguf"
            convert_checkpoint(folder, ours, "f32", Source("test"), lambda *_: None)
            driver = _DRIVER.format(root=root, folder=str(folder), out=str(theirs))
            result = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, env=os.environ)
            if result.returncode:
                print(f"{name}: the reference fails: {result.stderr.strip().splitlines()[-1][:160]}")
                continue
            told = [*_tensors(ours, theirs), *_metadata(ours, theirs)]
            different += bool(told)
            print(f"{name}: {'the same' if not told else ''}")
            for line in told:
                print(f"    {line}")
    return different


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
    sys.exit(main(sys.argv[1]))
