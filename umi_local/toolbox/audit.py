"""A line for every decision on a call: what was to run, who decided, by which rule, and after which reading."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST = 5_000_000  # bytes; then the file is put aside and a new one begun
_LONGEST = 2_000  # characters of an argument


@dataclass
class AuditLog:
    """Appends to a file of JSON lines, readable by its owner alone. Without a file nothing is kept."""

    path: Path | None = None
    session: str = ""

    def decided(
        self,
        tool: str,
        effect: str,
        arguments: Mapping[str, Any],
        refusal: str | None,
        by: str,
        rule: str,
        taint: str,
    ) -> None:
        """Keep one decision. `by` is rule, default, person, nobody, or form for a call that was none.

        Raises:
            OSError: it cannot be kept; then the call must not run.
        """
        if self.path is None:
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "session": self.session,
            "tool": tool,
            "effect": effect,
            "arguments": {name: _short(value) for name, value in arguments.items()},
            "decision": "allowed" if refusal is None else "refused",
            "by": by,
            "rule": rule,
            "tainted": bool(taint),
            "why": refusal or "",
        }
        with self._open() as file:
            file.write(json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was decided, oldest first; lines that a full disk cut short are left out."""
        if self.path is None:
            return
        for path in (self._older(self.path), self.path):
            if path.is_file():
                for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                    try:
                        yield json.loads(line)
                    except ValueError:
                        continue

    def _open(self) -> Any:
        assert self.path is not None
        if self.path.is_file() and self.path.stat().st_size > _LARGEST:
            self.path.replace(self._older(self.path))
        # One write at the end of the file: two processes do not mix their lines.
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", buffering=0)

    @staticmethod
    def _older(path: Path) -> Path:
        return path.with_suffix(".old" + path.suffix)


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}... ({len(value)} characters)"
    return value
