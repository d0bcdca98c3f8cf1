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

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_checkpoints import save_model, save_sentencepiece, save_tokenizer
from tiny_model import write_tiny_model

from umi_local.convert.checkpoint import Checkpoint, read_json
from umi_local.convert.safetensors import read_header
from umi_local.convert.sentencepiece_model import read_pieces
from umi_local.convert.tokenizer import read_vocabulary
from umi_local.convert.vet import vet_gguf
from umi_local.errors import UmiError

_HEAD = 6000  # most mutations fall into the first bytes, where the headers are


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_model(folder / "m", "llama")
        save_tokenizer(folder / "m")
        save_sentencepiece(folder / "s")
        write_tiny_model(folder / "model.gguf")
        targets: list[tuple[Path, Callable[[], object]]] = [
            (folder / "model.gguf", lambda: vet_gguf(folder / "model.gguf")),
            (folder / "m/model.safetensors", lambda: read_header(folder / "m/model.safetensors")),
            (folder / "m/config.json", lambda: Checkpoint.open(folder / "m")),
            (folder / "m/tokenizer.json", lambda: read_vocabulary(folder / "m", 600)),
            (folder / "m/tokenizer_config.json", lambda: read_json(folder / "m/tokenizer_config.json")),
            (folder / "s/tokenizer.model", lambda: read_pieces(folder / "s/tokenizer.model")),
        ]
        return _run(targets, count)


def _run(targets: list[tuple[Path, Callable[[], object]]], count: int) -> int:
    chance = random.Random(11)
    refused, slowest = 0, 0.0
    for path, look in targets:
        original = path.read_bytes()
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
    return int(slowest > 1)


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
