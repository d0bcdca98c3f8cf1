"""BFCL's own checkers, from the package `bfcl-eval`, without the clients of all vendors that it depends on.

Single-turn answers are compared in this process; it only looks at values. Multi-turn calls are strings that the package
evaluates, so they run in a child process with limits on time, memory and files (see `toolbox.sandbox`).
Source: Patil et al., The Berkeley Function Calling Leaderboard; the package is under Apache-2.0.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from umi_local.errors import UsageError
from umi_local.messages import ToolCall
from umi_local.toolbox.sandbox import Limits, run_limited

VERSION = "2026.3.23"
# mpmath is what the simulated calculator of the multi-turn items needs.
INSTALL = f"pip install --no-deps bfcl-eval=={VERSION} mpmath"

_MODEL = "umi-local"  # the checker takes an underscore in it for a slash
_CONVERTERS = "bfcl_eval.eval_checker.ast_eval.type_convertor"
_CHILD = Path(__file__).with_name("bfcl_child.py")
_LIMITS = Limits(wall_seconds=30, cpu_seconds=20)
_MOST_OUTPUT = 4_000_000


def data_folder() -> Path:
    """Where the installed package keeps its questions.

    Raises:
        UsageError: the package is not installed, or in another version.
    """
    found = importlib.util.find_spec("bfcl_eval")
    if found is None or found.origin is None:
        raise UsageError("The BFCL suite needs the package bfcl-eval.", f"Install it alone, as in: {INSTALL}")
    version = importlib.metadata.version("bfcl-eval")
    if version != VERSION:
        raise UsageError(f"bfcl-eval is there in version {version}; scores need {VERSION}.", f"Run: {INSTALL}")
    return Path(found.origin).parent / "data"


def check_calls(
    category: str, functions: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall], truth: Sequence[Any]
) -> str:
    """What the original checker objects to in the calls of a single-turn item; empty if they are right.

    Args:
        functions: as BFCL describes them.
        truth: of each expected call the name and per parameter the accepted values.
    """
    check, language = _ast_checker()
    said = [{call.name: dict(call.arguments)} for call in calls]
    try:
        verdict = check(list(functions), said, list(truth), language, category, _MODEL)
    except Exception as error:  # the checker trips over answers that it did not expect: they are wrong
        return f"the checker failed: {type(error).__name__}: {error}"
    return "" if verdict["valid"] else _words(verdict.get("error")) or "wrong"


def execute(entry: Mapping[str, Any], calls: Sequence[str]) -> list[str]:
    """The results of calls, made one after the other on a fresh world as a multi-turn item describes it.

    Raises:
        ChildProcessError: the child was ended by its limits, or failed.
    """
    results: list[str] = _in_child({"do": "execute", "entry": dict(entry), "calls": list(calls)})
    return results


def check_session(entry: Mapping[str, Any], turns: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]) -> str:
    """What the original multi-turn checker objects to; empty if every turn's state and results are right.

    Args:
        turns: of each of the user's turns the calls that were made, as text.
        truth: the calls of the reference, likewise.
    """
    steps = [[[call] for call in turn] for turn in turns]
    try:
        verdict = _in_child({"do": "check", "entry": dict(entry), "turns": steps, "truth": list(truth)})
    except ChildProcessError as error:
        return str(error)
    return "" if verdict["valid"] else verdict["error"] or "wrong"


def _in_child(job: Mapping[str, Any]) -> Any:
    argv = [sys.executable, "-I", str(_CHILD)]
    files = {"job.json": json.dumps(job)}
    done = run_limited(argv, files=files, limits=_LIMITS, max_output=_MOST_OUTPUT, readable=[_CHILD])
    if done.exit_code != 0:
        raise ChildProcessError("out of time" if done.timed_out else done.stderr.strip().split("\n")[-1] or "it died")
    return json.loads(done.stdout.strip().split("\n")[-1])


def _words(error: Any) -> str:
    """The checker's error, which may be nested lists and objects, in one line of moderate length."""
    text = error[0] if isinstance(error, list) and len(error) == 1 else error
    return " ".join((text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, default=str)).split())[
        :400
    ]


@cache
def _ast_checker() -> tuple[Callable[..., Mapping[str, Any]], Any]:
    data_folder()
    with _stand_ins():
        module = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    languages = importlib.import_module("bfcl_eval.constants.enums")
    return module.ast_checker, languages.Language.PYTHON


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Modules in place of those that import every vendor's client, or parsers for other languages than Python.

    All that the checker asks of the table of models is whether dots in names became underscores.
    """
    modules: dict[str, dict[str, Any]] = {
        "bfcl_eval.constants.model_config": {
            "MODEL_CONFIG_MAPPING": {_MODEL: SimpleNamespace(underscore_to_dot=False)}
        },
        f"{_CONVERTERS}.java_type_converter": {"java_type_converter": None},
        f"{_CONVERTERS}.js_type_converter": {"js_type_converter": None},
    }
    before = {name: sys.modules.get(name) for name in modules}
    for name, content in modules.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
