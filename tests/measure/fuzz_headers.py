"""Mutate GGUF, safetensors and JSON headers, 20,000 files in all, and see that only sentences come out.

    python tests/measure/fuzz_headers.py [COUNT]

Prints the number of files refused and accepted, the slowest and the peak of memory. Ends with 1 at the first crash, at
a file that takes longer than a second, or above 500 MB.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from peft import LoraConfig, get_peft_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_checkpoints import save_model, save_sentencepiece, save_tokenizer
from tiny_model import write_tiny_model

from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.output import Source
from umi_local.convert.peft_adapter import PeftAdapter
from umi_local.convert.safetensors import read_header
from umi_local.convert.vet import vet_gguf
from umi_local.errors import UmiError

_CONVERTED = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")
_HEAD = 6000  # most mutations fall into the first bytes, where the headers are


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = save_model(folder / "m", "llama")
        (folder / "m/model.safetensors").unlink()
        save_tokenizer(folder / "m")
        model.save_pretrained(folder / "m", max_shard_size="400KB")
        model.save_pretrained(folder / "s")
        save_sentencepiece(folder / "s")
        adapter = get_peft_model(model, LoraConfig(target_modules="all-linear", alpha_pattern={"q_proj": 3}))
        adapter.save_pretrained(folder / "a")
        write_tiny_model(folder / "model.gguf")
        targets: list[tuple[Path, Callable[[], object]]] = [
            (folder / "model.gguf", lambda: vet_gguf(folder / "model.gguf")),
            (folder / "s/model.safetensors", lambda: read_header(folder / "s/model.safetensors")),
            *((folder / "m" / name, lambda: _convert(folder / "m")) for name in _CONVERTED),
            (folder / "s/tokenizer.model", lambda: _convert(folder / "s")),
            (folder / "a/adapter_config.json", lambda: PeftAdapter.open(folder / "a")),
        ]
        return _run(targets, count)


def _convert(folder: Path) -> None:
    out = folder.with_suffix(".gguf")
    out.unlink(missing_ok=True)
    convert_checkpoint(folder, out, "f16", Source("fuzz"), lambda *_: None)


def _run(targets: list[tuple[Path, Callable[[], object]]], count: int) -> int:
    chance = random.Random(11)
    refused, slowest = 0, 0.0
    for path, look in targets:
        original = path.read_bytes()
        look()
        for _ in range(count // len(targets) + 1):
            path.write_bytes(_mutated(original, chance))
            started = time.monotonic()
            try:
                look()
            except UmiError as error:
                refused += bool(str(error))
            slowest = max(slowest, time.monotonic() - started)
        path.write_bytes(original)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = (count // len(targets) + 1) * len(targets)
    print(f"{total:,} files: {refused:,} refused, {total - refused:,} accepted")
    print(f"slowest {slowest:.2f} s; peak {peak:.0f} MB")
    return int(slowest > 1 or peak > 500)


def _mutated(original: bytes, chance: random.Random) -> bytes:
    data = bytearray(original)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(min(len(data), _HEAD))
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at : at + 8] = chance.randbytes(8)
            case 2:
                del data[at : at + chance.randint(1, 40)]
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 40)]
            case _:
                data[at : at + 8] = (chance.choice((0, 1, 2**31, 2**32, 2**62, 2**64 - 1))).to_bytes(8, "little")
    return bytes(data[: chance.randrange(1, len(data))] if chance.random() < 0.1 else data)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
