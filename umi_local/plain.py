"""Text from models, tools and files made safe for a terminal, which would act on what it should only show."""

from __future__ import annotations

import json
import re
import unicodedata
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
# Format characters, line and paragraph separators and the like show as nothing or as a mere blank, and so do variation
# selectors. Some languages and many emoji are written with them, so they stay where a text is only read.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LONE = re.compile(f"[{_SURROGATES}]")


def printable(text: str) -> str:
    """`text` without escape sequences, control characters (but tab and line feed) and bidi overrides."""
    return _LONE.sub("\ufffd", _UNSHOWABLE.sub("", _SEQUENCES.sub("", text)))


def visible(text: str) -> str:
    """`text` with each of those, and what shows as nothing, written out (`\\x1b`), for who must see what is there."""
    odd = {char for char in set(text) if unicodedata.category(char) in _UNSEEN or _SELECTORS.match(char)}
    hidden = odd - {"\n", "\t"}
    return text.translate({ord(char): char.encode("unicode_escape").decode("ascii") for char in hidden})


def as_json(value: Any, indent: int | None = 2) -> str:
    """`value` as JSON that a terminal shows as it is and that any reader decodes to the same value."""
    return escaped(json.dumps(value, ensure_ascii=False, indent=indent))


def escaped(json_text: str) -> str:
    """The same JSON with what `printable` would remove as escapes; such characters stand in its strings only."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)
