"""Text from models, tools and files made safe for a terminal, which would act on what it should only show."""

from __future__ import annotations

import json
import re
from typing import Any

# Whole sequences: CSI; OSC, DCS, SOS, PM and APC with their end; then any two-character escape.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_UNSHOWABLE = re.compile(f"[{_CONTROLS}]")
_SURROGATES = "\ud800-\udfff"
_ESCAPED = re.compile(f"[{_CONTROLS}{_SURROGATES}]")
_LONE = re.compile(f"[{_SURROGATES}]")


def printable(text: str) -> str:
    """`text` without escape sequences, control characters (but tab and line feed) and bidi overrides."""
    return _LONE.sub("\ufffd", _UNSHOWABLE.sub("", _SEQUENCES.sub("", text)))


def visible(text: str) -> str:
    """`text` with each of those written out (`\\x1b`), for where a person must see that they are there."""
    return _ESCAPED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def as_json(value: Any, indent: int | None = 2) -> str:
    """`value` as JSON that a terminal shows as it is and that any reader decodes to the same value."""
    return escaped(json.dumps(value, ensure_ascii=False, indent=indent))


def escaped(json_text: str) -> str:
    """The same JSON with what `printable` would remove as escapes; such characters stand in its strings only."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)
