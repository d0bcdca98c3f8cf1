"""The program that run_python starts in the child process: it executes main.py in the current folder.

If nothing was printed and the last statement is an expression, its value is printed: small models forget to.
An exception becomes one line on stderr, with the line of main.py that it comes from.
"""

from __future__ import annotations

import ast
import os
import sys
import traceback
from pathlib import Path
from typing import Any

NAME = "main.py"


def main() -> int:
    try:
        execute(Path(NAME).read_text(encoding="utf-8"))
    except SystemExit:
        raise
    except BaseException as error:  # whatever the code raises is told in the same way
        print(described(error), file=sys.stderr)
        return 1
    return 0


def execute(source: str) -> None:
    tree = ast.parse(source, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(tree, NAME, "exec"), scope)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), NAME, "eval"), scope)
        sys.stdout.flush()
        if value is not None and os.fstat(1).st_size == 0:  # stdout is a file here
            print(value)
    sys.stdout.flush()  # a full disk must be an error, not a message at exit


def described(error: BaseException) -> str:
    told = traceback.format_exception_only(error)[-1]  # of a SyntaxError the other lines repeat the code
    told = " ".join(told.split())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{told} (line {line})" if line else told


if __name__ == "__main__":
    sys.exit(main())
