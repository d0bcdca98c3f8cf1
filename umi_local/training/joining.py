"""Requests for several things made out of requests for one.

Most sources ask for one thing at a time, so a planner that learns from them finishes after the first result. Here
stand-alone requests of one source are put into one query; their calls become the steps of one run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from umi_local.messages import ToolSpec
from umi_local.records import Record
from umi_local.trajectory import Decision, Next, Step

# Between the ids of what was joined.
_JOINT = "+"
# How a further request begins; {next} is its text.
_FURTHER = (
    "{next}",
    "Also, {next}",
    "And {next}",
    "Additionally, {next}",
    "I also need this: {next}",
    "Besides: {next}",
)
_SECOND = ("Then {next}", "After that, {next}", "Next, {next}")
_LAST = ("Finally, {next}", "Lastly, {next}", "One more thing: {next}", "And to end with: {next}")


def with_joined(records: Sequence[Record], pool: Sequence[Record], share: float, name: str = "") -> Iterator[Record]:
    """The records, of which a share that stand alone is joined with one to three others of the pool.

    Under another `name` they are joined with others.
    """
    alone = [record for record in pool if stands_alone(record)]
    for record in records:
        chance = random.Random(f"joining {name} {record.id}")
        if stands_alone(record) and chance.random() < share:
            yield joined(record, chance.sample(alone, min(chance.choice((1, 2, 2, 3)), len(alone))), chance)
        else:
            yield record


def stands_alone(record: Record) -> bool:
    """Whether a record asks for one thing with nothing before it, and its call and result are recorded."""
    run = record.trajectory
    return (
        not run.history
        and len(record.calls) == 1
        and bool(record.meta.get("grounded", True))
        and bool(run.steps[0].observations[0].content)
    )


def joined(record: Record, others: Sequence[Record], chance: random.Random) -> Record:
    """One run that asks for all of it. Records that do not fit (another context, other tools of one name) are left out.

    Its calls do not need each other's results, and `meta` says so (`independent`, with the `answers` of each).
    """
    parts = [record]
    tools = {tool.name: tool for tool in record.trajectory.tools}
    for other in others:
        if other.trajectory.context == record.trajectory.context and _fits(tools, other) and not _asked(parts, other):
            parts.append(other)
            tools |= {tool.name: tool for tool in other.trajectory.tools}
    if len(parts) == 1:
        return record
    steps = [part.trajectory.steps[0] for part in parts]
    answers = [part.trajectory.answer for part in parts]
    run = replace(
        record.trajectory,
        query=_one_query([part.trajectory.query.strip() for part in parts], chance),
        tools=_some(tools, parts, chance),
        steps=(*steps, Step(Decision("", Next.CONCLUDE))),
        answer=" ".join(answers) if all(answers) else "",
    )
    services = {name: service for part in parts for name, service in part.meta.get("services", {}).items()}
    meta = {**record.meta, "independent": True, "services": services, "answers": answers}
    return replace(record, id=_JOINT.join(part.id for part in parts), trajectory=run, meta=meta)


def ids_of(id: str) -> list[str]:
    """The ids of the records that a run with this id was made of; of most there is one."""
    return id.split(_JOINT)


def _some(tools: dict[str, ToolSpec], parts: Sequence[Record], chance: random.Random) -> tuple[ToolSpec, ...]:
    """The tools that are called and a few others: all of them together would be more than people list."""
    called = {call.name for part in parts for call in part.calls}
    others = [name for name in tools if name not in called]
    kept = called | set(chance.sample(others, min(len(others), chance.randint(0, 5))))
    return tuple(tool for name, tool in tools.items() if name in kept)


def _fits(tools: dict[str, ToolSpec], other: Record) -> bool:
    return all(tools.get(tool.name, tool) == tool for tool in other.trajectory.tools)


def _asked(parts: Sequence[Record], other: Record) -> bool:
    """Whether the same call is made already: a second one would be a repetition."""
    return any(other.calls == part.calls for part in parts)


def _one_query(queries: Sequence[str], chance: random.Random) -> str:
    text = queries[0]
    for number, query in enumerate(queries[1:], 2):
        last = number == len(queries) and number > 2
        form = chance.choice(_LAST if last else (*_FURTHER, *_SECOND))
        end = "" if text.endswith((".", "?", "!")) else "."
        text += f"{end} {form.format(next=_lowered(query) if form != '{next}' else query)}"
    return text


def _lowered(query: str) -> str:
    """The query as it stands behind a comma. Names and `I` keep their capital letter."""
    first, *rest = query.split(" ", 1)
    return " ".join([first.lower(), *rest]) if first in _BEGINNINGS else query


# Words that begin a sentence with a capital letter only because they begin it.
_BEGINNINGS = frozenset(
    {"What", "Which", "Who", "When", "Where", "How", "Is", "Are", "Can", "Could", "Would", "Will", "Do", "Does"}
    | {"Please", "Find", "Show", "Tell", "Give", "Get", "Help", "Look", "Search", "Book", "Reserve", "Play", "Check"}
    | {"Retrieve", "Let", "What's", "The", "My", "We"}
)
