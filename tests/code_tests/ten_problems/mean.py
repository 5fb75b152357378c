"""Floats, written with more and fewer digits: kept."""

FATE = None

PROMPT = """You are given n (1 <= n <= 20) and n integers from 1 to 100. Print their mean and their root mean square,
each with an error of at most 1e-6."""

GENERATOR = """
from cyaron import *
n = randint(1, 20)
print(n)
print(*[randint(1, 100) for _ in range(n)])
"""

FORMS = [
    'print(m, r)',
    'print("%.9f %.9f" % (m, r))',
    'print(f"{m:.12f}")\nprint(f"{r:.12f}")',
    'print("{:.8f} {:.10f}".format(m, r))',
    'print(round(m, 8), round(r, 8))',
    'print(f"{m:.15e} {r:.15e}")',
    'print(repr(m) + "\\n" + repr(r))',
    'import sys\nsys.stdout.write("%.7f %.7f\\n" % (m, r))',
    'from decimal import Decimal\nprint(Decimal(m).quantize(Decimal("0.00000001")), "%.8f" % r)',
]  # fmt: skip
WHOLE = "print(int(m), int(r))"

COMPUTE = """
n = int(input())
a = list(map(int, input().split()))
m = sum(a) / n
r = (sum(x * x for x in a) / n) ** 0.5
"""

SUBMISSIONS = [COMPUTE + form for form in [*FORMS[:4], WHOLE, *FORMS[4:]]]
