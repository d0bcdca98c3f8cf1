"""Requests for calculator: percentages, bills, totals, word problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from random import Random

from pydantic import BaseModel, ConfigDict, TypeAdapter

from umi_local.tools.arithmetic import evaluate, plain_number
from umi_local.training.everyday.phrasing import ask, chosen, data, filled, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Move, Scene
from umi_local.training.everyday.values import money, pick

_CURRENCIES = (
    "€{}",
    "${}",
    "£{}",
    "{} euros",
    "{} dollars",
    "{} pounds",
    "{} EUR",
    "{} USD",
    "{} francs",
    "{}",
    "₹{}",
    "{} kroner",
    "{} zloty",
)
_PERCENTS = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    22,
    24,
    25,
    28,
    30,
    32,
    33,
    35,
    40,
    45,
    50,
    55,
    60,
    65,
    70,
    75,
    80,
    85,
    90,
    2.5,
    7.5,
    12.5,
    17.5,
    22.5,
    1.5,
    3.5,
    0.5,
)
_OPERATION_SIGNS = {"*": ("x", "×", "*", "*"), "/": ("/", "÷", "/"), "-": ("-",), "+": ("+",)}


class Situation(BaseModel):
    """One kind of sum: how it is asked, what the calculator is given, how it is answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: dict[str, str]
    expressions: list[str]
    queries: list[str]
    answers: list[str]
    money: str = ""
    extra: dict[str, str] = {}


@cache
def situations() -> dict[str, Situation]:
    """The situations of the data files, by name."""
    found = {name: content for name, content in {**data("stories"), **data("calculator")}.items() if name != "any"}
    return TypeAdapter(dict[str, Situation]).validate_python(found)


def calculator(scene: Scene) -> Ask:
    """A sum in words or in figures."""
    rng = scene.rng
    situation = rng.choice(list(situations().values()))
    raw, expression = _sum(rng, situation)
    currency = rng.choice(_CURRENCIES) if situation.money else "{}"
    shown = {key: _shown(rng, text, situation.values.get(key, ""), currency) for key, text in raw.items()}
    query = ask(rng, situation.queries, **shown, expr=_as_typed(rng, expression))

    def close(seen: Sequence[str]) -> str:
        told = currency.format(seen[-1].rpartition(" = ")[2])
        answers = situation.answers if rng.random() < 0.8 else lines_of("calculator", "any")["answers"]
        return upper_first(say(rng, answers, **{**shown, "expr": expression, "r": told}))

    facts = {"number": plain_number(evaluate(expression)), "money": bool(situation.money), "currency": currency}
    return Ask("calculator", query, [sum_move(expression)], close, facts=facts)


def sum_move(expression: str) -> Move:
    """A step that evaluates an expression."""
    return Move("calculator", {"expression": expression})


def _sum(rng: Random, situation: Situation) -> tuple[dict[str, str], str]:
    """Values and their expression; mostly such as give a result that is pleasant to read."""
    patience = 0 if rng.random() < 0.15 else 30
    while True:
        raw = {key: _number(rng, kind) for key, kind in {**situation.values, **situation.extra}.items()}
        raw |= {"first": pick(rng, "first")}
        expression = filled(chosen(rng, rng.choice(situation.expressions)), raw)
        raw |= _verbs(rng, expression)
        result = evaluate(expression)
        if patience <= 0 or (result > 0 and len(plain_number(result).partition(".")[2]) <= 3):
            return raw, expression
        patience -= 1


def _verbs(rng: Random, expression: str) -> dict[str, str]:
    """Verbs for a sum of three numbers, by the sign of the last."""
    gains = " + " in expression
    out = rng.choice(
        (
            ("gave away", "given away", "Sold"),
            ("lost", "lost", "Lost"),
            ("sold", "sold", "Sold"),
            ("used up", "used up", "Used"),
            ("lent out", "lent out", "Lent"),
        )
    )
    into = rng.choice(
        (
            ("bought", "bought", "bought"),
            ("received", "delivered", "delivered"),
            ("found", "found", "found"),
            ("got back", "brought back", "returned"),
        )
    )
    second = into if gains else rng.choice((("threw out", "thrown out", "broken"), ("donated", "donated", "donated")))
    return {"v1": out[0], "v2": second[0], "v3": out[1], "v4": second[1], "B3": out[2], "b4": second[2]}


def _number(rng: Random, kind: str) -> str:
    name, _, rest = kind.partition(" ")
    if name == "p":
        return f"{rng.choice(_PERCENTS):g}"
    if name == "of":
        return rng.choice(rest.split(";"))
    if name in ("n", "m", "d"):
        low, high = (float(bound) for bound in rest.split())
        if name == "m":
            return money(rng, low, high)
        if name == "d":
            return f"{rng.uniform(low, high):.1f}".removesuffix(".0")
        number = rng.randint(int(low), int(high))
        return str(number if number < 200 or rng.random() < 0.4 else number // 10 * 10)
    return pick(rng, name)


def _shown(rng: Random, text: str, kind: str, currency: str) -> str:
    """A number as people write it: with a currency, with a comma for thousands, as a word."""
    if not re.fullmatch(r"[\d.]+", text):
        return text
    whole, dot, rest = text.partition(".")
    if len(whole) > 3 and rng.random() < 0.5:
        text = f"{int(whole):,}{dot}{rest}"
    if kind.startswith("m ") or kind.startswith("of 50;60"):
        return currency.format(text)
    small = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    if kind.startswith("n 2 ") and int(text.replace(",", "")) <= 12 and rng.random() < 0.3:
        return small[int(text)]
    return text


def _as_typed(rng: Random, expression: str) -> str:
    """The expression as someone may type it: other signs, no blanks."""
    typed = re.sub(r" ([*/+-]) ", lambda found: f" {rng.choice(_OPERATION_SIGNS[found[1]])} ", expression)
    return typed.replace(" ", "") if rng.random() < 0.2 and "x" not in typed and typed[0] != "(" else typed
