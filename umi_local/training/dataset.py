"""Samples on disk: made once, carried to whatever machine trains, and described so that a run can be repeated."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umi_local.errors import UsageError
from umi_local.messages import TEAM, Role
from umi_local.records import Fault, Record
from umi_local.training.samples import Sample, Turn, Writer
from umi_local.training.storage import make_folder, replacing

SAMPLES = "samples.jsonl.gz"
DESCRIPTION = "data.json"
LEARNT = {Role.SINGLE: "whole steps"} | {role: f"the {role.value}" for role in TEAM}


@dataclass(slots=True)
class Tally:
    """What became of the records: samples and target tokens by part and role, and what was left out, with reasons."""

    samples: Counter[str]
    targets: Counter[str]
    left_out: Counter[str]

    def count(self, part: str, sample: Sample) -> None:
        self.samples[part] += 1
        for turn in sample.turns:
            self.samples[f"{part}.{turn.role}"] += 1
            self.targets[f"{part}.{turn.role}"] += turn.targets


def write(records: Iterable[tuple[str, Record]], writer: Writer, folder: Path, faults: list[Fault]) -> Tally:
    """Make every sample and store them with a description. A record that makes none is counted, with its reason.

    Raises:
        StorageError: they cannot be written. Samples that were there are as they were, whatever is raised on the way.
    """
    tally = Tally(Counter(), Counter(), Counter())
    digest, packed = hashlib.sha256(), _Packed()
    make_folder(folder)
    with replacing(folder / SAMPLES) as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
            for part, record in records:
                try:
                    samples = writer.samples(record)
                except ValueError as error:
                    tally.left_out[f"{part}: {_general(str(error))}"] += 1
                    continue
                for sample in samples:
                    tally.count(part, sample)
                    for line in packed.lines(sample):
                        digest.update(line)
                        file.write(line)
        # Without it there are no samples: it is never that of others.
        (folder / DESCRIPTION).unlink(missing_ok=True)
    for same in _alike(faults):
        told = str(same[0]) + (" (the first of them)" if len(same) > 1 else "")
        tally.left_out[told] += len(same)
    described = {
        "sha256": digest.hexdigest(),
        "samples": dict(sorted(tally.samples.items())),
        "target_tokens": dict(sorted(tally.targets.items())),
        "left_out": dict(sorted(tally.left_out.items())),
    }
    with replacing(folder / DESCRIPTION) as raw:
        raw.write(json.dumps(described, indent=1).encode() + b"\n")
    return tally


def untaught(tally: Tally) -> list[str]:
    """Of what may be learnt, in words, that which no sample teaches."""
    taught = {name.rpartition(".")[2] for name in tally.targets}
    return [told for role, told in LEARNT.items() if role.value not in taught]


def read(folder: Path) -> Iterator[Sample]:
    """The samples of a run folder.

    Raises:
        UsageError: there are none, or the file is damaged.
    """
    path = folder / SAMPLES
    try:
        heads: list[tuple[int, ...]] = []
        with gzip.open(path, "rb") as file:
            for line in file:
                data = json.loads(line)
                if isinstance(data, list):
                    heads.append(tuple(data))
                else:
                    yield _from_json(data, heads[data["head"]])
    except FileNotFoundError:
        raise UsageError(f"There are no samples in {folder}.", "Make them: umi-local train data --run DIR") from None
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"The samples in {path} are damaged: {error}.", "Make them again.") from None


def digest(folder: Path) -> str:
    """The sha256 of the samples as their description has it."""
    try:
        return str(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{folder} has no {DESCRIPTION}.", "Make the samples: umi-local train data --run DIR"
        ) from None


def _alike(faults: Iterable[Fault]) -> Iterable[list[Fault]]:
    """Faults of one file with one reason."""
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        alike.setdefault((fault.path, fault.reason), []).append(fault)
    return alike.values()


def _general(reason: str) -> str:
    """The reason without what differs from record to record, so that it can be counted."""
    if "does not fit its schema" in reason or "`longest`" in reason:
        return reason.split(":")[0]
    return re.sub(r"\d[\d,]*", "N", reason)


class _Packed:
    """Samples as lines of JSON. A head, which many samples begin with, is a line of its own the first time it is met;
    the samples name it by its number."""

    def __init__(self) -> None:
        self._heads: dict[tuple[int, ...], int] = {}

    def lines(self, sample: Sample) -> Iterator[bytes]:
        head = sample.trunk[: sample.head]
        if head not in self._heads:
            self._heads[head] = len(self._heads)
            yield _line(head)
        turns = [[turn.role.value, turn.at, turn.given, turn.tokens] for turn in sample.turns]
        rest = sample.trunk[sample.head :]
        number = self._heads[head]
        yield _line({"id": sample.id, "source": sample.source, "head": number, "trunk": rest, "turns": turns})


def _line(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _from_json(data: dict[str, Any], head: tuple[int, ...]) -> Sample:
    turns = tuple(Turn(Role(role), at, tuple(tokens), given) for role, at, given, tokens in data["turns"])
    return Sample(data["id"], data["source"], (*head, *data["trunk"]), len(head), turns)
