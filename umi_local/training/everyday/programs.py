"""Small tasks for a program, with the program."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from umi_local.training.everyday.values import pick, words

Task = tuple[str, str]  # the request, the program


def program(rng: Random) -> Task:
    """One task. Requests are templates of choices without slots, since values are already in them."""
    return rng.choice(_TASKS)(rng)


def _primes(rng: Random) -> Task:
    low = rng.randint(10, 400)
    high = low + rng.randint(15, 60)
    code = f"print([n for n in range({low}, {high + 1}) if n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))])"
    return f"[List|Print|Give me] all prime numbers between {low} and {high}.", code


def _reverse(rng: Random) -> Task:
    word = rng.choice((pick(rng, "city"), pick(rng, "book"), pick(rng, "dish")))
    return f'[Reverse|Write backwards] the text "{word}" with [a program|Python].', f"print({word!r}[::-1])"


def _letters(rng: Random) -> Task:
    text, letter = f"{pick(rng, 'book')} {pick(rng, 'city')}", rng.choice("aeiosrt")
    code = f"print({text!r}.lower().count({letter!r}))"
    return f'[Use Python to count|Count with a program] the letter {letter} in "{text}".', code


def _sorted(rng: Random) -> Task:
    names = rng.sample(words("first"), rng.randint(4, 8))
    code = f"print(', '.join(sorted({names!r})))"
    return f"Sort these [names|words] with [Python|a script]: {', '.join(names)}.", code


def _fibonacci(rng: Random) -> Task:
    n = rng.randint(8, 40)
    code = f"a, b = 0, 1\nfor _ in range({n}):\n    a, b = b, a + b\nprint(a)"
    return f"[Compute|Find] Fibonacci number {n} [in Python|with code].", code


def _digits(rng: Random) -> Task:
    base, power = rng.randint(2, 19), rng.randint(20, 120)
    code = f"print(sum(int(d) for d in str({base} ** {power})))"
    return f"What is the sum of the digits of {base}**{power}?", code


def _divisors(rng: Random) -> Task:
    n = rng.randint(60, 2000)
    code = f"print([d for d in range(1, {n + 1}) if {n} % d == 0])"
    return f"[Which are|List] all divisors of {n}? [Write code for it.|]", code


def _loop(rng: Random) -> Task:
    n, k = rng.randint(20, 900), rng.randint(3, 12)
    code = f"print(sum(i for i in range(1, {n + 1}) if i % {k} == 0))"
    return f"[Run a script that adds|Add with Python] all numbers from 1 to {n} that {k} divides.", code


def _binary(rng: Random) -> Task:
    n = rng.randint(20, 5000)
    return f"[Run Python to write|Write] {n} in binary.", f"print(bin({n})[2:])"


def _given(rng: Random) -> Task:
    a, b = rng.randint(2, 60), rng.randint(2, 9)
    code = rng.choice(
        (
            f"print(sum(x**2 for x in range({a})))",
            f"print('{pick(rng, 'first')}'.upper() * {b})",
            f"print(list(range({a}, {a + 10 * b}, {b})))",
            f"print(len('{pick(rng, 'book')}'))",
        )
    )
    shown = code.replace("[", "(").replace("]", ")")
    return f"[Run|Execute] this Python: {shown}", shown


def _average_gap(rng: Random) -> Task:
    numbers = [rng.randint(1, 99) for _ in range(rng.randint(5, 9))]
    code = f"import statistics\nprint(statistics.median({numbers!r}))"
    shown = ", ".join(map(str, numbers))
    return f"What is the median of {shown}? [Use code.|]", code


_TASKS: tuple[Callable[[Random], Task], ...] = (
    _primes,
    _reverse,
    _letters,
    _sorted,
    _fibonacci,
    _digits,
    _divisors,
    _loop,
    _binary,
    _given,
    _average_gap,
)
