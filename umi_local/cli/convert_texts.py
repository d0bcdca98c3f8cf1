"""The texts that a conversion measures on: what the roles themselves read and write."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from umi_local.assemble import writer_of
from umi_local.errors import UsageError

if TYPE_CHECKING:
    from umi_local.backends.llama_cpp.compare import Passage
    from umi_local.records import Record
    from umi_local.training.samples import Writer

_RUNS = 12
_LONGEST = 1500


def own_runs() -> list[Record]:
    """The latest of the user's stored runs."""
    from umi_local.sessions import open_store
    from umi_local.training.mix import own_runs as stored

    return [record for _, record in itertools.islice(stored(open_store()), _RUNS)]


def own_text() -> str:
    """The user's stored runs as text: what they asked, what the roles wrote, what the tools said.

    Raises:
        UsageError: there is none.
    """
    from umi_local.prompts import messages_of

    texts = ["\n".join(message.text for message in messages_of(record.trajectory)) for record in own_runs()]
    if not texts:
        raise UsageError("There are no stored runs to learn from.", "Give a text file with --imatrix FILE.")
    return "\n\n".join(texts)


def passages(model: Path) -> list[Passage]:
    """Each role's turns in the user's stored runs, or in made ones where those have none, as tokens of `model`."""
    from umi_local.backends.llama_cpp.vocabulary import Vocabulary
    from umi_local.training.everyday import generate

    writer = writer_of("auto", Vocabulary(model), _LONGEST)
    return _passages(own_runs(), writer) or _passages(generate(_RUNS, 1), writer)


def _passages(records: Iterable[Record], writer: Writer) -> list[Passage]:
    from umi_local.backends.llama_cpp.compare import Passage
    from umi_local.training.thoughts import with_thoughts

    found: list[Passage] = []
    for record in records:
        try:
            sample = writer.samples(with_thoughts(record))[0]
        except ValueError:
            continue  # a run that no role could have written so, or that is too long
        for turn in sample.turns:
            tokens = (*sample.trunk[: turn.at], *turn.tokens)
            found.append(Passage(turn.role.value, tokens, turn.at + turn.given))
    return found
