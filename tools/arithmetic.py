"""Arithmetic as people write it: exact on fractions, floating point only where a function needs it.

An expression passes through `notation.as_python`, which rewrites everyday notation (1,250; 8% of 50; 3 × 4; 2^8) into
Python's, and is then evaluated by walking its syntax tree. Nothing is ever compiled or run.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Annotated, Any

from umi_local.toolbox import ToolError, tool

from .grounding import said_percentages
from .notation import PERCENT, as_python, is_of_clock_times, without_result

Number = Fraction | float

MAX_LENGTH = 500
MAX_BITS = 12_000  # about 3,600 digits: below the 4,300 at which Python refuses to print an int
SHOWN_DIGITS = 100  # longer integers are rounded
_SHARE = re.compile(r"[$€£]?[\d,.]+ ?[/÷] ?([$€£]?[\d,.]+) ?[*×x] ?100")


@tool(narrow=said_percentages)
def calculator(expression: Annotated[str, "such as (12 + 3.5) * 4 or 15% of 60"]) -> str:
    """Do arithmetic: + - * / ** %, sqrt, round, min, max, sum, log, sin and others."""
    shown = without_result(expression)
    value = evaluate(expression)
    return f"{shown} = {plain_number(value)}{_explained(shown, value)}"


def _explained(shown: str, value: Number) -> str:
    """What a reader may need to know of a result, such as that an angle was taken for radians."""
    if is_of_clock_times(shown):
        minutes = round(abs(float(value)) * 60)
        return f" hours ({'-' if value < 0 else ''}{minutes // 60} h {minutes % 60} min)"
    if (share := _SHARE.fullmatch(shown)) and 0 < value != 100:
        more = "less" if value < 100 else "more"
        return f" ({plain_number(value)}% of {share[1]}, which is {plain_number(abs(100 - value))}% {more})"
    if re.search(r"[*×x] ?100 ?%$", shown):
        return f" ({plain_number(value * 100)}%)"
    if re.search(r"\b(?:sin|cos|tan)\(", shown, re.IGNORECASE) and not re.search("pi|π|°|deg|rad", shown):
        return " (angles in radians; 30 degrees would be written 30°)"
    if re.search(r"\blog\([^,]*\)", shown, re.IGNORECASE):
        return " (log is the natural logarithm; log10 is that of base 10)"
    return ""


def evaluate(expression: str) -> Number:
    """The value of an expression; angles are in radians, log is the natural one.

    Raises:
        ToolError: it is too long, no arithmetic, undefined (1/0) or too large to compute.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"The expression is too long: at most {MAX_LENGTH} characters.")
    try:
        return _value(ast.parse(as_python(expression), mode="eval").body)
    except ZeroDivisionError:
        raise ToolError("Division by zero has no result.") from None
    except OverflowError:
        raise ToolError("The result is too large to compute.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError(
            f"{expression!r} is not arithmetic. Write plain numbers, operators and functions, such as (12 + 3.5) * 4."
        ) from None


def plain_number(value: Number, digits: int = 12) -> str:
    """A number to `digits` significant digits, without trailing zeros or, between 1e-10 and 1e21, an exponent.

    Digits before the decimal point are kept beyond that: of integers up to 100, of floats up to 15.
    """
    if isinstance(value, Fraction) and value.denominator == 1 and abs(value) < 10**SHOWN_DIGITS:
        return str(value.numerator)
    if value == 0:
        return "0"
    size = _quotient(value, 30).adjusted()
    kept = min(size + 1, 15) if isinstance(value, float) else size + 3 if size < 21 else 0
    rounded = _quotient(value, max(digits, kept))
    text = f"{rounded:f}" if -10 <= rounded.adjusted() < 21 else f"{rounded:e}"
    mantissa, e, exponent = text.partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + e + exponent.lstrip("+")


def _quotient(value: Number, digits: int) -> Decimal:
    with localcontext() as context:
        context.prec = digits
        numerator, denominator = value.as_integer_ratio()
        return Decimal(numerator) / Decimal(denominator)


def _value(node: ast.expr) -> Number:
    value = _evaluated(node)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OverflowError
    elif max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise OverflowError
    return value


