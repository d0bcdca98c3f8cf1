"""Arithmetic in everyday notation (1,250; 8% of 50; 3 × 4; 2 1/2; 2^8; √2; 5!; half of 60) rewritten in Python's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from umi_local.toolbox import ToolError

PERCENT = "percent"  # `17**percent`: ** is the one binary operator that binds as tightly as a percent sign

_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "−": "-", "–": "-", "—": "-", "^": "**",
                        "π": "pi", "²": "**2", "³": "**3", "$": "", "€": "", "£": "", "¥": "", "₹": ""})  # fmt: skip
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_BARE = rf"(?<![\w./]){_NUMBER}"  # a number of its own, whose beginning is looked for once
_SURELY = "％"  # a percent sign that is none of a remainder
_PARTS = {"half": 2, "third": 3, "quarter": 4}
# What people write in words, in any case, and the same in signs; each is tried behind those above it.
_WORDS: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (rf"({_BARE}) ?(?:usd|eur|gbp|chf|dollars?|euros?)\b", r"\1"),
    (rf"\b(?:usd|eur|gbp|chf) ?(?={_NUMBER})", ""),
    (rf"({_BARE}) thousand\b", r"(\1*10**3)"),
    (rf"({_BARE}) million\b", r"(\1*10**6)"),
    (rf"({_BARE}) billion\b", r"(\1*10**9)"),
    (r"\b(?:sin|cos|tan) ?\([^()]*\)", lambda found: _in_radians(found[0])),
    (rf"({_BARE}) ?(?:°|degrees?\b)(?! ?\()", r"\1"),
    (r" ?\bper ?cent\b", _SURELY),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b", "*"),
    (r"\bdivided by\b", "/"),
    (r"\bto the power of\b", "**"),
    (r" ?\bsquared\b", "**2"),
    (r" ?\bcubed\b", "**3"),
    (rf"\b(?:the )?square root of ({_NUMBER})", r"sqrt(\1)"),
    (r"\b(?:the )?square root of (?=\()", "sqrt"),
    (
        r"((?:^|[(+-]) ?)(?:a |one )?(half|third|quarter) (?:of )?(?=[\d(])",
        lambda found: f"{found[1]}1/{_PARTS[found[2].lower()]}*",
    ),
    (r"(\d ?/ ?\d+|\)|(?<![\d.])0?\.\d+) of\b", r"\1*"),
]
_THOUSANDS = re.compile(r"(?<![\d.,])(?!0)\d{1,3}(?:,\d{3})+(?!\d)")
_PARTS_OF_ONE = ("2", "3", "4", "5", "8")
_OF_SEVERAL = {"min", "max", "sum", "average", "avg", "mean", "gcd", "lcm", "hypot", "pow", "round", "log"}
_CLOCK = r"(\d{1,3}):([0-5]\d)"
_CLOCKS = re.compile(rf"{_CLOCK}(?: ?[-+−–] ?{_CLOCK})+")


def without_result(expression: str) -> str:
    """An expression alone: no blanks around it, no name before it (`total = 5*3`), no result behind it (`= 15`)."""
    text = " ".join(expression.split()).strip("=? ")
    text = re.sub(r"^[A-Za-z_]\w* ?=(?!=) ?", "", text)
    return re.sub(r"(?<![=<>!]) ?=(?!=)[\d.,$€£ -]*%?$", "", text).strip("=? ")


def as_python(expression: str) -> str:
    """The same expression as Python would write it, with postfix percent signs as `**percent`.

    What is no arithmetic passes through and is left for Python's parser to refuse.

    Raises:
        ToolError: a remainder was written that was surely meant as a percentage.
    """
    text = re.sub(r"(?:(\d+) ?)?([¼½¾⅓⅔⅛⅜⅝⅞])", _fraction, without_result(expression))
    text = " ".join(text.translate(_SIGNS).split())
    if is_of_clock_times(text):
        return re.sub(_CLOCK, lambda found: f"({int(found[1])}+{int(found[2])}/60)", text)
    text = _plain_numbers(text)
    for pattern, signs in _WORDS:
        text = re.sub(pattern, signs, text, flags=re.IGNORECASE)
    text = re.sub(rf"√ ?(-?{_NUMBER})", r"sqrt(\1)", text).replace("√", "sqrt")
    text = re.sub(r"(\d+)!(?!=)", r"factorial(\1)", text)
    text = re.sub(rf"(?<=[\d)%{_SURELY}]) ?[xX](?: ?(?=[\d(.])| (?=-\d))", "*", text)
    text = re.sub(r"(?<![\w.])0+(?=\d)", "", text)
    text = re.sub(r"\*\* ?1 ?/ ?(\d+)(?![\d.]| ?\*\*)", r"**(1/\1)", text)  # nobody writes a power of 1
    # 2(3 + 4), (1 + 2)(3 + 4), 2pi
    text = re.sub(rf"(?<![\w.])({_NUMBER}) ?(?=\(|pi\b|sqrt\()|(\)) ?(?=\()", r"\1\2*", text)
    return _percents(text)


def is_of_clock_times(expression: str) -> bool:
    """Whether it adds or subtracts hours and minutes alone: 17:00 - 8:30."""
    return _CLOCKS.fullmatch(expression) is not None


def _in_radians(function: str) -> str:
    """The angles that are told in degrees, of a function's argument; one that turns them itself is left as it is."""
    if re.search(r"/ ?180\b", function):
        return function
    return re.sub(rf"({_BARE}) ?(?:°|deg(?:rees?)?\b)", r"(\1*pi/180)", function, flags=re.IGNORECASE)


