"""Reports as files: written in one piece, and read with a sentence where a file is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umi_local import atomic
from umi_local.errors import UsageError
from umi_local.evaluation.meter import total
from umi_local.evaluation.report import SCHEMA_VERSION, Case, Report, Value, to_json, values
from umi_local.evaluation.suite import Metric, ReferenceRow

_TASK_METRICS = {
    "passed": Metric("Passed", "the right tools were called and the answer holds what it must"),
    "tools_right": Metric("Tools", "the right tools were called"),
    "answer_right": Metric("Answers", "the answer holds what it must"),
}


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON. Raises what `write_text` does."""
    write_text(json.dumps(to_json(report), indent=1) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a file in one piece: whoever reads it finds the old one or the whole new one.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        atomic.write(path, text.encode(errors="surrogatepass"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None


def make_folder(path: Path) -> None:
    """A folder that is there afterwards. Raises UsageError if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {path} cannot be made: {error.strerror}.", "Name another one.") from None


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        UsageError: it cannot be read as one.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Name another file.") from None


def read_report(path: Path) -> Report:
    """The report in a file, also one of everyday tasks.

    Raises:
        UsageError: it cannot be read, is no report, or has another version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
        version = data["schema_version"]
        if version == 1 and data["suite"] == "tasks":
            return of_tasks(data)
        if version == SCHEMA_VERSION:
            return from_json(data)
    except OSError as error:
        raise UsageError(f"The report {path} cannot be read: {error.strerror}.", "Check the path.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not a report.", "Make one with: umi-local eval SUITE --report FILE") from None
    raise UsageError(
        f"The report {path} has version {version!r}; this program reads {SCHEMA_VERSION}.",
        "Measure again with this version.",
    )


def from_json(data: Mapping[str, Any]) -> Report:
    """The report that `to_json` wrote. Raises KeyError, TypeError or ValueError if it is none."""
    metrics = {
        name: Metric(one["title"], one["description"], one["percent"], one["higher_is_better"])
        for name, one in data["metrics"].items()
    }
    return Report(
        suite=data["suite"],
        title=data["title"],
        metrics=metrics,
        values={
            name: Value(one["value"], one["low"], one["high"], one["count"]) for name, one in data["metrics"].items()
        },
        cases=[_case(case) for case in data["items"]],
        baselines={
            name: {key: Value(one["value"], count=one["count"]) for key, one in row.items()}
            for name, row in data["baselines"].items()
        },
        references=[ReferenceRow(row["name"], row["values"], row["note"]) for row in data["references"]],
        notes=data["notes"],
        cost=data["cost"],
        provenance=data["provenance"],
    )


def _case(data: Mapping[str, Any]) -> Case:
    tally = {name: (float(pair[0]), float(pair[1])) for name, pair in data["tally"].items()}
    return Case(data["id"], data["stratum"], data["prediction"], tally, data["cost"], data["failed"])


def of_tasks(data: Mapping[str, Any]) -> Report:
    """What `tasks.report` made, in the common form. Raises KeyError or TypeError if it is something else."""
    cases = [_task(task) for task in data["tasks"]]
    known = {key: data[key] for key in ("pack", "mode", "roles", "seed", "temperature", "versions") if key in data}
    return Report(
        suite="tasks",
        title=f"Everyday tasks, {data['file']}" if data.get("file") else "Everyday tasks",
        metrics=_TASK_METRICS,
        values=values(_TASK_METRICS, [case.tally for case in cases]),
        cases=cases,
        cost=total(case.cost for case in cases),
        provenance={**known, "source": data.get("file_sha256", "")},
    )


def _task(data: Mapping[str, Any]) -> Case:
    tally = {name: (float(data[name]), 1.0) for name in _TASK_METRICS}
    reasons = [
        *([] if data["tools_right"] else [f"called {_list(data['called'])}, needed {_list(data['tools'])}"]),
        *([] if data["answer_right"] else [f"answered {data['answer'] or data['stop']!r}"]),
    ]
    prediction = {key: value for key, value in data.items() if key != "cost"}
    return Case(data["id"], "", prediction, tally, data.get("cost", {"wall_s": data["seconds"]}), reasons)


def _list(names: list[str]) -> str:
    return ", ".join(names) or "nothing"
