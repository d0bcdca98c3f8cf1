"""How often the right tool is among the 8 that are shown, of 200: `python tests/measure/tool_ranking.py DATA`.

Queries and tools are those of Seal-Tools' development part (train/seal_dev.jsonl.gz); of each query the tools that its
record calls are wanted, and the 200 are these and others drawn by a seed.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

from umi_local.messages import ToolSpec
from umi_local.toolbox.ranking import FITTING, Ranking

MANY, SEED = 200, 1


def main(data: Path) -> None:
    lines = gzip.decompress((data / "train" / "seal_dev.jsonl.gz").read_bytes()).decode().split("\n")
    records = [json.loads(line) for line in lines if line]
    known = {
        tool["name"]: ToolSpec(tool["name"], tool["description"], tool["parameters"])
        for record in records
        for tool in record["tools"]
    }
    chance = random.Random(SEED)
    first = called = shown = whole = asked = 0
    for record in records:
        wanted = {step["tool"] for step in record["steps"]}
        if not wanted:
            continue
        others = chance.sample(sorted(set(known) - wanted), MANY - len(wanted))
        ranking = Ranking([known[name] for name in sorted([*wanted, *others])])
        found = [spec.name for spec in ranking.search(record["query"], FITTING)]
        asked, called = asked + 1, called + len(wanted)
        shown += len(wanted & set(found))
        whole += wanted <= set(found)
        first += bool(found) and found[0] in wanted
    print(f"{asked} queries, {len(known):,} tools known, {MANY} at a time, {FITTING} shown")
    print(f"called tools that are shown  {100 * shown / called:.1f} %")
    print(f"queries with all of theirs   {100 * whole / asked:.1f} %")
    print(f"a called tool stands first   {100 * first / asked:.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
