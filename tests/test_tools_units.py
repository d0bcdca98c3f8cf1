"""Units of measurement by the names that people use."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umi_local.toolbox import ToolContext, ToolError, Workspace
from umi_local.tools.units import convert_units


def convert(value: float, source: str, target: str) -> str:
    arguments = convert_units.validate({"value": value, "source": source, "target": target})
    text: str = convert_units.call(ToolContext(Workspace(Path()), Path("notes.md")), arguments)
    return text


@pytest.mark.parametrize(
    "told",
    [
        "5 miles = 8.04672 km",
        "6 ft = 182.88 cm",
        "70 in = 177.8 cm",
        "5 lbs = 2.26796 kg",
        "12 stone = 168 pounds",
        "3 kilos = 6.61387 pounds",
        "12 oz = 340.194 grams",
        "12 oz = 354.882 ml",
        "8 fl oz = 236.588 ml",
        "2 cups = 473.176 mL",
        "3 tbsp = 9 tsp",
        "3 gallons = 11.3562 litres",
        "3 UK gallons = 13.6383 L",
        "60 mph = 96.5606 km/h",
        "100 kph = 62.1371 miles per hour",
        "500 sq ft = 46.4515 square metres",
        "500 sqft = 46.4515 m2",
        "10 m² = 107.639 ft^2",
        "7 cubic feet = 198.218 liters",
        "5 GB = 4768.37 MiB",
        "1 Gb = 125 MB",
        "100 Mbps = 12.5 MB/s",
        "90 min = 1.5 hours",
        "2 decades = 20 years",
        "1 light years = 9460730472581 km",
        "5 nautical miles = 9.26 km",
        "5 KM = 5000 M",
        "1234567 km = 1234567000 m",
        "180 degrees = 3.14159 radians",
        "1 Hz = 60 rpm",
        "60 rpm = 6.28319 rad/s",
        "1 F = 1000000 uF",
        "30 cmH2O = 22.0668 mmHg",
        "9.81 m/s^2 = 32.185 ft/s2",
        "1 Mb/s = 0.125 MB/s",
        "1 mbit/s = 0.125 MB/s",
        "1 KB/s = 0.008 Mbps",
        "5 MBps = 40 mbps",
        "100 MBPS = 12.5 MB/s",
        "1 MB = 8000000 b",
        "1 mbit = 0.125 mb",
        "1 TSP = 4.92892 ML",
        "1000 MG = 1 G",
        "1500 MS = 1.5 S",
        "500 Calories = 2092 kJ",
        "500 food calories = 2092 kJ",
        "1 acre = 43560 sq ft",
        "1 square mile = 640 acres",
        "5 kgs = 11.0231 lbs",
        "2 kwh = 7200 kj",
        "2 fl ounces = 59.1471 ml",
        "1 UK fl oz = 28.4131 ml",
        "1 kilowatt-hour = 3600 kJ",
        "30 pounds per square inch = 206.843 kPa",
        "60 miles an hour = 96.5606 km/h",
        "90 m = 1.5 h",
        "30 mpg = 7.84049 L/100km",
        "8 L/100 km = 35.3101 uk mpg",
        "8 min/mile = 7.5 mph",
        "5 mHz = 0.005 Hz",
        "5 Mg = 5000 kg",
        "2 UK gallons = 9.09218 l",
        "12 km/h = 5 min/km",
        "12 NM = 22.224 km",
        "80 bbl = 3360 gallons",
        "1024 kib = 1 mib",
    ],
)
def test_common_names_are_understood_and_repeated(told: str) -> None:
    left, right = told.split(" = ")
    assert convert(float(left.split()[0]), left.partition(" ")[2], right.partition(" ")[2]) == told


@pytest.mark.parametrize(
    "told",
    [
        "212 F = 100 C",
        "212 °F = 100 °C",
        "212 degrees fahrenheit = 100 degrees celsius",
        "212 degF = 100 deg C",
        "-40 Celsius = -40 Fahrenheit",
        "0 K = -273.15 °C",
        "300 kelvin = 80.33 f",
        "32 F = 0 C",
        "-17.7777777778 C = 0 F",
    ],
)
def test_temperatures_are_shifted_not_only_scaled(told: str) -> None:
    left, right = told.split(" = ")
    assert convert(float(left.split()[0]), left.partition(" ")[2], right.partition(" ")[2]) == told


@pytest.mark.parametrize(
    ("value", "source", "told"),
    [
        (5, "5 miles", "5 miles = 8.04672 km"),
        (5, "5km", "5 km = 5 km"),
        (5, "5.0 mile(s)", "5 mile = 8.04672 km"),
        (1000, "1,000 miles (mi)", "1000 mi = 1609.34 km"),
    ],
)
def test_a_value_repeated_in_the_unit_is_no_part_of_it(value: float, source: str, told: str) -> None:
    assert convert(value, source, "1 km") == told


@pytest.mark.parametrize(
    ("value", "source", "target", "told"),
    [
        (178, "cm", "feet and inches", "178 cm = 5 feet and 10.08 inches"),
        (72, "in", "feet and inches", "72 in = 6 feet and 0 inches"),
        (71.9999, "in", "feet and inches", "71.9999 in = 6 feet and 0 inches"),
        (135, "minutes", "hours and minutes", "135 minutes = 2 hours and 15 minutes"),
        (80, "kg", "stone & pounds", "80 kg = 12 stone and 8.37 pounds"),
    ],
)
def test_a_value_can_be_told_in_two_units(value: float, source: str, target: str, told: str) -> None:
    assert convert(value, source, target) == told
    with pytest.raises(ToolError, match="Units of temperature cannot be told in"):
        convert(value, "F", target)


def test_another_number_in_the_unit_is_no_slip() -> None:
    with pytest.raises(ToolError, match="no unit '7 miles'"):
        convert(5, "7 miles", "km")


@pytest.mark.parametrize(
    ("source", "target"), [("USD", "EUR"), ("pounds", "dollars"), ("$", "€"), ("pound sterling", "yen")]
)
def test_money_is_refused_because_rates_are_not_known(source: str, target: str) -> None:
    with pytest.raises(ToolError, match="Exchange rates are not available"):
        convert(100, source, target)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("kg", "metres", "kg is a unit of weight and metres one of length, so they do not convert."),
        ("MB", "degrees", "MB is a unit of data and degrees one of angle, so they do not convert."),
        ("hours", "°C", "hours is a unit of time and °C one of temperature, so they do not convert."),
    ],
)
def test_units_of_different_quantities_are_refused_by_name(source: str, target: str, told: str) -> None:
    with pytest.raises(ToolError) as raised:
        convert(5, source, target)
    assert str(raised.value) == told


def test_an_unknown_unit_is_answered_with_one_spelled_alike() -> None:
    with pytest.raises(ToolError, match=r"no unit 'stonne'\. Did you mean tonne or stone"):
        convert(5, "stonne", "m")


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("farenheit", "celcius", "5 fahrenheit = -15 celcius"),
        ("kilometrs", "m", "5 kilometres = 5000 m"),
        ("galons", "Litres", "5 gallons = 18.9271 Litres"),
    ],
)
def test_a_slip_of_the_finger_in_a_long_name_is_put_right_and_told(source: str, target: str, told: str) -> None:
    assert convert(5, source, target) == told


@pytest.mark.parametrize(
    "unit", ["", "9**9**9", "3**3**3**3", "m**99999999", "2 m", "m/0", "__class__", "()", "m" * 999]
)
def test_numbers_and_code_are_no_units(unit: str) -> None:
    with pytest.raises(ToolError, match="There is no unit"):
        convert(5, unit, "m")


def test_a_result_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ToolError, match="too large"):
        convert(1e308, "miles", "mm")


@given(st.floats(-1e6, 1e6), st.sampled_from([("miles", "km"), ("F", "C"), ("lbs", "kg"), ("GB", "MiB")]))
def test_there_and_back_again_is_where_one_began(value: float, units: tuple[str, str]) -> None:
    one, other = units
    there = float(convert(value, one, other).split(" = ")[1].split()[0])
    back = float(convert(there, other, one).split(" = ")[1].split()[0])
    assert math.isclose(back, value, rel_tol=1e-4, abs_tol=1e-3)


@settings(max_examples=200)
@given(st.text(max_size=20) | st.text("kmghfCF°/²^*s µ23 per", max_size=12))
def test_whatever_is_written_gives_a_number_or_a_sentence(unit: str) -> None:
    try:
        assert convert(1, unit, "m")
    except ToolError as error:
        assert str(error)
