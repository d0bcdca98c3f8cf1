"""The words of a request that tell what is looked for."""

from __future__ import annotations

import re

# Words that are in most questions and say nothing of what is looked for.
_FILLERS = frozenset(
    re.findall(
        r"\w+",
        """a an the my your our is are was were of in on at to for and or what when where who which how did do does i me
        we you it about note notes have has all every any some everything latest last newest recent list show saved""",
    )
)


def telling_words(text: str) -> list[str]:
    """The words of a text in lower case, each once, without those that stand in most questions."""
    # Of Anna's the s, of don't all says nothing of what is looked for.
    plain = re.sub(r"\b\w+n['’]t\b|['’](?:s|m|re|ll|d|ve)\b", " ", text.lower())
    words = dict.fromkeys(re.findall(r"\w+", plain))
    return [word for word in words if word not in _FILLERS]


def stem(word: str) -> str:
    """How a word and its plural both begin: strawberries and strawberry are strawberr, boxes and box are box."""
    if len(word) > 4 and re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word.removesuffix("es")
    for ending in ("ies", "y", "s"):
        if len(word) > 3 and word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word
