"""How much memory the machine has, where it says."""

from __future__ import annotations

import sys
from pathlib import Path


def available_memory() -> int:
    """Bytes that can be had without swapping; 0 where the system does not say."""
    return _meminfo("MemAvailable")


def total_memory() -> int:
    """Bytes of the machine's memory; more than any where the system does not say."""
    return _meminfo("MemTotal") or sys.maxsize


def _meminfo(field: str) -> int:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return int(fields.get(field, "0").split()[0]) * 1024
