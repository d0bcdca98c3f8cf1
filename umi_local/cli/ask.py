"""`umi-local ask`: one question, one answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli import choices
from umi_local.cli.console import StepPrinter
from umi_local.cli.output import AnswerOutput, JsonOutput, StreamOutput, result_json
from umi_local.errors import UsageError
from umi_local.trajectory import StopReason

if TYPE_CHECKING:
    from umi_local.messages import Message
    from umi_local.protocols import Emit
    from umi_local.sessions import SessionStore
    from umi_local.setups import Setup
    from umi_local.toolbox import LocalToolbox
    from umi_local.trajectory import Trajectory

DENIED = 5
_PIPE_LIMIT = 8_000_000
_ENDINGS = {
    StopReason.GAVE_UP: "The agent gave up.",
    StopReason.LOOP: "The agent repeated itself and was stopped; the answer is from what it knew.",
    StopReason.STEP_LIMIT: "The agent used up its steps; the answer is from what it knew. See --max-steps.",
    StopReason.CANCELLED: "Cancelled.",
}


def ask(
    query: Annotated[str, typer.Argument(help="The question. Piped text is added to it.")] = "",
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    stream_json: Annotated[bool, typer.Option("--stream-json", help="One JSON event per line on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No steps on stderr.")] = False,
    workspace: choices.Workspace = Path(),
    pack: choices.Pack = "",
    model: choices.Models = None,
    adapter: choices.Adapters = None,
    mode: choices.ModeName = "",
    tools: choices.Tools = None,
    allow: choices.Allow = None,
    deny: choices.Deny = None,
    max_steps: choices.MaxSteps = None,
    seed: choices.Seed = None,
    gpu_layers: choices.GpuLayers = "",
    continue_: Annotated[bool, typer.Option("-c", "--continue", help="Go on with the session used last.")] = False,
    session: Annotated[str, typer.Option("--session", metavar="ID", help="Go on with this session.")] = "",
) -> None:
    """\b
    Examples:
      umi-local ask "What is 17% of 2,480 plus 36?"
      cat letter.txt | umi-local ask "Which date is named here?"
      umi-local ask --allow write_file "Save a list of these files in index.txt"

    Answer one question with the help of tools. The answer goes to standard output, the steps to standard error.
    Beside piped text, which others may have written, all that is risky asks, unless --allow names it.

    Exit codes: 0 answered, 1 gave up or stopped without an answer, 2 usage or configuration, 3 model missing,
    corrupt or failed, 4 out of memory, 5 a needed tool was denied, 130 interrupted.
    """
    from umi_local.assemble import check_tool_names, chosen_tools, known_tools, toolbox_for
    from umi_local.cli.approve import ask_on_terminal, keyboard
    from umi_local.permissions import approval_for, tools_named
    from umi_local.sessions import open_store
    from umi_local.toolbox import taint_of

    if json_output and stream_json:
        raise UsageError("--json and --stream-json exclude each other.", "Give one of them.")
    piped = piped_text()
    question = whole_query(query, piped)
    wanted = choices.resolve(pack, model, adapter, mode=mode, max_steps=max_steps, seed=seed, gpu_layers=gpu_layers)
    chosen = chosen_tools(choices.tool_names(tools))
    check_tool_names(tools_named([*(allow or ()), *(deny or ())]))
    keys = keyboard()
    asking = partial(ask_on_terminal, keys=keys) if keys else None
    approval = approval_for(wanted.settings, workspace, allow or (), deny or (), asking)
    toolbox_for(chosen, workspace, approval)  # a wrong folder is told before anything is fetched
    store = open_store()
    session_id, history = conversation(store, session, continue_)
    choices.pull_missing(wanted)
    session_id = session_id or store.create(wanted.pack_name, workspace.absolute(), wanted.settings.mode)
    approval.audit.session = session_id
    approval.taint = taint_of(store.trajectories(session_id), known_tools())
    outside = bool(query.strip() and piped)  # text that comes without a question is the question
    if outside:
        approval.saw_piped()
    toolbox = toolbox_for(chosen, workspace, approval, session_id)
    output = JsonOutput() if json_output else StreamOutput() if stream_json else AnswerOutput()
    # The printer takes its passing line away before the answer is written in its place.
    listeners = [store.record(session_id), None if quiet else StepPrinter(), output]
    trajectory, stats = answer(wanted, toolbox, question, history, listeners, outside)
    output.finish(result_json(trajectory, wanted.pack_name, session_id, stats))
    if trajectory.stop in _ENDINGS and not quiet:
        typer.echo(_ENDINGS[trajectory.stop], err=True)
    code = exit_code(trajectory)
    if code == DENIED:
        typer.echo("A tool was denied, so nothing it was to do was done, whatever the answer says.", err=True)
    raise typer.Exit(code)


def answer(
    wanted: Setup,
    toolbox: LocalToolbox,
    question: str,
    history: Sequence[Message],
    listeners: Sequence[Emit | None],
    outside: bool,
) -> tuple[Trajectory, dict[str, Any]]:
    """One run on llama.cpp, and what it cost."""
    from umi_local.assemble import agent_for, backend_for, broadcast, context_for, tell_of_servers
    from umi_local.stats import Stats

    stats, started = Stats(), time.monotonic()
    backend = backend_for(wanted)
    try:
        emit = broadcast(stats, *listeners)
        tell_of_servers(wanted, emit)
        agent = agent_for(wanted, backend, toolbox, emit)
        trajectory = agent.run(question, history, context_for(toolbox), outside)
    finally:
        backend.close()
    return trajectory, stats.to_json(time.monotonic() - started)


def piped_text() -> str:
    """What was piped in, if anything.

    Raises:
        UsageError: the pipe holds no text, or it holds more than 8 MB.
    """
    piped = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read(_PIPE_LIMIT + 1)
    if len(piped) > _PIPE_LIMIT:
        raise UsageError("More than 8 MB came in on standard input.", "Put it into a file and ask about that.")
    try:
        text = piped.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError("What came in on standard input is not UTF-8 text.", "Pipe text, or name a file in the query.")
    return text.strip()


def whole_query(query: str, piped: str) -> str:
    """The argument and what was piped in.

    Raises:
        UsageError: both are empty.
    """
    whole = "\n\n".join(part for part in (query.strip(), piped) if part)
    if not whole:
        raise UsageError("There is no question.", 'Try: umi-local ask "What day is it?"')
    return whole


def conversation(store: SessionStore, session: str, latest: bool) -> tuple[str, tuple[Message, ...]]:
    """The session to go on with and what was said in it; empty for a new one. Unanswered runs are left out."""
    from umi_local.conversation import history_of

    if not session and not latest:
        return "", ()
    found = store.get(session).id if session else store.latest().id
    return found, history_of(store.trajectories(found))


def exit_code(trajectory: Trajectory) -> int:
    """0 answered, 1 no answer, 5 a tool was denied, 130 cancelled."""
    if trajectory.stop is StopReason.CANCELLED:
        return 130
    if any(observation.denied for step in trajectory.steps for observation in step.observations):
        return DENIED
    return 0 if trajectory.answer else 1