def _fraction(found: re.Match[str]) -> str:
    return f"({found[1] or 0}+{unicodedata.normalize('NFKC', found[2]).replace('⁄', '/')})"


def _plain_numbers(text: str) -> str:
    """Numbers as Python writes them: 1,250 and 1 250 are 1250, 12,50 is 12.50, 2 1/2 is (2+1/2)."""

    def joined(found: re.Match[str]) -> str:
        return found[0] if _separates_arguments(text, found) else found[0].replace(",", "")

    if not re.search(r"[A-Za-z] ?\(", text):  # where no comma can stand between arguments
        text = re.sub(r"(?<![\d.,])0,(\d+)(?![\d.,])", r"0.\1", text)
    text = _THOUSANDS.sub(joined, text)
    text = re.sub(r"(?<=\d),(?=0\d\d(?!\d))", "", text)  # max(1,000,2,000): no argument begins with a zero
    if "(" not in text:
        text = re.sub(
            r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+|\d+),(\d{1,2})(?![\d.,])",
            lambda found: f"{found[1].replace('.', '')}.{found[2]}",
            text,
        )
    text = re.sub(r"(?<![\d.,] )(?<![\w.,])\d{1,3}(?: \d{3})+(?![\d.,])", lambda found: found[0].replace(" ", ""), text)
    return re.sub(r"(?<![\w.])(\d+) (\d{1,2}/\d{1,2})(?![\w.])", r"(\1+\2)", text)


def _separates_arguments(text: str, found: re.Match[str]) -> bool:
    """Whether the commas of `3,480` stand between arguments, as in max(3,480).

    They do not where the function takes one argument, where others are set apart by `, `, or before a leading zero.
    """
    depth = 0
    for at in range(found.start() - 1, -1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if depth < 0:
            name = re.search(r"([A-Za-z]\w*) ?$", text[:at])
            several = name is not None and name[1].lower() in _OF_SEVERAL
            return several and ", " not in text[at:].partition(")")[0] and ",0" not in found[0]
    return False


def _percents(text: str) -> str:
    """A % that an operand follows stays the remainder: `17 % 5`, and `17 % -5` when spaced like that."""
    alone = re.fullmatch(rf"({_NUMBER}) ?% ?\(?({_NUMBER})\)?", text)
    if alone and 0 < float(alone[1]) < float(alone[2]):
        raise ToolError(
            f"{alone[1]} % {alone[2]} is the remainder of a division, {alone[1]}."
            f" For a percentage write {alone[1]}% of {alone[2]}."
        )
    text = re.sub(rf"((?:^|[-+*(]) ?)(\d+) ?/ ?(\d+)(?= ?[%{_SURELY}])", _of_one, text)
    text = re.sub(
        rf"({_NUMBER}|\(\d+/\d+\))[%{_SURELY}] ?off (?:of )?(?=[\d(])",
        rf"(1-\1**{PERCENT})*",
        text,
        flags=re.IGNORECASE,
    )
    text = re.sub(rf"[%{_SURELY}] ?of\b", f"**{PERCENT}*", text, flags=re.IGNORECASE)
    text = re.sub(rf"{_SURELY}(?= ?[\w(.])", f"**{PERCENT}*", text).replace(_SURELY, f"**{PERCENT}")
    return re.sub(r"%(?! ?[\w(.])(?!(?<= %) -[\d(.])", f"**{PERCENT}", text)


def _of_one(found: re.Match[str]) -> str:
    """1/2% is half a percent; 45/60% asks what 45 is 60% of."""
    before, part, whole = found.groups()
    return f"{before}({part}/{whole})" if int(part) < int(whole) and whole in _PARTS_OF_ONE else found[0]
