"""Time zones by the names that people use: cities, countries, abbreviations and offsets."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

from umi_local.toolbox import ToolError

# Large cities that give no zone its name, countries of several zones with one clock, and abbreviations.
_PLACES = {
    "America/Los_Angeles": "san francisco, seattle, san diego, las vegas, california, pst, pdt, pt, pacific",
    "America/New_York": "washington, washington dc, boston, miami, atlanta, philadelphia, nyc, est, edt, et, eastern",
    "America/Chicago": "houston, dallas, austin, new orleans, texas, cst, cdt, ct, central",
    "America/Denver": "salt lake city, mst, mdt, mt, mountain", "Pacific/Auckland": "new zealand",
    "America/Toronto": "ottawa, ontario", "Europe/London": "uk, england, bst",
    "America/Sao_Paulo": "rio de janeiro, brasilia",
    "Europe/Paris": "lyon", "Europe/Berlin": "germany, munich, hamburg, frankfurt, cologne, cest, central european",
    "Europe/Madrid": "spain, barcelona", "Europe/Rome": "milan, naples", "Europe/Zurich": "geneva",
    "Asia/Kolkata": "ist, mumbai, delhi, new delhi, bangalore, bengaluru, chennai", "Asia/Hong_Kong": "hkt",
    "Asia/Shanghai": "china, beijing, shenzhen, guangzhou", "Asia/Tokyo": "osaka, kyoto, jst", "Asia/Singapore": "sgt",
    "Asia/Seoul": "south korea, korea, busan, kst", "Asia/Dubai": "abu dhabi", "Asia/Karachi": "islamabad, lahore",
    "Asia/Ho_Chi_Minh": "hanoi", "Australia/Sydney": "canberra, aest, aedt", "Africa/Johannesburg": "cape town",
    "Africa/Lagos": "abuja", "Europe/Kyiv": "kiev, ukraine", "America/Puerto_Rico": "san juan",
}  # fmt: skip

# Regions of countries that share the names of their cities with others, whole and as they are shortened.
_STATES = {
    "united states": (
        "alabama, al, alaska, ak, arizona, az, arkansas, ar, california, ca, colorado, co, connecticut, ct, "
        "delaware, de, florida, fl, georgia, ga, hawaii, hi, idaho, id, illinois, il, indiana, in, iowa, ia, "
        "kansas, ks, kentucky, ky, louisiana, la, maine, me, maryland, md, massachusetts, ma, michigan, mi, "
        "minnesota, mn, mississippi, ms, missouri, mo, montana, mt, nebraska, ne, nevada, nv, new hampshire, nh, "
        "new jersey, nj, new mexico, nm, new york, ny, north carolina, nc, north dakota, nd, ohio, oh, oklahoma, "
        "ok, oregon, or, pennsylvania, pa, rhode island, ri, south carolina, sc, south dakota, sd, tennessee, tn, "
        "texas, tx, utah, ut, vermont, vt, virginia, va, washington, wa, west virginia, wv, wisconsin, wi, "
        "wyoming, wy, dc"
    ),
    "australia": "wa, sa, vic, qld",
    "canada": "alberta, ab, british columbia, bc, manitoba, mb, new brunswick, nb, newfoundland, nl, nova scotia, ns,"
    " nunavut, nu, ontario, on, quebec, qc, saskatchewan, sk, yukon, yt",
}
_NO_PLACES = {"east", "west", "north", "south", "general"}  # last parts of old names of zones
_SAME_COUNTRY = {"usa": "united states", "us": "united states", "america": "united states"}
_DATA = files("tzdata") / "zoneinfo"
_ALIKE = 0.8  # of the letters, or a name is no slip of another


def find_zone(place: str) -> tzinfo:
    """The time zone of an IANA name in any case, a city, or an offset such as UTC+2.

    Raises:
        ToolError: there is none; the sentence names zones that are spelled alike.
    """
    plain = unicodedata.normalize("NFKD", place).encode("ascii", "ignore").decode()  # São Paulo, Zürich
    spoken = " ".join(plain.lower().replace("_", " ").split())
    offset = re.fullmatch(r"(?:utc|gmt) ?([+-]) ?(\d{1,2})(?::?([0-5]\d))?", spoken)
    if offset and int(offset[2]) <= 14:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(ahead if offset[1] == "+" else -ahead)
    zones = _zones()
    said = spoken.rpartition("/")[2]  # Asia/Mumbai
    bare = re.sub(r" (?:standard |daylight |summer )?time$", "", said)
    city, _, last = said.rpartition(" ")
    same = last == "city" or (last in zones and zones[last] == zones.get(city))  # Paris France
    before, _, behind = said.partition(",")
    for name in (spoken, before if _lies_in(before, behind.strip()) else "", bare, city if same else ""):
        if name in zones:
            return UTC if zones[name] == "UTC" else ZoneInfo(zones[name])
    alike = dict.fromkeys(zones[name] for name in difflib.get_close_matches(said, zones, n=3, cutoff=_ALIKE))
    meant = f"Did you mean {' or '.join(alike)}?" if alike else "Name a large city near it."
    raise ToolError(f"There is no time zone {place!r}. {meant}")


def _lies_in(city: str, region: str) -> bool:
    """Whether a city's zone is one of the region behind its comma; of regions that are not known, all are."""
    zone = _links().get(_zones().get(city, ""), _zones().get(city))
    known = _regions().get(_SAME_COUNTRY.get(region, region))
    return zone in known if known else zone == _zones().get(region, zone)


