"""Its statement tells of many right answers."""

from k15_plugins.code_tests.reasons import Reason

FATE = Reason.SPECIAL_JUDGE_IN_STATEMENT

PROMPT = """You are given s (2 <= s <= 1000). Print two positive integers whose sum is s.
If there are several answers, print any of them."""

GENERATOR = "from cyaron import *\nprint(randint(2, 1000))\n"

SUBMISSIONS = [f"s = int(input())\nprint(min({i}, s - 1), s - min({i}, s - 1))" for i in range(1, 11)]
