"""Many right answers again, of which only the outputs tell."""

from k15_plugins.code_tests.reasons import Reason

FATE = Reason.SPECIAL_JUDGE_IN_OUTPUTS

PROMPT = "You are given s (100 <= s <= 1000). Print three positive integers whose sum is s."

GENERATOR = "from cyaron import *\nprint(randint(100, 1000))\n"

SUBMISSIONS = [f"s = int(input())\nprint({i}, {i + 1}, s - {2 * i + 1})" for i in (1, 1, 2, 3, 5, 8, 13, 21, 34)]
SUBMISSIONS[1] = f"# the first one once more\n{SUBMISSIONS[1]}"
SUBMISSIONS.append("s = int(input())\nprint(1 // 0 if s > 10**9 else 7, 7, s - 14)")
