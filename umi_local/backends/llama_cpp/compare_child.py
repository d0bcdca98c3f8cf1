"""The process that compares two files: BEFORE AFTER PASSAGES. A number per passage and then the costs go to stdout."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from umi_local.backends.llama_cpp.compare import Cost, Passage
from umi_local.backends.llama_cpp.raw import OpenModel

Array = npt.NDArray[np.float32]


def main(before: str, after: str, passages: str) -> int:
    told = [Passage(kind, tuple(tokens), given) for kind, tokens, given in json.loads(Path(passages).read_text())]
    size = max(len(passage.tokens) for passage in told)
    rows: dict[str, list[Array]] = {}
    with OpenModel(Path(before), size) as one, OpenModel(Path(after), size) as other:
        for number, passage in enumerate(told, 1):
            wanted = [passage.given - 1 <= place < len(passage.tokens) - 1 for place in range(len(passage.tokens))]
            targets = passage.tokens[passage.given :]
            first, second = (_logarithms(model.read(passage.tokens, wanted, keep=True)) for model in (one, other))
            rows.setdefault(passage.kind, []).append(_row(first, second, targets))
            print(number, flush=True)
    for kind, found in rows.items():
        print(json.dumps(asdict(_cost(kind, np.concatenate(found)))), flush=True)
    return 0


def _logarithms(logits: Array) -> Array:
    """Logarithms of probabilities, (tokens, vocabulary)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float32)


def _row(before: Array, after: Array, targets: tuple[int, ...]) -> Array:
    """(tokens, 4): the surprise of each file, the divergence, whether the first choices agree."""
    places = np.arange(len(targets))
    divergence = (np.exp(before) * (before - after)).sum(axis=1)
    same = before.argmax(axis=1) == after.argmax(axis=1)
    return np.stack([-before[places, targets], -after[places, targets], divergence, same], axis=1)


def _cost(kind: str, rows: Array) -> Cost:
    surprise, surprise_after, divergence, same = (float(mean) for mean in rows.mean(axis=0))
    return Cost(kind, len(rows), float(np.exp(surprise)), float(np.exp(surprise_after)), divergence, same)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
