"""Arithmetic in everyday notation (1,250; 8% of 50; 3 × 4; 2^8; √2; 5!) rewritten in Python's."""

from __future__ import annotations

import re

PERCENT = "percent"  # `17**percent`: ** is the one binary operator that binds as tightly as a percent sign

_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "−": "-", "–": "-", "—": "-", "^": "**",
                        "π": "pi", "²": "**2", "³": "**3", "$": "", "€": "", "£": "", "¥": "", "₹": ""})  # fmt: skip
_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)")
_ONE_ARGUMENT = {"sqrt", "abs", "floor", "ceil", "ln", "log2", "log10", "exp", "sin", "cos", "tan", "factorial"}


def as_python(expression: str) -> str:
    """The same expression as Python would write it, with postfix percent signs as `**percent`.

    What is no arithmetic passes through and is left for Python's parser to refuse.
    """
    text = " ".join(expression.translate(_SIGNS).split()).strip("=? ")
    text = re.sub(rf"√ ?({_NUMBER})", r"sqrt(\1)", text).replace("√", "sqrt")
    text = re.sub(r"(\d+)!(?!=)", r"factorial(\1)", text)
    text = _without_thousands_commas(text)
    text = re.sub(r"(?<=[\d)%]) ?[xX] ?(?=[\d(.])", "*", text)
    text = re.sub(r"(?<![\w.])0+(?=\d)", "", text)
    text = re.sub(rf"(?<![\w.])({_NUMBER}) ?(?=\()|(\)) ?(?=\()", r"\1\2*", text)  # 2(3 + 4), (1 + 2)(3 + 4)
    return _percents(text)


def _without_thousands_commas(text: str) -> str:
    def joined(found: re.Match[str]) -> str:
        return found[0] if _separates_arguments(text, found) else found[0].replace(",", "")

    return _THOUSANDS.sub(joined, text)


def _separates_arguments(text: str, found: re.Match[str]) -> bool:
    """Whether the commas of `3,480` stand between arguments, as in max(3,480).

    They do not where the function takes one argument, where others are set apart by `, `, or before a leading zero.
    """
    depth = 0
    for at in range(found.start() - 1, -1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if depth < 0:
            name = re.search(r"([A-Za-z]\w*) ?$", text[:at])
            inside = text[at:].partition(")")[0]
            single = name is None or name[1].lower() in _ONE_ARGUMENT
            return not (single or ", " in inside or re.search(r",0", found[0]))
    return False


def _percents(text: str) -> str:
    """A % that an operand follows stays the remainder: `17 % 5`, and `17 % -5` when spaced like that."""
    text = re.sub(r"\bper ?cent\b", "%", text, flags=re.IGNORECASE)
    text = re.sub(r"% ?of\b", f"**{PERCENT}*", text, flags=re.IGNORECASE)
    return re.sub(r"%(?! ?[\w(.])(?!(?<= %) -[\d(.])", f"**{PERCENT}", text)
