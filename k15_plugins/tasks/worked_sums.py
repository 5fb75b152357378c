"""Right answers to sums, from which the embedded model learns in vanilla SFT: at once, in steps, in checked steps."""

import random
from typing import Any, Literal

from k15_plugins.tasks.entries import load_entry
from k15_plugins.tasks.problems import Problems
from k15_plugins.tasks.thoughts import write_thoughts


def worked_sums(problems: Problems, style: Literal["answer", "steps", "checked"]) -> list[dict[str, Any]]:
    """Write a right answer to each problem, asked for in words of the embedded model.

    Args:
        problems: The task chain_sum.
        style: `answer` asks `4 + 3 - 2 = answer` and gives the number alone, `steps` asks `4 + 3 - 2 =` and gives
            the steps, `checked` asks `check 4 + 3 - 2 =` and gives each step with a check.

    Returns:
        TRL's prompt-completion format.
    """
    rng = random.Random(0)  # nothing is left to chance: no step is wrong, and all or none are checked
    rows = []
    for row in problems.train:
        expression = load_entry(row["entry"])["metadata"]["expression"]
        if style == "answer":
            rows.append({"prompt": f"{expression} = answer", "completion": f" {row['answer']}"})
        else:
            text = write_thoughts(expression, rng, p_wrong=0.0, p_check=float(style == "checked"))
            ask = "check " if style == "checked" else ""
            rows.append({"prompt": f"{ask}{expression} =", "completion": f" {text}"})
    return rows
