"""ROUGE-L as the paper's evaluator computes it: the summary-level form of the PyPI package `rouge` 1.0.1.

Written anew from its definition, since the base install should not grow for forty lines. A test holds values that
were computed with the package. Case and punctuation count; nothing is normalised but white space.
"""

from __future__ import annotations

from collections.abc import Sequence

_NOTHING = "none"


def rouge_l(hypothesis: str, reference: str) -> float:
    """F between 0 and 1. A text without any word piece counts as the word `none`, where the package would crash."""
    said, expected = _sentences(hypothesis), _sentences(reference)
    found: set[str] = set()
    for sentence in expected:
        for other in said:
            found |= _common(sentence, other)
    precision = len(found) / _distinct(said)
    recall = len(found) / _distinct(expected)
    return 2 * precision * recall / (precision + recall + 1e-8)


def _sentences(text: str) -> list[list[str]]:
    pieces = [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]
    return pieces or [[_NOTHING]]


def _distinct(sentences: Sequence[Sequence[str]]) -> int:
    return len({word for sentence in sentences for word in sentence})


def _common(reference: Sequence[str], hypothesis: Sequence[str]) -> set[str]:
    """The words on one longest common subsequence.

    There may be several; this is the one found from the end that drops the hypothesis' word on a tie.
    """
    lengths = _lengths(reference, hypothesis)
    words: set[str] = set()
    i, j = len(reference), len(hypothesis)
    while i and j:
        if reference[i - 1] == hypothesis[j - 1]:
            words.add(reference[i - 1])
            i, j = i - 1, j - 1
        elif lengths[i - 1][j] > lengths[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words


def _lengths(a: Sequence[str], b: Sequence[str]) -> list[list[int]]:
    """The length of the longest common subsequence of every pair of beginnings."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, word in enumerate(a, 1):
        for j, other in enumerate(b, 1):
            same = table[i - 1][j - 1] + 1
            table[i][j] = same if word == other else max(table[i - 1][j], table[i][j - 1])
    return table
