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
_EXACT = {"Mb": "megabit", "Gb": "gigabit", "Kb": "kilobit", "Cal": "kilocalorie", "Calorie": "kilocalorie",
          "Calories": "kilocalorie", "Nm": "newton*meter", "NM": "nautical_mile", "b": "bit", "B": "byte"}  # fmt: skip
_SYSTEM = {"mHz", "Mg", "Mm", "Ms", "GL", "kL"}  # as the international system has them
_DATA_RATE = re.compile(r"([kmgt]?)(?:(b)|(bit|byte)s?) ?(?:/ ?|p|per )s(?:ec(?:ond)?)?", re.IGNORECASE)
_LARGE = {"": "", "k": "kilo", "m": "mega", "g": "giga", "t": "tera"}
# What people say, in any case -> units in pint's words, the likelier first.
_SPOKEN = {
    "f": "degF", "fahrenheit": "degF", "c": "degC", "celsius": "degC", "celcius": "degC", "centigrade": "degC",
    "k": "kelvin", "kelvins": "kelvin",
    "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte", "pb": "petabyte",
    "kbit": "kilobit", "mbit": "megabit", "gbit": "gigabit", "kib": "kibibyte", "mib": "mebibyte", "gib": "gibibyte",
    "tib": "tebibyte", "bbl": "oil_barrel",
    "floz": "fluid_ounce", "pounds per square inch": "psi", "pound per square inch": "psi",
    "oz": "ounce fluid_ounce", "ounce": "ounce fluid_ounce",
    "ounces": "ounce fluid_ounce", "cc": "centimeter**3", "uk gallon": "imperial_gallon", "uk pint": "imperial_pint",
    "kph": "kilometer/hour", "kmh": "kilometer/hour", "kmph": "kilometer/hour", "ton": "short_ton", "tons": "short_ton",
    "us ton": "short_ton", "metric tons": "tonne", "decade": "decade_of_years", "decades": "decade_of_years",
    "mins": "minute", "secs": "second", "m": "meter minute", "g": "gram", "s": "second", "h": "hour", "l": "liter",
    "kilo": "kilogram", "kilos": "kilogram", "gms": "gram", "kgs": "kilogram", "kms": "kilometer", "cms": "centimeter",
    "ml": "milliliter", "cl": "centiliter", "dl": "deciliter", "mg": "milligram", "mm": "millimeter",
    "ms": "millisecond", "wks": "week", "amps": "ampere", "kw": "kilowatt", "kwh": "kilowatt_hour", "kj": "kilojoule",
    "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz", "kpa": "kilopascal", "btu": "Btu",
    "food calorie": "kilocalorie", "food calories": "kilocalorie", "dietary calories": "kilocalorie",
    "mpg": "mile/gallon", "us mpg": "mile/gallon", "uk mpg": "mile/imperial_gallon", "l/100km": "liter/hundred_km",
    "l/100 km": "liter/hundred_km", "liters per 100 km": "liter/hundred_km", "litres per 100 km": "liter/hundred_km",
    "hz": "hertz turn/second", "rpm": "revolutions_per_minute", "bpm": "count/minute",
}  # fmt: skip
_TEMPERATURES = frozenset({"f", "c", "k", "fahrenheit", "celsius", "celcius", "centigrade", "kelvin", "kelvins"})
_OFFSET = {"degree_Celsius", "degree_Fahrenheit"}  # whose zero another scale has elsewhere
_OFFSET_DIGITS = 9  # behind the point; what is left beyond them is the arithmetic's own
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
# Of these people also use the inverse: miles a gallon and litres for 100 km, minutes for a mile and miles an hour.
_TURNED_OVER = ("mile/gallon", "liter/kilometer", "minute/kilometer", "kilometer/hour")
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
    if {source, target} & {"GL", "kL", "m3", "m^3", "m³"}:  # among these ML is no millilitre
        source, target = (name.replace("ML", "megaliter") for name in (source, target))
    _refuse_currencies(source, target)
    source, sources = _known(source)
    if pair := re.fullmatch(r"([a-z]+) (?:and|&|\+) ([a-z]+)", target, re.IGNORECASE):
        return f"{plain_number(value)} {source} = {_in_two(value, sources, pair[1], pair[2])}"
    target, targets = _known(target)
    for one, other in product(sources, targets):
        result = _converted(value, one, other)
        if result is not None:
            return f"{plain_number(value)} {source} = {plain_number(result, 6)} {target}"
    this, that = _quantity(sources[0]), _quantity(targets[0])
    raise ToolError(f"{source} is a unit of {this} and {target} one of {that}, so they do not convert.")


