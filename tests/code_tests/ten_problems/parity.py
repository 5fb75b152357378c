"""The generator reads a clock."""

from k15_plugins.code_tests.reasons import Reason

FATE = Reason.GENERATOR_NOT_DETERMINISTIC

PROMPT = "You are given an integer from 0 to 10^18. Print `even` or `odd`."

GENERATOR = """
import random, time
random.seed(time.time_ns())
print(random.randint(0, 10**18))
"""

SUBMISSIONS = [
    "print('odd' if int(input()) % 2 else 'even')",
    "print(['even', 'odd'][int(input()) & 1])",
    "print('odd' if input().strip()[-1] in '13579' else 'even')",
    "n = int(input())\nprint('even' if n // 2 * 2 == n else 'odd')",
    "n = int(input())\nif n % 2 == 0:\n    print('even')\nelse:\n    print('odd')",
    "print('odd' if int(input()) % 2 == 1 else 'even', flush=True)",
    "print({True: 'even', False: 'odd'}[int(input()) % 2 == 0])",
    "n = input().strip()\nprint('even' if int(n[-1]) in (0, 2, 4, 6, 8) else 'odd')",
    "import sys\nprint('odd' if int(sys.stdin.readline()) % 2 == 1 else 'even')",
    "print('odd' * (int(n := input()) % 2) or 'even')",
]
