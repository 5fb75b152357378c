"""Seven quick submissions agree, and three that do not end on larger inputs keep the problem out."""

from k15_plugins.code_tests.reasons import Reason

FATE = Reason.TOO_FEW_PASS
CPU_SECONDS = 0.3

PROMPT = "You are given n (1 <= n <= 90). Print the n-th number of the sequence 1, 1, 2, 3, 5, 8, ..."

GENERATOR = """
from cyaron import *
print(choice([randint(1, 20), randint(60, 90)]))
"""

SLOW = """
def f(n):
    return 1 if n < 3 else f(n - 1) + f(n - 2)
print(f(int(input())))
"""

DOUBLING = """
def pair(n):
    if n == 0:
        return 0, 1
    a, b = pair(n // 2)
    c, d = a * (2 * b - a), a * a + b * b
    return (d, c + d) if n % 2 else (c, d)
print(pair(int(input()))[0])
"""

SUBMISSIONS = [
    "a, b = 1, 1\nfor _ in range(int(input()) - 1):\n    a, b = b, a + b\nprint(a)",
    SLOW,
    "n = int(input())\nf = [0, 1]\nwhile len(f) <= n:\n    f.append(f[-1] + f[-2])\nprint(f[n])",
    f"from functools import cache\n@cache{SLOW}",
    "n = int(input())\na, b = 0, 1\nwhile n:\n    a, b, n = b, a + b, n - 1\nprint(a)",
    SLOW.replace("f(", "g("),
    DOUBLING,
    "f = {1: 1, 2: 1}\nfor i in range(3, 91):\n    f[i] = f[i - 1] + f[i - 2]\nprint(f[int(input())])",
    "n = int(input())\nwhile n > 2:\n    pass\nprint(1)",
    "n = int(input())\nprint(pow(2 << n, n + 1, (4 << 2 * n) - (2 << n) - 1) % (2 << n))",
]