def _in_two(value: float, sources: list[Unit], larger: str, smaller: str) -> str:
    """A value as so many whole ones of a unit and the rest in a smaller one: feet and inches."""
    for unit, large, small in product(sources, _known(larger)[1], _known(smaller)[1]):
        if _quantity(large) == "temperature":
            break
        inside, whole = _converted(1, large, small), _converted(value, unit, small)
        if inside and whole is not None:
            count, rest = divmod(round(abs(whole), 6), inside)
            if float(f"{rest:.4g}") >= inside:  # as it is told
                count, rest = count + 1, 0
            sign = "-" if whole < 0 else ""
            return f"{sign}{plain_number(count)} {larger} and {plain_number(rest, 4)} {smaller}"
    raise ToolError(f"Units of {_quantity(sources[0])} cannot be told in {larger} and {smaller}.")


@cache
def _registry() -> UnitRegistry[Any]:
    from pint import UnitRegistry

    registry: UnitRegistry[Any] = UnitRegistry()
    registry.define("decade_of_years = 10 * year")  # pint's own decade is a factor of ten
    registry.define("hundred_km = 100 * kilometer")
    registry.define(
        "acre = 4046.8564224 * meter**2"
    )  # the international one, as feet and miles are; pint has the survey's
    return registry


def _name(unit: str, value: float) -> str:
    """The unit without the value that some write before it: `5 miles` is miles."""
    words = " ".join(re.sub(r"(?<=\w)\(s\)", "", unit).split())
    if aside := re.fullmatch(r"(.+?) ?\(([^()]+)\)", words):  # pounds (lb), gallons (UK)
        is_unit = any(unit for spelling in _spellings(aside[2]) for unit in _parsed(spelling))
        words = aside[2] if is_unit and aside[2].lower() not in ("uk", "us") else f"{aside[2]} {aside[1]}"
    number = re.match(r"[\d,.]+ ?(?=[^\W\d])", words)
    stated = float(number[0].replace(",", "")) if number and re.fullmatch(r"\d[\d,]*\.?\d* ?", number[0]) else None
    return words[number.end() :] if number and stated in (value, 1) else words


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
    if name in _SYSTEM:
        yield name
    if rate := _DATA_RATE.fullmatch(name):
        capital = rate[2] == "B" and (
            "/" in name or not name.isupper()
        )  # MBPS says nothing, and lines are sold in bits
        kind = (rate[3] or ("byte" if capital else "bit")).lower()
        yield f"{_LARGE[rate[1].lower()]}{kind}/second"
        return
    spoken = " ".join(re.sub(r"\b(?:us|u\.s\.)(?= )|\.", "", name.lower()).replace("-", " ").split())
    spoken = re.sub(
        r"^(?:uk|british) (?=fl|pint|gallon|cup)", "imperial ", re.sub(r"\ban? (?=hour|minute)", "/", spoken)
    )
    spoken = re.sub(r"\bfl(?:uid)? (?:oz|ounces?)\b", "fluid_ounce", spoken).replace("imperial ", "imperial_")
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

    if not unit.is_compatible_with(other):
        if not value or not (unit * other).dimensionless or not any(map(unit.is_compatible_with, _TURNED_OVER)):
            return None
        value, unit = 1 / value, (1 / _registry().Quantity(1, unit)).units
    if _bare_kind(unit) != _bare_kind(other):
        return None
    try:
        result = float(_registry().Quantity(value, unit).to(other).magnitude)
    except PintError:  # a difference of temperatures into a temperature
        return None
    if not math.isfinite(result):
        raise ToolError("The result is too large to write down.")
    return round(result, _OFFSET_DIGITS) if {str(unit), str(other)} & _OFFSET else result
