"""Finished items on disk, so that a run of hours can be broken off and gone on with.

A file has a first line that says what is measured and then one line per item. Its name holds a fingerprint of
everything that a prediction depends on, so that predictions of another model or setting are never taken for these.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import umi_local.models
import umi_local.tools
from umi_local.paths import cannot_write, data_dir, private_dir


@dataclass(frozen=True, slots=True)
class Result:
    """A finished item: its prediction and what it cost (see `meter`)."""

    id: str
    prediction: Mapping[str, Any]
    cost: Mapping[str, Any] = field(default_factory=dict)


def evaluations_dir() -> Path:
    """The folder of reports and unfinished runs. Raises StorageError if it cannot be made."""
    return private_dir(data_dir() / "evaluations")


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A name for settings that is the same for the same settings only."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """A digest of this package's code and texts: a prompt or a tool that was changed gives other predictions."""
    digest = hashlib.sha256()
    # Of a checkout these are folders of their own.
    for package in (umi_local, umi_local.models, umi_local.tools):
        (folder,) = map(Path, package.__path__)
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".toml") and path.is_file():
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


class Store:
    """The finished items of one run.

    Args:
        folder: where the file lies.
        settings: everything a prediction depends on, as JSON.
        fresh: forget what is there.

    Raises:
        StorageError: the file cannot be read or written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], fresh: bool = False) -> None:
        name = fingerprint({**settings, "code": code_digest()})
        self.path = folder / f"{settings.get('suite', 'run')}-{name}.partial.jsonl"
        try:
            if fresh:
                self.path.unlink(missing_ok=True)
            self._finished = self._read()
            if not self.path.exists():
                self._append({"settings": dict(settings)})
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @property
    def finished(self) -> Mapping[str, Result]:
        return self._finished

    def add(self, result: Result) -> None:
        """Keep a finished item; it is on the disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            self._append({"id": result.id, "prediction": dict(result.prediction), "cost": dict(result.cost)})
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._finished[result.id] = result

    def remove(self) -> None:
        """Forget the run, as when its report is written."""
        self.path.unlink(missing_ok=True)

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8", errors="surrogatepass") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> dict[str, Result]:
        """What is there. A last line that a kill cut short was never acknowledged: it is taken away."""
        if not self.path.exists():
            return {}
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        if not whole:
            self.path.unlink()
            return {}
        lines = [json.loads(line) for line in whole.decode().split("\n")[1:] if line]
        return {line["id"]: Result(line["id"], line["prediction"], line["cost"]) for line in lines}
