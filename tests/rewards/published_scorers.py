r"""What published scorers say to a response; `python tests/rewards/published_scorers.py` writes it into the table.

- math-verify 0.9.0: `parse` and `verify` with their defaults on the whole response, as lighteval and lm-eval's
  `math_verify` metric call them.
- TRL 1.16.0: `trl.rewards.accuracy_reward`.
- lm-eval 0.4.13: the scorer of `aime`, and minerva's normalization and comparison of what stands in the last box.

lm-eval wants another version of antlr4 than this package, so its verdicts are written in an environment of their own:
`pip install lm-eval[math] datasets`, then this script with `lm_eval`.
"""

import json
import sys
from pathlib import Path

FORMS = Path(__file__).parent / "data" / "math_forms.jsonl"


def read_forms() -> list[dict]:
    return [json.loads(line) for line in FORMS.read_text(encoding="utf-8").split("\n") if line]


def math_verify_and_trl(response: str, gold: str) -> dict[str, int]:
    from math_verify import parse, verify
    from trl.rewards import accuracy_reward

    (trl,) = accuracy_reward([[{"content": response}]], [f"${gold}$"])
    return {"math_verify": int(verify(parse(f"${gold}$"), parse(response))), "trl": int(trl)}


def lm_eval(response: str, gold: str) -> dict[str, int]:
    from lm_eval.tasks.aime import utils as aime
    from lm_eval.tasks.minerva_math import utils as minerva

    box = minerva.last_boxed_only_string(response)
    try:
        answer = minerva.normalize_final_answer(minerva.remove_boxed(box))
        is_right = minerva.is_equiv(answer, minerva.normalize_final_answer(gold))
    except (AssertionError, TypeError):  # no box, or one it cannot read
        is_right = False
    aime_verdict = aime.process_results({"answer": gold}, [response])["exact_match"]
    return {"lm_eval_aime": aime_verdict, "lm_eval_minerva": int(is_right)}


if __name__ == "__main__":
    scorer = lm_eval if sys.argv[1:] == ["lm_eval"] else math_verify_and_trl
    forms = [form | scorer(form["response"], form["gold"]) for form in read_forms()]
    FORMS.write_text("".join(json.dumps(form, ensure_ascii=False) + "\n" for form in forms), encoding="utf-8")
