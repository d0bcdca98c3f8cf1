"""`umi-local eval`: measure an agent."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from umi_local.cli.eval_reports import compare, results, show
from umi_local.cli.eval_suites import suite_command
from umi_local.cli.eval_tasks import tasks
from umi_local.evaluation.suites import SUITES


class _Suites(TyperGroup):
    """Names the suites where one is asked for that is not there."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from umi_local.errors import UsageError

            raise UsageError(f"There is no suite {args[0]!r}.", f"The suites are: tasks, {', '.join(SUITES)}.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Suites,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local eval toolbench --data DATA --limit 20 --html toolbench.html
      umi-local eval tasks --file tasks.jsonl --workspace files --report report.json
      umi-local eval show report.json --failed
      umi-local eval compare before.json after.json

    Measure an agent: a table, a JSON report, a page with plots. A run that was broken off goes on where it stopped.
    """,
)
app.command("tasks", short_help="Everyday tasks, end to end, with real tools.")(tasks)
for _name, _entry in SUITES.items():
    app.command(_name, short_help=_entry.help)(suite_command(_name, _entry))
app.command("show", short_help="Read a report; open what went wrong.")(show)
app.command("compare", short_help="Two or more reports, with paired intervals.")(compare)
app.command("results", short_help="Reports of any suites as one page of Markdown.")(results)
