"""Real weights there and back: GGUF -> transformers -> safetensors -> our GGUF, against the original.

    python tests/measure/convert_parity.py MODEL.gguf [...]

Tensors must equal the original's dequantised ones exactly, token ids must agree on 10,000 lines. A second conversion,
to float16, is timed against a plain copy of the checkpoint's bytes, with its peak memory.
"""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer

from umi_local.backends.llama_cpp.vocabulary import Vocabulary
from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.output import Source
from umi_local.messages import Segment

_PARTS = (
    *("hello", " world", "The quick brown fox", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "12", "345", "67890"),
    *("3.14159", "I'll", "IT'S", "don't", "é", "naïve", "Straße", "你好", "世界", "こんにちは", "Привет", "мир"),
    *("שלום", "مرحبا", "नमस्ते", "ไทย", "한국어", "🚀", "🦙🦙", "👩‍👩‍👧", "🇩🇪", "—", "„quoted“", "...", "!!??"),
    *("def f(x: int) -> str:\n    return str(x)", "for(;;){}", "a_b-c.d/e", "<b>html</b>", "SELECT * FROM t;"),
    *("$x^2$", "▁", "½", "ﬁ", "\u00a0", "\u200b", "x" * 40, "https://example.org/?q=1&r=2#top"),
)


def main(paths: list[str]) -> int:
    wrong = 0
    for path in map(Path, paths):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            _save(path, folder, "float32")
            out = Path(place) / "back.gguf"
            convert_checkpoint(folder, out, "f32", Source("parity"), lambda *_: None)
            wrong += _compare(path, out, folder)
            shutil.rmtree(folder)
            out.unlink()
            _save(path, folder, "bfloat16")
            _time(folder, Path(place))
    return wrong


def _save(path: Path, folder: Path, kind: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, file = str(path.parent), path.name
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=getattr(torch, kind))
    # transformers does not save what it calls quantised, though the weights that it holds are plain numbers by now.
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    plain = AutoModelForCausalLM.from_config(type(model.config).from_dict(config), dtype=getattr(torch, kind))
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(folder)


def _compare(original: Path, back: Path, folder: Path) -> int:
    one, other = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in (original, back))
    wrong = [name for name in one if name not in other]
    for name in one.keys() & other.keys():
        wanted = gguf.quants.dequantize(one[name].data, one[name].tensor_type).astype(np.float32)
        if not np.array_equal(wanted.reshape(-1), np.asarray(other[name].data).reshape(-1)):
            wrong.append(name)
    chance = random.Random(2)
    lines = ["".join(chance.choices(_PARTS, k=chance.randint(1, 12))) for _ in range(10_000)]
    first, second = Vocabulary(original), Vocabulary(back)
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = {line: second.turn([Segment(line, False)]) for line in lines}
    ours = [line for line in lines if made.encode(line, add_special_tokens=False).ids != ids[line]]
    theirs = [line for line in lines if first.turn([Segment(line, False)]) != ids[line]]
    print(
        f"{original.name}: {len(one)} tensors, {len(wrong)} differ {wrong[:3]}; of {len(lines):,} lines have other ids:"
    )
    print(f"    than tokenizer.json has {len(ours)} {ours[:2]}, than the original has {len(theirs)} {theirs[:2]}")
    return len(wrong) + len(ours)


_CONVERT = """
import sys
from pathlib import Path
from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.output import Source
convert_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), "f16", Source("time"), lambda *_: None)
# Not ru_maxrss: a process inherits that of the one that started it.
print(int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024)
"""


def _time(folder: Path, place: Path) -> None:
    weights = folder / "model.safetensors"
    size = weights.stat().st_size / 1e6
    copies, conversions, peak = [], [], 0
    for number in range(3):
        started = time.monotonic()
        shutil.copyfile(weights, place / "copy")
        subprocess.run(["sync", str(place / "copy")], check=True)  # as the conversion does
        copies.append(time.monotonic() - started)
        started = time.monotonic()
        argv = [sys.executable, "-P", "-c", _CONVERT, str(folder), str(place / f"{number}.gguf")]
        peak = int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        conversions.append(time.monotonic() - started)
        (place / f"{number}.gguf").unlink()
    print(f"    {size:,.0f} MB bf16 -> f16: {min(conversions):.1f} s, copy {min(copies):.1f} s; peak {peak} MB")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main(sys.argv[1:]))