def _evaluated(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Fraction(repr(number))  # through its text: 0.1 is a tenth, not the nearest binary fraction
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.UnaryOp(op=ast.UAdd()):
            return _value(node.operand)
        case ast.BinOp() if _is_percent(node):
            return _value(node.left) / 100
        case ast.BinOp(op=ast.Add() | ast.Sub()) if _is_rate(node.right) and not _is_rate(node.left):
            # 80 - 15% takes 15 % off the 80, as on every pocket calculator, and 10% + 5% is 15%.
            return _value(node.left) * _OPERATORS[type(node.op)](Fraction(1), _value(node.right))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
        case ast.Name():
            return _CONSTANTS[_known(node.id, _CONSTANTS)]
        case ast.Call(keywords=[]):
            return _called(node.func, list(_arguments(node.args)))
    raise ValueError


def _is_percent(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.right, ast.Name) and node.right.id == PERCENT


def _is_rate(node: ast.expr) -> bool:
    """Whether it is a percentage, or a sum of such."""
    match node:
        case ast.UnaryOp():
            return _is_rate(node.operand)
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return _is_rate(node.left) and _is_rate(node.right)
    return _is_percent(node)


def _called(function: ast.expr, arguments: list[Number]) -> Number:
    if not isinstance(function, ast.Name | ast.Attribute):
        raise ValueError
    name = _known(function.id if isinstance(function, ast.Name) else function.attr, _FUNCTIONS)
    shown = f"{name}({', '.join(map(plain_number, arguments))})"
    try:
        return _FUNCTIONS[name](*arguments)
    except TypeError:
        raise ToolError(f"{shown} has too few or too many numbers.") from None
    except ValueError:
        raise ToolError(f"{shown} is not defined.") from None


def _arguments(nodes: Iterable[ast.expr]) -> Iterable[Number]:
    for node in nodes:
        if isinstance(node, ast.List | ast.Tuple):
            yield from _arguments(node.elts)
        else:
            yield _value(node)


def _known(name: str, table: Mapping[str, Any]) -> str:
    if name.lower() not in table:
        known = ", ".join([*_FUNCTIONS, *_CONSTANTS])
        raise ToolError(f"The calculator does not know {name!r}. It knows numbers and {known}.")
    return name.lower()


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if (bits - 1) * abs(exponent) > MAX_BITS:  # refused before it is computed: 9**9**9 has 370 million digits
            raise OverflowError
        return base**exponent.numerator
    result: Any = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise ToolError("A negative number has no such root among the real numbers.")
    return float(result)


def _rounded(value: Number, digits: Number = Fraction(0)) -> Number:
    """Halves go away from zero, as taught at school; Python's own round() takes them to the even neighbour."""
    if not -100 <= digits <= 100:
        raise ValueError
    scale = Fraction(10) ** _integer(digits)
    exact = Fraction(repr(value)) if isinstance(value, float) else value
    return (-1 if exact < 0 else 1) * math.floor(abs(exact) * scale + Fraction(1, 2)) / scale


def _square_root(value: Number) -> Number:
    if isinstance(value, Fraction) and value >= 0:
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root * root == value:
            return root
    return math.sqrt(value)


def _factorial(value: Number) -> Number:
    if value > 1000:
        raise OverflowError
    return Fraction(math.factorial(_integer(value)))


def _integer(value: Number) -> int:
    if int(value) != value:
        raise ValueError
    return int(value)


def _of_integers(function: Callable[..., int]) -> Callable[..., Number]:
    return lambda *values: Fraction(function(*map(_integer, values)))


def _of_floats(function: Callable[..., float]) -> Callable[..., Number]:
    # Integers are passed as such: math.log takes those that no float can hold.
    return lambda *values: function(*(int(value) if int(value) == value else float(value) for value in values))


def _angular(function: Callable[[float], float]) -> Callable[..., Number]:
    return lambda angle: round(function(float(angle)), 15)  # sin(pi) is 0, not 1.2e-16


def _sum(*values: Number) -> Number:
    return sum(values, Fraction(0))


def _mean(*values: Number) -> Number:
    return _sum(*values) / len(values)


_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b), ast.Mod: operator.mod, ast.Pow: _power,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "sqrt": _square_root, "abs": abs, "round": _rounded, "floor": lambda x: Fraction(math.floor(x)),
    "ceil": lambda x: Fraction(math.ceil(x)), "min": lambda *v: min(v), "max": lambda *v: max(v), "sum": _sum,
    "average": _mean, "avg": _mean, "mean": _mean, "pow": _power, "log": _of_floats(math.log),
    "ln": _of_floats(math.log), "log10": _of_floats(math.log10), "log2": _of_floats(math.log2),
    "exp": _of_floats(math.exp),
    "sin": _angular(math.sin), "cos": _angular(math.cos), "tan": _angular(math.tan), "asin": _angular(math.asin),
    "acos": _angular(math.acos), "atan": _angular(math.atan), "radians": _angular(math.radians),
    "degrees": _angular(math.degrees), "factorial": _factorial, "cbrt": _of_floats(math.cbrt),
    "gcd": _of_integers(math.gcd), "lcm": _of_integers(math.lcm), "hypot": _of_floats(math.hypot),
}  # fmt: skip
_CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "e": math.e}
