"""The families of requests, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from umi_local.training.everyday.calculator import calculator
from umi_local.training.everyday.chat import chat, impossible
from umi_local.training.everyday.dates import add_to_date, current_time, date_difference
from umi_local.training.everyday.documents import documents
from umi_local.training.everyday.files import list_files, read_file, search_files
from umi_local.training.everyday.notes import add_note, run_python, search_notes, write_file
from umi_local.training.everyday.pasted import pasted
from umi_local.training.everyday.scene import Ask, Scene
from umi_local.training.everyday.several import several
from umi_local.training.everyday.tables import query_table
from umi_local.training.everyday.troubles import troubles
from umi_local.training.everyday.units import convert_units

Family = Callable[[Scene], Ask]

FAMILIES: Mapping[str, Family] = {
    "calculator": calculator,
    "convert_units": convert_units,
    "current_time": current_time,
    "date_difference": date_difference,
    "add_to_date": add_to_date,
    "list_files": list_files,
    "read_file": read_file,
    "documents": documents,
    "search_files": search_files,
    "query_table": query_table,
    "add_note": add_note,
    "search_notes": search_notes,
    "write_file": write_file,
    "run_python": run_python,
    "troubles": troubles,
    "several": several,
    "pasted": pasted,
    "chat": chat,
    "impossible": impossible,
}
