"""A conversation in one scene: the request of a record, sometimes after one or two earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from umi_local.messages import Message
from umi_local.prompts import messages_of
from umi_local.training.everyday.families import FAMILIES
from umi_local.training.everyday.followups import FOLLOW_UPS
from umi_local.training.everyday.scene import Ask, Scene, listed_tools, reads
from umi_local.training.everyday.surroundings import surround
from umi_local.trajectory import Trajectory

_MULTI = 0.17  # of the records; some of them find nothing to follow up
# What may be said before an unrelated request: nothing that changes what it finds.
_EARLIER = (
    "calculator",
    "convert_units",
    "current_time",
    "date_difference",
    "add_to_date",
    "read_file",
    "search_files",
    "query_table",
    "search_notes",
    "chat",
    "troubles",
    "list_files",
)

Family = Callable[[Scene], Ask]


def converse(scene: Scene, name: str) -> tuple[Ask, Trajectory]:
    """A request of a family and its run, with what was said before it."""
    surround(scene)
    rng = scene.rng
    multi = rng.random() < _MULTI and name != "impossible"
    if multi and name in FOLLOW_UPS and rng.random() < 0.6:
        followed = _followed(scene, name)
        if followed is not None:
            return followed
    earlier = [FAMILIES[rng.choice(_EARLIER)] for _ in range(rng.choice((1, 1, 1, 2)))] if multi else []
    before = [family(scene) for family in earlier]
    request = FAMILIES[name](scene)
    overview = scene.workspace.overview()
    history: tuple[Message, ...] = ()
    used: set[str] = set()
    for past in before:
        run = scene.carry_out(past, overview, history)
        history += messages_of(run)
        used |= _used(run)
    return request, _listed(scene, request, scene.carry_out(request, overview, history), used)


def _followed(scene: Scene, name: str) -> tuple[Ask, Trajectory] | None:
    """A request that builds on an earlier one; None if there is nothing to build on."""
    family, follow = scene.rng.choice(FOLLOW_UPS[name])
    first = family(scene)
    overview = scene.workspace.overview()
    past = scene.carry_out(first, overview)
    request = follow(scene, first, past)
    if request is None:
        return None
    return request, _listed(scene, request, scene.carry_out(request, overview, messages_of(past)), _used(past))


def _used(run: Trajectory) -> set[str]:
    return {call.name for step in run.steps for call in step.calls}


def _listed(scene: Scene, request: Ask, run: Trajectory, used: set[str]) -> Trajectory:
    """The run with its tools; without any that reads, nothing is told of the workspace."""
    tools = listed_tools(scene.rng, used | _used(run), request.absent, scene.partial)
    return replace(run, tools=tools, context=run.context if reads(tools) else "")
