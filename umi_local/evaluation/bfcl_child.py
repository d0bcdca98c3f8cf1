"""The program in which BFCL's multi-turn calls are evaluated: it does what job.json in the current folder asks for.

It is run by its path with nothing but the standard library and the package bfcl-eval. The last line that it prints is
its result as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

_EVALUATION = "bfcl_eval.eval_checker.multi_turn_eval"
_MODEL = "umi-local"


def main() -> int:
    job = json.loads(Path("job.json").read_text(encoding="utf-8"))
    result = execute(job["entry"], job["calls"]) if job["do"] == "execute" else check(**job)
    print("\n" + json.dumps(result))
    return 0


def execute(entry: dict[str, Any], calls: list[str]) -> list[str]:
    module = importlib.import_module(f"{_EVALUATION}.multi_turn_utils")
    results: list[str]
    results, _ = module.execute_multi_turn_func_call(
        calls, entry["initial_config"], entry["involved_classes"], _MODEL, entry["id"]
    )
    return results


def check(entry: dict[str, Any], turns: list[Any], truth: list[Any], do: str) -> dict[str, Any]:
    module = importlib.import_module(f"{_EVALUATION}.multi_turn_checker")
    verdict = module.multi_turn_checker(turns, truth, entry, "multi_turn_base", _MODEL)
    return {"valid": verdict["valid"], "error": verdict.get("error_message", "")}


if __name__ == "__main__":
    sys.exit(main())
