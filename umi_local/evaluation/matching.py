"""When two calls are the same call, how many of a call's arguments are right, and when two texts say the same.

Values are compared after one normalisation: numbers by value (3 is 3.0), texts without regard to case and with runs of
white space as one blank, lists and objects part by part. A text never equals a number, and true never equals 1.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from umi_local.messages import ToolCall
from umi_local.records import Record

Pair = tuple[str, str, str]


def same_arguments(gold: Mapping[str, Any], predicted: Mapping[str, Any]) -> bool:
    """Whether all arguments are equal after the normalisation."""
    return _key(gold) == _key(predicted)


def identical_arguments(gold: Mapping[str, Any], predicted: Mapping[str, Any]) -> bool:
    """Whether all arguments are equal as JSON, to the last character."""
    return _json(gold) == _json(predicted)


def same_call(gold: ToolCall, predicted: ToolCall) -> bool:
    return gold.name == predicted.name and same_arguments(gold.arguments, predicted.arguments)


def pairs(call: ToolCall | None) -> Counter[Pair]:
    """The call's (tool, parameter, value) triples; Seal-Tools (Wu et al., 2024) counts parameters so, too."""
    return Counter((call.name, name, _key(value)) for name, value in call.arguments.items()) if call else Counter()


def differences(gold: Mapping[str, Any], predicted: Mapping[str, Any]) -> list[str]:
    """What is missing, too much or of another value, a phrase each; empty if `same_arguments`."""
    told = []
    for name in [*gold, *(name for name in predicted if name not in gold)]:
        if name not in predicted:
            told.append(f"{name} is missing ({_json(gold[name])})")
        elif name not in gold:
            told.append(f"{name} is too much ({_json(predicted[name])})")
        elif _key(gold[name]) != _key(predicted[name]):
            told.append(f"{name} is {_json(predicted[name])}, not {_json(gold[name])}")
    return told


def arguments_count(record: Record) -> bool:
    """Whether the recorded arguments can be required: no placeholders, and what the schema allows."""
    return not record.meta.get("reference_args") and record.meta.get("args_valid", True) is not False


def plain(text: str) -> str:
    """A text as answers are searched: case and thousands commas do not matter."""
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.casefold())


def normal(value: Any) -> Any:
    """A JSON value in the form in which it is compared."""
    match value:
        case str():
            return " ".join(value.casefold().split())
        case float() if value.is_integer():
            return int(value)
        case list() | tuple():
            return [normal(part) for part in value]
        case Mapping():
            return {str(name): normal(part) for name, part in value.items()}
        case _:
            return value


def _key(value: Any) -> str:
    return _json(normal(value))


def _json(value: Any) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False, sort_keys=True)
