"""The tools that come with umi-local, one file per subject. Heavy libraries are imported when a tool first runs."""

from umi_local.toolbox import Tool

from .arithmetic import calculator
from .dates import add_to_date, current_time, date_difference
from .files import list_files, read_file, search_files, write_file
from .notes import add_note, search_notes
from .python import run_python
from .tables import query_table
from .units import convert_units
from .web import fetch_url

# The order is the order in the prompt: changing it makes every cached prompt and every trained adapter stale.
BUILTIN_TOOLS: tuple[Tool, ...] = (
    calculator,
    current_time,
    date_difference,
    add_to_date,
    convert_units,
    list_files,
    read_file,
    search_files,
    write_file,
    query_table,
    add_note,
    search_notes,
    run_python,
    fetch_url,
)

__all__ = ["BUILTIN_TOOLS"]
