"""Requests that bring their text with them, as a pipe or a paste does: what it says is data and asks for nothing."""

from __future__ import annotations

from random import Random

from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.files import told, unmentioned
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Scene
from umi_local.training.everyday.texts import drafted
from umi_local.training.everyday.values import money, pick, words


def pasted(scene: Scene) -> Ask:
    """A question about the text that stands below it."""
    roll = scene.rng.random()
    if roll < 0.2:
        return _prices(scene.rng)
    return _text(scene, "whole" if roll < 0.4 else "missing" if roll < 0.5 else "fact")


def _text(scene: Scene, wanted: str) -> Ask:
    rng, lines = scene.rng, lines_of("pasted", "text")
    text, content = drafted(scene, size=rng.choice((2, 3, 3)) if wanted == "whole" else 0)
    fact = rng.choice(text.facts)
    if wanted == "whole":
        query = ask(rng, lines["whole"])
        answer = say(rng, lines["whole_answer"], a=" ".join(fact.answer for fact in text.facts))
    elif wanted == "missing":
        key = unmentioned(rng, content)
        query, answer = ask(rng, lines["key"], k=key), say(rng, lines["missing_answer"], k=key)
    else:
        slots = {"k": fact.key, "q": fact.question, "Q": upper_first(fact.question)}
        query = ask(rng, lines["key" if fact.key else "said"], **slots)
        answer = told(rng, fact, "the text")
    return Ask("pasted", _with_text(rng, query, content), [], lambda _: upper_first(answer))


def _prices(rng: Random) -> Ask:
    """A bill whose lines are to be added up."""
    lines = lines_of("pasted", "prices")
    things = rng.sample(words("object"), rng.randint(3, 6))
    amounts = [money(rng, 1, 60) for _ in things]
    form = rng.choice(("{}: {}", "- {} {}", "{} - {}", "{}  {}", "{}; {}"))
    head = [pick(rng, "city")] if rng.random() < 0.3 else []
    bill = "\n".join([*head, *(form.format(thing, amount) for thing, amount in zip(things, amounts, strict=True))])
    return Ask(
        "pasted",
        _with_text(rng, ask(rng, lines["queries"]), bill),
        [sum_move(" + ".join(amounts))],
        lambda seen: say(rng, lines["answers"], v=seen[-1].rpartition(" = ")[2]),
    )


def _with_text(rng: Random, query: str, content: str) -> str:
    """Mostly as `umi-local ask` puts them together, with a blank line between them."""
    text = content.strip()
    return rng.choice((f"{query}\n\n{text}", f"{query}\n\n{text}", f"{query}\n\n{text}", f"{query}\n{text}"))
