"""Requests that bring their text with them, as a pipe or a paste does: what it says is data and asks for nothing."""

from __future__ import annotations

import re
from random import Random

from umi_local.training.everyday.calculator import sum_move
from umi_local.training.everyday.files import told, unmentioned
from umi_local.training.everyday.notes import noted, noting
from umi_local.training.everyday.phrasing import ask, lines_of, say, upper_first
from umi_local.training.everyday.scene import Ask, Scene
from umi_local.training.everyday.texts import drafted, said
from umi_local.training.everyday.values import day, money, person, pick, words


def pasted(scene: Scene) -> Ask:
    """A question about the text that stands below it."""
    roll = scene.rng.random()
    if roll < 0.15:
        return _prices(scene.rng)
    if roll < 0.4:
        return _letter(scene.rng)
    if roll < 0.5:
        return _log(scene.rng)
    if roll < 0.57:
        return _kept(scene)
    return _text(scene, "whole" if roll < 0.68 else "missing" if roll < 0.75 else "fact")


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


def _kept(scene: Scene) -> Ask:
    """One fact of the text that is to be noted."""
    rng, lines = scene.rng, lines_of("pasted", "kept")
    text, content = drafted(scene)
    fact = rng.choice([fact for fact in text.facts if fact.key] or text.facts)
    asked = ask(rng, lines["queries"], k=fact.key or fact.value)
    note = re.sub(r"^(The|You|We|It|On|A) ", lambda found: found[0].lower(), fact.answer.removesuffix("."))
    return Ask("pasted", _with_text(rng, asked, content), [noting(note)], noted(rng, note))


def _letter(rng: Random) -> Ask:
    """A message that asks its reader for something; to be told of it is all that the user wants."""
    lines, kinds = lines_of("pasted", "letter"), lines_of("pasted", "text")
    wishes = [said(rng, entry) for entry in rng.sample(lines["wishes"], rng.randint(1, 3))]
    writer, wish = person(rng), rng.choice(wishes)
    body = [wish.line for wish in wishes] + [say(rng, lines["asides"]) for _ in range(rng.randint(0, 2))]
    rng.shuffle(body)
    opening = [say(rng, lines["openings"])] if rng.random() < 0.6 else []
    letter = [say(rng, lines["greetings"], you=pick(rng, "first")), rng.choice((" ", "\n")).join([*opening, *body])]
    letter.append(f"{say(rng, lines['closings'])}\n{writer}")
    if rng.random() < 0.4:
        letter.insert(0, f"From: {writer}\nSubject: {pick(rng, 'topic')}")
    roll = rng.random()
    if roll < 0.2:
        query, answer = ask(rng, lines["who"]), say(rng, lines["who_answer"], w=writer)
    elif roll < 0.6:
        query = ask(rng, [*lines["whole"], *kinds["whole"]], w=writer.partition(" ")[0])
        answer = " ".join(wish.answer for wish in wishes)
        if rng.random() < 0.5:
            answer = f"{say(rng, lines['who_answer'], w=writer)} {answer}"
    else:
        query = ask(rng, kinds["said"], q=wish.question, Q=upper_first(wish.question))
        answer = wish.answer
    return Ask("pasted", _with_text(rng, query, "\n\n".join(letter)), [], lambda _: answer)


def _log(rng: Random) -> Ask:
    """What a program printed, with one thing that went wrong in it."""
    lines = lines_of("pasted", "log")
    part, fault = rng.choice(lines["parts"]), say(rng, lines["faults"], n=rng.randint(2, 900))
    fine = [f"{rng.choice(lines['parts'])}: {say(rng, lines['fine'], n=rng.randint(2, 900))}" for _ in range(6)]
    shown = [(rng.choice(("INFO", "INFO", "DEBUG")), line) for line in fine[: rng.randint(1, 6)]]
    shown.insert(rng.randint(0, len(shown)), (rng.choice(("ERROR", "ERROR", "FATAL")), f"{part}: {fault}"))
    form = rng.choice(("{d} {t} {l} {x}", "[{t}] {l} {x}", "{l} {x}", "{l}: {x}", "{t} [{l}] {x}"))
    when, second = day(rng).isoformat(), rng.randrange(80_000)
    text = "\n".join(
        form.format(d=when, t=_clock(second + 7 * number), l=level, x=line)
        for number, (level, line) in enumerate(shown)
    )
    answer = say(rng, lines["answers"], p=part, f=fault, F=upper_first(fault))
    return Ask("pasted", _with_text(rng, ask(rng, lines["queries"]), text), [], lambda _: answer)


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


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
