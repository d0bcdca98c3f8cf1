"""How a byte-level tokenizer cuts text before it merges, under the names that llama.cpp has for it.

llama.cpp does not read regular expressions from a file: it has its own for each name. So a tokenizer.json is matched
by what it does; one that does something else is refused, since another way of cutting gives other tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from umi_local.errors import UsageError

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_POSSESSIVE = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|"
_POSSESSIVE_REST = r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+{s}|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*{s}|"
)
_CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_THREES, _ONE = r"\p{N}{1,3}", r"\p{N}"

# The steps of a tokenizer, each as `_steps` writes it, and llama.cpp's name. Names with the same expressions differ in
# nothing that a file does not state itself.
_KNOWN: Mapping[tuple[str, ...], str] = {
    ("bytes with words",): "gpt-2",
    ("digits one by one", "bytes with words"): "smollm",
    (f"split {_WORDS}{_ONE}{_REST}", "bytes"): "qwen2",
    (f"split {_WORDS}{_THREES}{_REST}", "bytes"): "dbrx",
    (f"split {_POSSESSIVE}{_THREES}{_POSSESSIVE_REST}", "bytes"): "dbrx",
    (f"split {_CASED.replace('{s}', _SUFFIXES)}{_THREES}{_CASED_REST}", "bytes"): "gpt-4o",
    (f"split {_CASED.replace('{s}', '')}{_ONE}{_CASED_REST}", "bytes"): "tekken",
    (r"split [\r\n]", r"split \s?\p{L}+", r"split \s?\p{P}+", "split [一-龥ࠀ-一가-퟿]+", "digits one by one", "bytes"):
        "deepseek-coder",
    ("punctuation", "bytes with words", "digits", "split [0-9][0-9][0-9]"): "falcon",
}  # fmt: skip


def pre_of(tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for a tokenizer.json's way of cutting.

    Raises:
        UsageError: it has none.
    """
    steps = (*_rewrites(tokenizer.get("normalizer")), *_steps(tokenizer.get("pre_tokenizer")))
    name = _KNOWN.get(steps, "")
    model = tokenizer.get("model")
    if name == "dbrx" and isinstance(model, dict) and model.get("ignore_merges"):
        return "llama-bpe"
    if not name:
        how = ", then ".join(ascii(step)[1:61] for step in steps) or "not at all"
        raise UsageError(
            f"The tokenizer cuts text in a way that llama.cpp has no name for: {how}.",
            "If you know its name there, give it with --pre NAME.",
        )
    return name


def _rewrites(normalizer: Any) -> Iterator[str]:
    """What is changed in a text before it is cut: llama.cpp changes nothing. NFC leaves nearly all texts alone."""
    match normalizer:
        case None | {"type": "NFC"}:
            return
        case {"type": "Sequence", "normalizers": list(parts)}:
            for part in parts:
                yield from _rewrites(part)
        case {"type": str(kind)}:
            yield f"rewritten by {kind}"
        case _:
            yield "something unreadable"


def _steps(pre: Any) -> Iterator[str]:
    """What is done to a text, one step after the other, in words that leave out what makes no difference."""
    match pre:
        case {"type": "Sequence", "pretokenizers": list(parts)}:
            for part in parts:
                yield from _steps(part)
        case {"type": "ByteLevel"}:
            if pre.get("add_prefix_space"):
                yield "a space before the text"
            yield "bytes with words" if pre.get("use_regex", True) else "bytes"
        case {"type": "Digits"}:
            yield "digits one by one" if pre.get("individual_digits") else "digits"
        case {"type": "Punctuation"}:
            yield "punctuation"
        case {"type": "Split", "pattern": {"Regex": str(pattern)}}:
            # What is found becomes a piece. To remove what is not found is the same where everything is.
            way = pre.get("behavior", "Isolated"), bool(pre.get("invert"))
            if way not in (("Isolated", False), ("Removed", True)):
                yield f"the next one {way[0]}"
            yield "digits one by one" if pattern in (r"\p{N}", r"\d") else f"split {pattern}"
        case {"type": str(kind)}:
            yield kind.lower()
        case None:
            return
        case _:
            yield "something unreadable"
