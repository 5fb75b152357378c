"""The generator breaks the statement's limits, and most programs crash on its cases."""

from k15_plugins.code_tests.reasons import Reason

FATE = Reason.TOO_FEW_VALID

PROMPT = "You are given two integers a and b (0 <= a <= 1000, 1 <= b <= 1000). Print the quotient and the remainder."

GENERATOR = """
from cyaron import *
print(randint(0, 1000), choice([0, 0, 0, randint(1, 1000)]))
"""

SUBMISSIONS = [
    "a, b = map(int, input().split())\nprint(a // b, a % b)",
    "a, b = map(int, input().split())\nprint(*divmod(a, b))",
    "import sys\na, b = map(int, sys.stdin.read().split())\nq = a // b\nprint(q, a - q * b)",
    "a, b = map(int, input().split())\nassert b\nq = 0\nwhile a >= b:\n    a -= b\n    q += 1\nprint(q, a)",
    "a, b = [int(x) for x in input().split()]\nprint(int(a / b), a % b)",
    "s = input().split()\nprint(int(s[0]) // int(s[1]), int(s[0]) % int(s[1]))",
    "from fractions import Fraction\na, b = map(int, input().split())\nq = int(Fraction(a, b))\nprint(q, a - q * b)",
    "import operator\na, b = map(int, input().split())\nprint(operator.floordiv(a, b), operator.mod(a, b))",
    "a, b = map(int, input().split())\nprint(a // b if b else 0, a % b if b else 0)",
    "a, b = map(int, input().split())\nif b == 0:\n    raise SystemExit(3)\nprint(a // b, a % b, sep='\\n')",
]
