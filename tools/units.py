"""Units of measurement, on pint's definitions. A spoken name may mean several units: the pair that fits is taken."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

from umi_local.toolbox import ToolError, tool

from .arithmetic import plain_number

if TYPE_CHECKING:
    from pint import Unit, UnitRegistry

# Where upper and lower case differ in meaning.
_EXACT = {"Mb": "megabit", "Gb": "gigabit", "Kb": "kilobit", "MBps": "megabyte/second", "GBps": "gigabyte/second"}
# What people say, in any case -> units in pint's words, the likelier first.
_SPOKEN = {
    "f": "degF", "fahrenheit": "degF", "c": "degC", "celsius": "degC", "celcius": "degC", "centigrade": "degC",
    "k": "kelvin", "kelvins": "kelvin",
    "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte", "pb": "petabyte",
    "kbps": "kilobit/second", "mbps": "megabit/second", "gbps": "gigabit/second", "mib": "mebibyte", "gib": "gibibyte",
    "fl oz": "fluid_ounce", "floz": "fluid_ounce", "oz": "ounce fluid_ounce", "ounce": "ounce fluid_ounce",
    "ounces": "ounce fluid_ounce", "cc": "centimeter**3", "uk gallon": "imperial_gallon", "uk pint": "imperial_pint",
    "kph": "kilometer/hour", "kmh": "kilometer/hour", "kmph": "kilometer/hour", "ton": "short_ton", "tons": "short_ton",
    "us ton": "short_ton", "metric tons": "tonne", "decade": "decade_of_years", "decades": "decade_of_years",
    "mins": "minute", "secs": "second", "m": "meter", "g": "gram", "s": "second", "h": "hour", "l": "liter",
    "kilo": "kilogram", "kilos": "kilogram",
    "hz": "hertz turn/second", "rpm": "revolutions_per_minute", "bpm": "count/minute",
}  # fmt: skip
_TEMPERATURES = frozenset({"f", "c", "k", "fahrenheit", "celsius", "celcius", "centigrade", "kelvin", "kelvins"})
_CURRENCY = re.compile(
    r"[$€£¥₹]|\b(?:usd|eur|gbp|jpy|chf|cad|aud|nzd|cny|inr|krw|sek|nok|dkk|pln|czk|brl|mxn|sgd|hkd|zar|rub|sterling|"
    r"dollars?|euros?|yen|yuan|renminbi|rupees?|francs?|won|pesos?|bitcoins?|btc)\b",
    re.IGNORECASE,
)
_QUANTITIES = {
    "length": "meter", "area": "meter**2", "volume": "liter", "weight": "gram", "temperature": "kelvin",
    "time": "second", "speed": "meter/second", "energy": "joule", "power": "watt", "pressure": "pascal",
    "force": "newton", "frequency": "hertz", "ratio": "percent",
}  # fmt: skip
# What people mistype, and mean nothing else by.
_LONG_NAMES = (
    "fahrenheit", "celsius", "kilometers", "kilometres", "centimeters", "centimetres", "millimeters", "millimetres",
    "kilograms", "milligrams", "milliliters", "millilitres", "teaspoons", "tablespoons", "gallons", "ounces", "pounds",
    "inches", "square meters", "square metres", "square feet", "hectares", "minutes", "seconds", "megabytes",
    "gigabytes", "terabytes", "kilobytes", "kilojoules", "kilocalories", "kilowatt hours", "horsepower",
    "nautical miles",
)  # fmt: skip
_SURELY = 0.9  # of the letters of both names fall into the same runs (difflib's ratio)
_WORD = r"(?:[A-Za-zµμΩÅ°_]+|%)(?:\*\*[23])?"
_GRAMMAR = re.compile(rf"{_WORD}(?:(?: ?[*/] ?| ){_WORD}){{0,5}}")


@tool()
def convert_units(
    value: float,
    source: Annotated[str, "unit of the value, such as miles"],
    target: Annotated[str, "unit wanted, such as km"],
) -> str:
    """Convert a length, weight, temperature, volume, area, speed, time or data size to another unit."""
    source, target = _name(source, value), _name(target, 1)
    _refuse_currencies(source, target)
    source, sources = _known(source)
    target, targets = _known(target)
    for one, other in product(sources, targets):
        result = _converted(value, one, other)
        if result is not None:
            return f"{plain_number(value)} {source} = {plain_number(result, 6)} {target}"
    this, that = _quantity(sources[0]), _quantity(targets[0])
    raise ToolError(f"{source} is a unit of {this} and {target} one of {that}, so they do not convert.")


@cache
def _registry() -> UnitRegistry[Any]:
    from pint import UnitRegistry

    registry: UnitRegistry[Any] = UnitRegistry()
    registry.define("decade_of_years = 10 * year")  # pint's own decade is a factor of ten
    return registry


def _name(unit: str, value: float) -> str:
    """The unit without the value that some write before it: `5 miles` is miles."""
    words = " ".join(unit.split())
    return words.removeprefix(f"{plain_number(value)} ").removeprefix("1 ")


def _refuse_currencies(*names: str) -> None:
    if any(_CURRENCY.search(name) for name in names):
        raise ToolError("Exchange rates are not available here, so money cannot be converted.")


def _known(name: str) -> tuple[str, list[Unit]]:
    """A unit and what it can mean, the likeliest first; a slip of the finger in a long name is put right.

    Raises:
        ToolError: it is none; the sentence names units that are spelled alike.
    """
    for text in (name, *difflib.get_close_matches(name.lower(), _LONG_NAMES, n=1, cutoff=_SURELY)):
        meanings = [unit for spelling in _spellings(text) for unit in _parsed(spelling)]
        if meanings:
            return text, meanings
    known = [unit for unit in _registry() if len(unit) > 1 and "_" not in unit]
    alike = difflib.get_close_matches(name.lower(), known, n=3)
    hint = f" Did you mean {' or '.join(alike)}?" if alike else " Write it in full, such as kilometer."
    raise ToolError(f"There is no unit {name!r}.{hint}")


def _spellings(name: str) -> Iterator[str]:
    """The ways in which pint may know a name: case, abbreviations, powers and blanks differ."""
    if name in _EXACT:
        yield _EXACT[name]
        return
    spoken = " ".join(re.sub(r"\b(?:us|u\.s\.)(?= )|\.", "", name.lower()).split())
    bare = re.sub(r"[°º]|\bdeg(?:rees?)?\b|^deg(?=[fc]$)", "", spoken).strip()
    if bare in _TEMPERATURES:
        spoken = bare
    yield from _SPOKEN.get(spoken, "").split()
    for text in (name, spoken):
        text = text.replace("²", "**2").replace("³", "**3").replace("^", "**").replace("·", "*").replace("⋅", "*")
        text = re.sub(r"(?<=[^\W\d])([23])\b", r"**\1", text)
        text = re.sub(r"^(?:square|sq)[ _]?(?=[a-z])", "square ", re.sub(r"^(?:cubic|cu)[ _]", "cubic ", text))
        yield text
        yield text.replace(" ", "_")


def _parsed(text: str) -> Iterator[Unit]:
    # The grammar keeps numbers out: pint would compute 9**9**9 while it reads a name.
    if len(text) > 60 or not (_GRAMMAR.fullmatch(text) or text.isidentifier()):
        return
    from pint import PintError

    try:
        yield _registry().parse_units(text)
    except (PintError, ValueError):
        return


def _bare_kind(unit: Unit) -> str:
    """Neither data nor angles have a dimension in pint; without this, bits would convert to radians."""
    name = str(unit)
    if re.search(r"bit|byte|octet|baud", name):
        return "data"
    return "angle" if re.search(r"radian|degree(?!_)|arc|turn|revolution|gradian", name) else ""


def _quantity(unit: Unit) -> str:
    if kind := _bare_kind(unit):
        return kind
    like = (name for name, known in _QUANTITIES.items() if unit.is_compatible_with(known))
    return next(like, str(unit.dimensionality).replace("[", "").replace("]", ""))


def _converted(value: float, unit: Unit, other: Unit) -> float | None:
    """The value in another unit; None if the two measure different things."""
    from pint import PintError

    if not unit.is_compatible_with(other) or _bare_kind(unit) != _bare_kind(other):
        return None
    try:
        result = float(_registry().Quantity(value, unit).to(other).magnitude)
    except PintError:  # a difference of temperatures into a temperature
        return None
    if not math.isfinite(result):
        raise ToolError("The result is too large to write down.")
    return result
