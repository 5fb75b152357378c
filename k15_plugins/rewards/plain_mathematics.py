"""Whether a text is plain mathematics, small enough to be worked on, and what plain arithmetic comes to.

Nothing here runs a text: it is parsed, and its pieces are looked at.
"""

import ast
import math
import operator
import re
from collections.abc import Collection
from fractions import Fraction

_FUNCTIONS = (
    *("abs", "Abs", "Rational", "sqrt", "exp", "log", "ln", "sin", "cos", "tan", "cot", "sec", "csc"),
    *("asin", "acos", "atan", "acot", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)
_TOKEN = re.compile(
    r"\s|[-+*/^(),]|(?<![\w.])(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])|(?<![\w.])[A-Za-z]\w*(?![\w.])",
    re.ASCII,
)
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.Call),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.BitXor, ast.UAdd, ast.USub),
)
_LARGEST_WORK = 250
_CALL_WORK = 4
_ARITHMETIC = re.compile(r"(?:[-+/()\s\d]|\*(?!\s*\*))+", re.ASCII)
_OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def is_plain_mathematics(text: str, names: Collection[str]) -> bool:
    """Whether a text is an expression of numbers, names, `+ - * / ** ^`, brackets and calls of known functions only.

    An expression that sympy would work on for long is none: powers in exponents, exponents and numbers of hundreds,
    functions in functions in functions.

    Args:
        text: The text.
        names: Variables and constants that may occur; functions only where sine may.

    Returns:
        False too if it is no expression at all.
    """
    if _TOKEN.sub("", text):
        return False
    root = _parsed(text)
    if root is None:
        return False
    nodes = list(ast.walk(root))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    is_known = all(
        isinstance(node, _NODES)
        and (not isinstance(node, ast.Constant) or type(node.value) in (int, float))
        and (not isinstance(node, ast.Call) or (isinstance(node.func, ast.Name) and not node.keywords))
        and (not isinstance(node, ast.Name) or node.id in (_FUNCTIONS if id(node) in called else names))
        for node in nodes
    )
    return is_known and _work(root.body) <= _LARGEST_WORK


def plain_arithmetic(text: str) -> tuple[Fraction, list[int]] | None:
    """Work out an expression of whole numbers, `+ - * /` and brackets.

    Args:
        text: The text.

    Returns:
        Its exact value and the numbers in it, in order; None if it is anything else, or divides by zero.
    """
    root = _parsed(text) if _ARITHMETIC.fullmatch(text) and "//" not in text else None
    if root is None:
        return None
    try:
        return _value(root.body), [int(number) for number in re.findall(r"\d+", text)]
    except (ValueError, ZeroDivisionError):
        return None


def _parsed(text: str) -> ast.Expression | None:
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _value(node: ast.AST) -> Fraction:
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.UnaryOp(op=sign, operand=operand):
            return -_value(operand) if isinstance(sign, ast.USub) else _value(operand)
        case ast.BinOp(left=left, op=sign, right=right):
            return _OPERATIONS[type(sign)](_value(left), _value(right))
    raise ValueError


def _work(node: ast.AST) -> float:
    """About how large an expression becomes when powers are multiplied out; infinite for a power in an exponent."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return 1 + math.log10(1 + abs(number)) if abs(number) < 1e300 else math.inf
        case ast.UnaryOp(operand=operand):
            return _work(operand)
        case ast.BinOp(left=left, op=ast.Pow() | ast.BitXor(), right=right):
            return _work(left) * _largest_exponent(right)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=right):
            return _work(left) + _work(right)
        case ast.BinOp(left=left, right=right):
            return max(_work(left), _work(right))
        case ast.Call(args=arguments):
            return _CALL_WORK * max((_work(argument) for argument in arguments), default=1)
    return 1


def _largest_exponent(node: ast.AST) -> float:
    for inner in ast.walk(node):
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Pow | ast.BitXor):
            return math.inf
    values = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
    numbers = [abs(value) for value in values if isinstance(value, int | float)]
    return max(_work(node), math.prod(max(1, number) for number in numbers))
