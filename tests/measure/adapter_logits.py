"""How far an exported adapter in llama.cpp is from what it was in training, on the runs that training held out.

    python tests/measure/adapter_logits.py RUN BACKBONE.gguf ADAPTERS [ROLE]

For each target token it compares the loss under PEFT (bfloat16, dequantised) with that under llama.cpp (the quantised
file, the exported adapter) and counts how often both would choose the same token.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from umi_local.backends.llama_cpp.context import CancelFlag, Context
from umi_local.backends.llama_cpp.weights import Weights
from umi_local.messages import Role
from umi_local.training import backbone, checkpoint, runs

TURNS = 12


def main(run_folder: Path, gguf: Path, adapters: Path, role: Role) -> None:
    run = runs.Run.of(run_folder)
    held = [
        sample
        for sample in run.samples([role])
        if checkpoint.share_of(sample.id, run.recipe.seed) < run.recipe.held_out
    ]
    invocation = run.invocation([role])
    model = backbone.with_adapters(backbone.load(gguf), run.recipe.adapter, {role.value: invocation}, 0)
    backbone.set_state(model, role.value, checkpoint.load_adapter(run.adapter(role.value)))
    weights = Weights(str(gguf), 0)
    adapter = weights.adapter(str(adapters / f"{role.value}.gguf"))
    context = Context(weights, 2048, 0, CancelFlag())
    ours, theirs, same = [], [], 0
    turns = [(sample, turn) for sample in held for turn in sample.turns if turn.role is role][:TURNS]
    for sample, turn in turns:
        ids = torch.tensor([[*sample.trunk[: turn.at], *turn.tokens]])
        with torch.no_grad():
            logits = model(input_ids=ids, alora_offsets=[len(turn.tokens)]).logits[0].float()
        context.advance_trunk(list(sample.trunk[: turn.at]))
        context.fork(adapter)
        seen = np.array(context.read(list(turn.tokens[: turn.given]))[0])
        for place in range(turn.given, len(turn.tokens)):
            target = turn.tokens[place]
            expected = logits[turn.at + place - 1]
            ours.append(float(torch.nn.functional.cross_entropy(expected[None], torch.tensor([target]))))
            theirs.append(float(np.logaddexp.reduce(seen) - seen[target]))
            same += int(expected.argmax()) == int(seen.argmax())
            seen = np.array(context.read([target])[0])
        context.drop_fork()
    print(f"{role}: {len(turns)} turns, {len(ours)} target tokens")
    print(f"loss {np.mean(ours):.4f} in PEFT, {np.mean(theirs):.4f} in llama.cpp; same choice {same / len(ours):.1%}")


if __name__ == "__main__":
    words = sys.argv[1:]
    main(Path(words[0]), Path(words[1]), Path(words[2]), Role(words[3] if len(words) > 3 else "planner"))
