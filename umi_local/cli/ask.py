"""`umi-local ask`: one question, one answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli import choices
from umi_local.cli.console import StepPrinter
from umi_local.cli.output import AnswerOutput, JsonOutput, StreamOutput, result_json
from umi_local.errors import UmiError, UsageError
from umi_local.events import Event, RunEnded
from umi_local.stats import Stats
from umi_local.trajectory import StopReason

if TYPE_CHECKING:
    from umi_local.conversation import Verdict
    from umi_local.toolbox import ApprovalRequest
    from umi_local.trajectory import Trajectory

DENIED = 5
_PIPE_LIMIT = 8_000_000
_ENDINGS = {
    StopReason.GAVE_UP: "The agent gave up.",
    StopReason.LOOP: "The agent repeated itself and was stopped; the answer is from what it knew.",
    StopReason.STEP_LIMIT: "The agent used up its steps; the answer is from what it knew. See --max-steps.",
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
    from umi_local.assemble import check_tool_names, chosen_tools
    from umi_local.conversation import Conversation
    from umi_local.permissions import approval_for, tools_named
    from umi_local.sessions import open_store

    if json_output and stream_json:
        raise UsageError("--json and --stream-json exclude each other.", "Give one of them.")
    piped = piped_text()
    question = whole_query(query, piped)
    wanted = choices.resolve(pack, model, adapter, mode=mode, max_steps=max_steps, seed=seed, gpu_layers=gpu_layers)
    chosen, rules = chosen_tools(choices.tool_names(tools)), (allow or (), deny or ())
    check_tool_names(tools_named([*rules[0], *rules[1]]))
    # A wrong folder or rule is told before anything is fetched.
    workspace = choices.folder(workspace)
    approval_for(wanted.settings, workspace, *rules)
    store = open_store()
    found = store.get(session).id if session else store.latest().id if continue_ else ""
    choices.pull_missing(wanted)
    talk = Conversation(wanted, chosen, workspace, store, _approver(), *rules, found)
    output = JsonOutput() if json_output else StreamOutput() if stream_json else AnswerOutput()
    ending = _Ending()
    # The printer takes its passing line away before the answer is written in its place.
    listeners = [ending, *([] if quiet else [StepPrinter()]), output]

    def finish(run: Trajectory) -> None:
        output.finish(result_json(run, wanted.pack_name, talk.session, ending.stats()))

    try:
        # Text that comes without a question is the question.
        trajectory, _ = talk.ask(question, *listeners, piped=bool(query.strip() and piped))
    except (UmiError, KeyboardInterrupt):
        if ending.run and (json_output or stream_json):  # who reads JSON is told how it ended
            finish(ending.run)
        raise
    finally:
        talk.close()
    finish(trajectory)
    if trajectory.stop in _ENDINGS and not quiet:
        typer.echo(_ENDINGS[trajectory.stop], err=True)
    code = exit_code(trajectory)
    if code == DENIED:
        typer.echo("A tool was denied, so nothing it was to do was done, whatever the answer says.", err=True)
    raise typer.Exit(code)


class _Ending:
    """Keeps how a run ended and what it cost, also of one that fails."""

    def __init__(self) -> None:
        self.run: Trajectory | None = None
        self._stats, self._started = Stats(), time.monotonic()

    def __call__(self, event: Event) -> None:
        self._stats(event)
        if isinstance(event, RunEnded):
            self.run = event.trajectory

    def stats(self) -> dict[str, Any]:
        return self._stats.to_json(time.monotonic() - self._started)


def _approver() -> Callable[[ApprovalRequest], Verdict] | None:
    """Who is asked: the person at the terminal, once for each call; None where there is nobody."""
    from umi_local.cli.approve import ask_on_terminal, keyboard
    from umi_local.conversation import Verdict

    keys = keyboard()
    if keys is None:
        return None
    return lambda request: Verdict.ONCE if ask_on_terminal(request, keys) else Verdict.DENY


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


def exit_code(trajectory: Trajectory) -> int:
    """0 answered, 1 no answer, 5 a tool was denied."""
    if any(observation.denied for step in trajectory.steps for observation in step.observations):
        return DENIED
    return 0 if trajectory.answer else 1
