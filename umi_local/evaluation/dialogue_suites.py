"""The suites over recorded dialogues: which files they read, and how their records are grouped."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from umi_local.errors import UsageError
from umi_local.evaluation.dialogues import Dialogue, RecordSuite, only_listed
from umi_local.evaluation.record_files import digest, suite_records, words
from umi_local.records import Record

# The services of the SGD training file (sgd_turn_train, meta.services); all others are new to a model trained on it.
TRAINED_SERVICES = frozenset(
    """
    Banks_1 Buses_1 Buses_2 Calendar_1 Events_1 Events_2 Flights_1 Flights_2 Homes_1 Hotels_1 Hotels_2 Hotels_3
    Media_1 Movies_1 Music_1 Music_2 RentalCars_1 RentalCars_2 Restaurants_1 RideSharing_1 RideSharing_2 Services_1
    Services_2 Services_3 Travel_1 Weather_1
    """.split()  # noqa: SIM905 - as a list it would take 26 lines
)
# Of each SGD file: how many records are measured, drawn with seed 0.
_SGD_SIZES: Mapping[str, int] = {"turn": 500, "clarify": 200, "merged": 340}

_NO_THOUGHTS = "Where the source has no thoughts, earlier steps show 'Use <tool>.' as the planner's words."
_DISTRACTORS = "Distractor tools were added to the source's own; the split 'listed' leaves them out."
_SGD_NOTES = (
    "SGD turns are turns of dialogues, not requests that stand alone; many arguments need the date in the context.",
    "Seen are records whose services (of the called tools, or else all listed) all occur in the training file.",
    _NO_THOUGHTS,
    _DISTRACTORS,
)


def apibank(data: Path, split: str = "") -> RecordSuite:
    """API-Bank (Li et al., 2023), levels 1 to 3: 402 turns of dialogues with real results.

    Args:
        data: the folder that holds `eval/`.
        split: empty, or `listed` for the source's own tools alone.

    Raises:
        UsageError: the file is missing or of another format, or the split is unknown.
    """
    path = data / "eval" / "apibank.jsonl.gz"
    dialogues = _dialogues(suite_records(path), "listed" in words(split, ["listed"], "split"))
    notes = (
        "API-Bank's own evaluation runs its APIs; here calls are compared with the recorded ones.",
        "In 30 records a value (a token, a password, a year) is said nowhere before the call that needs it.",
        _NO_THOUGHTS,
        _DISTRACTORS,
    )
    strata = _by_word(dialogues, {f"level-{i}": f"level {i}" for i in (1, 2, 3)})
    return RecordSuite("apibank", "API-Bank", digest([path]), strata, notes)


def sealtools(data: Path, split: str = "") -> RecordSuite:
    """Seal-Tools (Wu et al., 2024), in-domain test: 700 requests with several calls and no observations.

    Args and Raises: as `apibank`.
    """
    path = data / "eval" / "seal_test_in_domain.jsonl.gz"
    dialogues = _dialogues(suite_records(path), "listed" in words(split, ["listed"], "split"))
    notes = (
        "No observations were recorded: calls may come in any order, and no decision to end is measured.",
        "Records with placeholders for earlier results, or whose recorded arguments break their own schema, "
        "do not count for arguments and whole turns.",
        "About 5 % of the recorded values are not in the request (defaults, reformatted dates).",
        _NO_THOUGHTS,
        _DISTRACTORS,
    )
    strata = _by_word(dialogues, {"-easy-": "easy", "-difficult-": "difficult"})
    return RecordSuite("sealtools", "Seal-Tools, in-domain test", digest([path]), strata, notes)


def sgd(data: Path, split: str = "all") -> RecordSuite:
    """Schema-Guided Dialogue (Rastogi et al., 2020), development part: call or ask, tool, typed arguments.

    Args:
        data: the folder that holds `eval/`.
        split: words out of `turn` (500 turns with a call), `clarify` (200 in which the assistant asks), `merged` (340
            requests with several calls), `all`, and `listed`; separated by commas.

    Raises:
        UsageError: as `apibank`.
    """
    chosen = words(split, [*_SGD_SIZES, "all", "listed"], "split")
    parts = [part for part in _SGD_SIZES if part in chosen] or list(_SGD_SIZES)
    if "all" in chosen:
        parts = list(_SGD_SIZES)
    paths = {part: data / "eval" / f"sgd_{part}_dev.jsonl.gz" for part in parts}
    strata = {
        part: [Dialogue(d.record, _group(d.record)) for d in _dialogues(_drawn(path, part), "listed" in chosen)]
        for part, path in paths.items()
    }
    groups = {"seen": "services that occur in training", "unseen": "services that do not occur in training"}
    return RecordSuite("sgd", "Schema-Guided Dialogue, dev", digest(paths.values()), strata, _SGD_NOTES, groups)


def _drawn(path: Path, part: str) -> list[Record]:
    records = suite_records(path)
    size = _SGD_SIZES[part]
    if len(records) <= size:
        return records
    kept = sorted(random.Random(0).sample(range(len(records)), size))
    return [records[i] for i in kept]


def _group(record: Record) -> str:
    services = record.meta.get("services")
    if not isinstance(services, dict):
        raise UsageError(f"The record {record.id} does not say its services.", "An SGD record has meta.services.")
    used = {services[call.name] for call in record.calls if call.name in services} or set(services.values())
    return "seen" if used <= TRAINED_SERVICES else "unseen"


def _dialogues(records: Iterable[Record], listed: bool) -> list[Dialogue]:
    return [Dialogue(only_listed(record) if listed else record) for record in records]


def _by_word(dialogues: Sequence[Dialogue], strata: Mapping[str, str]) -> dict[str, list[Dialogue]]:
    """The dialogues by the first word that their ids hold; the others are a stratum of their own."""
    found: dict[str, list[Dialogue]] = {}
    for dialogue in dialogues:
        stratum = next((name for word, name in strata.items() if word in dialogue.record.id), "other")
        found.setdefault(stratum, []).append(dialogue)
    return found
