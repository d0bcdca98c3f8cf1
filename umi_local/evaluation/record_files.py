"""Files of recorded runs as suites read them: whole or not at all, with a sentence for whatever is wrong with one."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from umi_local.errors import UsageError
from umi_local.records import Fault, Record, parse_record, read_records

_REMEDY = "The data folder must hold eval/ and train/ as the data's README describes them."


def suite_records(path: Path) -> list[Record]:
    """The records of a JSON-lines file, plain or gzipped.

    Raises:
        UsageError: the file is missing or of another format, has no record, or one that cannot be measured.
    """
    faults: list[Fault] = []
    records = list(read_records(path, faults))
    if faults:
        first = faults[0]
        raise UsageError(f"Line {first.line} of {path} is not a recorded run: {first.reason}.", _REMEDY)
    return _measurable(records, path)


def simulated_records(path: Path) -> list[Record]:
    """The records of a JSON file `{apis, golden_runs, records}`, plain or gzipped.

    Raises:
        UsageError: as `suite_records`.
    """
    return _measurable([_record(data, path) for data in _list(path, "records")], path)


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' bytes, one after the other."""
    sum_ = hashlib.sha256()
    for path in paths:
        try:
            sum_.update(path.read_bytes())
        except OSError as error:
            raise UsageError(f"The file {path} cannot be read: {error.strerror}.", _REMEDY) from None
    return sum_.hexdigest()


def words(split: str, known: Sequence[str], what: str) -> list[str]:
    """The comma-separated words of a split, each one of `known`.

    Raises:
        UsageError: another word is among them.
    """
    found = [word.strip() for word in split.split(",") if word.strip()]
    for word in found:
        if word not in known:
            raise UsageError(f"There is no {what} {word!r}.", f"Known are: {', '.join(known)}.")
    return found


def _list(path: Path, name: str) -> list[Any]:
    try:
        content = path.read_bytes()
        data = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"The file {path} cannot be read: {error}.", _REMEDY) from None
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise UsageError(f"The file {path} has no list of {name}.", _REMEDY)
    return found


def _record(data: Any, path: Path) -> Record:
    try:
        return parse_record(json.dumps(data))
    except ValueError as error:
        raise UsageError(f"A record of {path} is not a recorded run: {error}.", _REMEDY) from None


def _measurable(records: list[Record], path: Path) -> list[Record]:
    if not records:
        raise UsageError(f"The file {path} holds no records.", _REMEDY)
    for record in records:
        names = {tool.name for tool in record.trajectory.tools}
        if not names:
            raise UsageError(f"The record {record.id} of {path} lists no tools.", _REMEDY)
        missing = [call.name for call in record.calls if call.name not in names]
        if missing:
            raise UsageError(f"The record {record.id} of {path} calls {missing[0]}, which it does not list.", _REMEDY)
    return records