@cache
def _zones() -> dict[str, str]:
    """Spoken names in lower case -> IANA names: the whole name, its last part, countries, and the places above."""
    zones: dict[str, str] = {}
    for name in sorted(available_timezones(), key=lambda name: (name.count("/"), name)):
        spoken = name.lower().replace("_", " ")
        zones[spoken] = name
        if (last := spoken.rpartition("/")[2]) not in _NO_PLACES:
            zones.setdefault(last, name)
    for country, known in _countries().items():
        if len(known) == 1:
            zones.setdefault(country, known[0])
    for name, places in _PLACES.items():
        zones.update(dict.fromkeys(places.split(", "), name))
    return zones


@cache
def _regions() -> dict[str, set[str]]:
    """The zones in which a country's or a state's cities may lie, by its name or abbreviation. CA is in America and
    Canada both; a country's letters alone leave all open, since regions elsewhere are shortened to the same.
    """
    regions = {name: set(zones) for name, zones in _countries().items()}
    for country, states in _STATES.items():
        for state in states.split(", "):
            regions[state] = regions.get(state, set()) | set(_coded().get(state, ())) | regions[country]
    return regions


@cache
def _links() -> dict[str, str]:
    """The zones of today by the names that they had before."""
    lines = (line.split() for line in (_DATA / "tzdata.zi").read_text(encoding="utf-8").splitlines())
    return {alias: zone for kind, zone, alias in (words for words in lines if words[:1] == ["L"])}


@cache
def _coded() -> dict[str, list[str]]:
    """The zones of each country, by its two letters in lower case."""
    zones: dict[str, list[str]] = defaultdict(list)
    for code, _, zone, *_ in _rows((_DATA / "zone.tab").read_text(encoding="utf-8")):
        zones[code.lower()].append(zone)
    return dict(zones)


@cache
def _countries() -> dict[str, list[str]]:
    """The zones of each country, by its name in lower case."""
    names = {code.lower(): name for code, name, *_ in _rows((_DATA / "iso3166.tab").read_text(encoding="utf-8"))}
    return {re.sub(r" ?\(.*\)", "", names[code]).lower(): zones for code, zones in _coded().items()}


def _rows(table: str) -> list[list[str]]:
    return [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
