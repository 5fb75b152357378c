"""Eight right submissions, one that reads the clock and one that throws a coin: eight are too few."""

from k15_plugins.code_tests.reasons import Reason

FATE = Reason.TOO_FEW_PASS

PROMPT = "You are given an integer from 0 to 10^18. Print the sum of its digits."

GENERATOR = """
from cyaron import *
print(randint(0, 10 ** randint(1, 18)))
"""

CLOCK = """
import time
n = input()
print(sum(map(int, n)) + time.perf_counter_ns() % 100003)
"""
COIN = """
import random
n = input()
print(sum(map(int, n)) + random.randrange(10**6))
"""

SUBMISSIONS = [
    "print(sum(map(int, input().strip())))",
    "print(sum(int(c) for c in input() if c.isdigit()))",
    CLOCK,
    "n = int(input())\ns = 0\nwhile n:\n    s += n % 10\n    n //= 10\nprint(s)",
    "def f(n):\n    return n and n % 10 + f(n // 10)\nprint(f(int(input())))",
    COIN,
    "print(sum(ord(c) - 48 for c in input().strip()))",
    "n = input()\nprint(sum(d * n.count(str(d)) for d in range(10)))",
    "from functools import reduce\nprint(reduce(lambda s, c: s + int(c), input().strip(), 0))",
    "import sys\nn = int(sys.stdin.read())\ns = 0\nwhile n > 0:\n    n, d = divmod(n, 10)\n    s += d\nprint(s)",
]
