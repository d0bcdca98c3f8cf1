"""How many constrained calls are malformed? Random schemas, a real model, a high temperature.

    python tests/measure/malformed_calls.py --turns 500 --pack smollm2-135m

A call is malformed if it cannot be read, names no listed tool, or does not fit the tool's schema. A turn that
reaches its token limit is counted apart: the agent throws it away and tells the planner.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from typing import Any

from jsonschema import Draft202012Validator

from umi_local.assemble import llama_backend
from umi_local.constraints import constraint_for
from umi_local.messages import Prompt, Role, Sampling, Segment, ToolSpec
from umi_local.parse import json_calls
from umi_local.settings import Settings
from umi_local.setups import setup
from umi_local.styles.data import chat_style
from umi_local.trajectory import Trajectory

NAMES = [
    "city",
    "größe",
    "名前",
    "user_id",
    "date-from",
    "is ok?",
    "préférence",
    "дата",
    "x",
    "tags",
    "$ref_like",
    'quo"te',
]
WORDS = ["red", "blu\u00e9", "N/A", "a b", "日本", '"', "\\", "-1", "</s>", "<|im_end|>"]


def schema(random_: random.Random, depth: int = 0) -> dict[str, Any]:
    """A random schema: nested objects, arrays, enumerations, bounds, optional fields, names in many scripts."""
    kinds = ["string", "integer", "number", "boolean", "enum", "array", "object"]
    match random_.choice(kinds[:5] if depth >= 2 else kinds):
        case "enum":
            return {"enum": random_.sample([*WORDS, 1, 2.5, None, True], random_.randint(1, 4))}
        case "array":
            return {
                "type": "array",
                "items": schema(random_, depth + 1),
                "minItems": random_.randint(0, 1),
                "maxItems": 3,
            }
        case "object":
            return record(random_, depth + 1)
        case "integer" if random_.random() < 0.5:
            return {"type": "integer", "minimum": -5, "maximum": random_.randint(0, 1000)}
        case "string":
            return {"type": "string", "maxLength": random_.randint(1, 40)}
        case kind:
            return {"type": kind}


def record(random_: random.Random, depth: int = 0) -> dict[str, Any]:
    names = random_.sample(NAMES, random_.randint(0 if depth else 1, 4))
    required = [name for name in names if random_.random() < 0.6]
    return {"type": "object", "properties": {name: schema(random_, depth) for name in names}, "required": required}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--pack", default="smollm2-135m")
    parser.add_argument("--temperature", type=float, default=1.2)
    options = parser.parse_args()
    backend = llama_backend(setup(Settings(), options.pack))
    random_, seen, started = random.Random(0), Counter[str](), time.monotonic()
    for turn in range(options.turns):
        tools = tuple(
            ToolSpec(name, "", {"additionalProperties": False, **record(random_)})
            for name in random_.sample(["find", "größe_ändern", "search.v2", "データ", "get-it"], 3)
        )
        query = f"Use the tools for {random_.choice(WORDS)} and {random_.choice(NAMES)}, number {turn}."
        prompt = Prompt(
            (Segment("<|im_start|>user\n", True), Segment(query, False), Segment("<|im_end|>\n", True)),
            (Segment("<|im_start|>caller\n", True),),
        )
        constraint = constraint_for(Role.CALLER, chat_style().language, Trajectory(query, tools), (), 3)
        sampling = Sampling(options.temperature, seed=turn, max_tokens=400)
        written = backend.complete(Role.CALLER, prompt, constraint, sampling)
        seen[verdict(written.text, written.finished, tools)] += 1
    backend.close()
    print(dict(seen), f"in {time.monotonic() - started:.0f} s")


def verdict(text: str, finished: bool, tools: tuple[ToolSpec, ...]) -> str:
    if not finished:
        return "cut off"
    try:
        calls = json_calls(text)
    except ValueError:
        return "malformed: unreadable"
    schemas = {tool.name: tool.parameters for tool in tools}
    for call in calls:
        if call.name not in schemas:
            return "malformed: unknown tool"
        if not Draft202012Validator(schemas[call.name]).is_valid(dict(call.arguments)):
            print("does not fit:", call, schemas[call.name])
            return "malformed: does not fit"
    return "well formed"


if __name__ == "__main__":
    main()
