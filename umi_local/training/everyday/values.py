"""Values for slots: names, places, prices, dates, as a file or a request would have them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from random import Random

from pydantic import TypeAdapter

from umi_local.training.everyday.phrasing import data

_WORDS = TypeAdapter(dict[str, str])
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@cache
def words(name: str) -> tuple[str, ...]:
    """A list of the vocabulary."""
    return tuple(word.strip() for word in _WORDS.validate_python(data("vocabulary"))[name].split(","))


def pick(rng: Random, name: str) -> str:
    """A word of a list of the vocabulary."""
    return rng.choice(words(name))


def person(rng: Random) -> str:
    """A full name."""
    return f"{pick(rng, 'first')} {pick(rng, 'last')}"


def money(rng: Random, low: float, high: float) -> str:
    """An amount as price tags have it."""
    cents = rng.choice((0, 0, 50, 90, 95, 99, 25, 20, 75, rng.randrange(100)))
    whole = rng.randint(int(low), max(int(low), int(high) - 1))
    return str(whole) if cents == 0 else f"{whole}.{cents:02d}"


def day(rng: Random, first: int = 2023, last: int = 2027) -> date:
    """A calendar day in those years."""
    start = date(first, 1, 1)
    return start + timedelta(days=rng.randrange((date(last, 12, 31) - start).days))


def spoken_day(rng: Random, when: date, year: bool = True) -> str:
    """A day as people write it; every way is one that the tools could read, too."""
    month = MONTHS[when.month - 1]
    ways = [f"{when.day} {month}", f"{month} {when.day}"]
    if len(month) > 4:
        ways.append(f"{when.day} {month[:3]}")
    text = rng.choice(ways)
    if not year:
        return text
    return f"{text}, {when.year}" if text[0].isalpha() else f"{text} {when.year}"


def value(rng: Random, kind: str) -> str:
    """A value of a kind: a list of the vocabulary, `int 3 40`, `money 5 90`, `dec 1 5`, `date`, `of red;blue`, ..."""
    name, _, rest = kind.partition(" ")
    if name == "of":
        return rng.choice(rest.split(";")).strip()
    if name in _RANGED:
        low, high = (float(bound) for bound in rest.split())
        return _RANGED[name](rng, low, high)
    return _KINDS[name](rng) if name in _KINDS else pick(rng, name)


def _code(rng: Random) -> str:
    letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    form = rng.choice(("{l}-{n}", "{l}{n}", "{n}{l}", "{n}", "{n}-{m}", "{l}-{n}-{m}"))
    return form.format(l=letters, n=rng.randint(100, 99999), m=rng.randint(10, 999))


def _phone(rng: Random) -> str:
    form = rng.choice(("0{a} {b} {c}", "+{a} {b} {c}", "{b}-{c}", "0{b}/{c}"))
    return form.format(a=rng.randint(20, 99), b=rng.randint(200, 999), c=rng.randint(1000, 99999))


def _time(rng: Random) -> str:
    hour, minute = rng.randint(7, 21), rng.choice((0, 0, 15, 30, 30, 45, 10, 20, 50))
    half = "am" if hour < 12 else "pm"
    return rng.choice(
        (f"{hour}:{minute:02d}", f"{hour:02d}:{minute:02d}", f"{(hour - 1) % 12 + 1}:{minute:02d} {half}")
    )


def _date(rng: Random) -> str:
    when = day(rng)
    return rng.choice((when.isoformat(), spoken_day(rng, when), spoken_day(rng, when, year=False)))


def _isodate(rng: Random) -> str:
    return day(rng).isoformat()


def _weekday(rng: Random) -> str:
    return rng.choice(WEEKDAYS)


def _month(rng: Random) -> str:
    return rng.choice(MONTHS)


def _percent(rng: Random) -> str:
    return f"{rng.choice((2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50))}%"


def _duration(rng: Random) -> str:
    return f"{rng.randint(2, 24)} {rng.choice(('hours', 'days', 'weeks', 'months', 'minutes'))}"


def _email(rng: Random) -> str:
    return f"{pick(rng, 'first').lower()}@{pick(rng, 'domain')}"


def _address(rng: Random) -> str:
    return f"{rng.randint(1, 180)} {pick(rng, 'street')}"


def _euro(rng: Random) -> str:
    return f"{money(rng, 5, 900)} {rng.choice(('euros', 'dollars', 'pounds', 'francs', 'crowns'))}"


def _whole(rng: Random, low: float, high: float) -> str:
    return str(rng.randint(int(low), int(high)))


def _decimal(rng: Random, low: float, high: float) -> str:
    return f"{rng.uniform(low, high):.1f}"


_RANGED = {"int": _whole, "money": money, "dec": _decimal}
_KINDS: dict[str, Callable[[Random], str]] = {
    "person": person,
    "code": _code,
    "phone": _phone,
    "time": _time,
    "date": _date,
    "isodate": _isodate,
    "weekday": _weekday,
    "month": _month,
    "percent": _percent,
    "duration": _duration,
    "email": _email,
    "address": _address,
    "euro": _euro,
}
