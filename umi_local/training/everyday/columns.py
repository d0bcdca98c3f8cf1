"""How people write the columns of a table, and how they speak of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from umi_local.training.everyday.phrasing import lines_of


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


# How people write the columns of a table.
MANNERS: Mapping[str, Callable[[str], str]] = {
    "unit_price": str,
    "Unit Price": lambda name: name.replace("_", " ").title(),
    "Unit price": lambda name: name.replace("_", " ").capitalize(),
    "unitPrice": _camel,
    "UNIT_PRICE": str.upper,
}


def plain(column: str) -> str:
    """A column's name as the schemas have it, however the table writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).replace(" ", "_").lower()


def said(rng: Random, column: str) -> str:
    """A column in a sentence: mostly in plain words, now and then in other ones or as it is written."""
    name = plain(column)
    roll = rng.random()
    if roll < 0.12:
        called = dict(entry.split() for entry in lines_of("troubles", "column")["called"])
        name = called.get(name, name)
    return column if roll > 0.75 else name.replace("_", " ")
