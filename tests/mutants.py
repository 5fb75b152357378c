"""Breaks the code in one place at a time and tells which test sees it: python tests/mutants.py [WORDS OF A NAME].

Not collected by pytest. Each mutant is made in a copy of the checkout, and the tests named beside it run there until
the first of them fails. The table at the end shows that test; a mutant that no test sees ends the script with 1.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutant(NamedTuple):
    """A place to break.

    Attributes:
        name: What goes wrong.
        file: Of the package.
        old: Stands in the file exactly once.
        new: Takes its place.
        tests: Files and options for pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "drops draw the same numbers in each iteration",
        "trainers/mirror_descent.py",
        "(args.seed << 32) + (now.number << 8) + now.refill",
        "(args.seed << 32) + now.refill",
        "tests/trainers/test_mirror_descent.py",
    ),
    Mutant(
        "the sampler's random state is not restored",
        "sampling/weighted.py",
        'self._rng.bit_generator.state = state["rng"]',
        "pass",
        "tests/sampling",
    ),
    Mutant(
        "log-probabilities of the buffer come back reversed",
        "rollouts/buffer.py",
        "Trajectory(ids_T.copy(), logps_T.copy(), [",
        "Trajectory(ids_T.copy(), logps_T[::-1].copy(), [",
        "tests/rollouts tests/trainers/test_partial_rollouts.py",
    ),
    Mutant(
        "the share of real rows is left out of the loss",
        "trainers/mirror_descent.py",
        'keep_B / (len(keep_B) * inputs.get("fill_share", 1.0))',
        "keep_B / len(keep_B)",
        "tests/trainers/test_partial_rollouts.py",
    ),
    Mutant(
        "the iteration in which groups were started is not restored",
        "trainers/partial_rollouts.py",
        'self.started_in = state["started_in"]',
        "pass",
        "tests/trainers/test_partial_rollouts.py",
    ),
    Mutant(
        "the loss is not divided for gradient accumulation",
        "trainers/mirror_descent.py",
        "return loss / self.current_gradient_accumulation_steps if self.model.training else loss",
        "return loss",
        "tests/trainers/test_loss.py tests/trainers/test_mirror_descent.py",
    ),
    Mutant(
        "prompts of refilled groups are padded on the right",
        "trainers/refill.py",
        "key in _PROMPT_KEYS, fill)",
        "False, fill)",
        "tests/trainers/test_mirror_descent.py",
    ),
    Mutant(
        "evaluation takes the 50 most probable tokens only",
        "generation/transformers_generation.py",
        '"top_k": 0}',
        '"top_k": 50}',
        "tests/generation tests/samples",
    ),
    Mutant(
        "an end-of-sequence token does not end a response that may repeat itself",
        "generation/segments.py",
        "            ends_N = ends_N | self.detector.step(ids_N, rows_N)\n",
        "            ends_N = self.detector.step(ids_N, rows_N)\n",
        "tests/generation tests/trainers/test_partial_rollouts.py",
    ),
    Mutant(
        "unsolved problems may fill a whole draw",
        "sampling/prioritized.py",
        "return int(self.cap * n + 1e-9)",
        "return n",
        "tests/sampling",
    ),
    Mutant(
        "sizes of a checkpoint's files are not compared",
        "trainers/checkpoint.py",
        "        if found != size:",
        "        if found is None:",
        "tests/trainers/test_resume.py",
    ),
    Mutant(
        "the others pause one ended response too late",
        "rollouts/budget.py",
        "return max(1, math.ceil(round(self.pause_share * num_trajectories, 9)))",
        "return max(1, math.ceil(round(self.pause_share * num_trajectories, 9))) + 1",
        "tests/rollouts tests/trainers/test_partial_rollouts.py",
    ),
    Mutant(
        "the importance weight is upside down",
        "objective/surrogate.py",
        "return gap_BT.exp().clamp(max=cap).detach()",
        "return (-gap_BT).exp().clamp(max=cap).detach()",
        "tests/objective/test_objective.py",
    ),
    Mutant(
        "a wrong response of equal length is rejected in a pair",
        "long2short/pairs.py",
        "not sample.right and sample.tokens > chosen.tokens",
        "not sample.right and sample.tokens >= chosen.tokens",
        "tests/long2short/test_pairs.py",
    ),
    Mutant(
        "log-probabilities of segments leave the temperature out",
        "generation/segments.py",
        "torch.log_softmax(scores.float() / self.stop.temperature, dim=-1)",
        "torch.log_softmax(scores.float(), dim=-1)",
        "tests/trainers/test_partial_rollouts.py",
    ),
    Mutant(
        "the advantage is computed without the length reward",
        "trainers/mirror_descent.py",
        "        rewards_NF = now.verdicts.rewards_NF\n",
        "        rewards_NF = now.verdicts.rewards_NF.clone()\n"
        "        if self.args.length_penalty_weight > 0:\n"
        '            rewards_NF[:, self.reward_func_names.index("length_reward")] = 0.0\n',
        "tests/trainers/test_mirror_descent.py",
    ),
    Mutant(
        "success rates include the length reward",
        "trainers/added_rewards.py",
        "            rewards_NF[:, column] = length_reward(verdicts.lengths_N, correct_N, trainer.num_generations)\n",
        "            rewards_NF[:, column] = length_reward(verdicts.lengths_N, correct_N, trainer.num_generations)\n"
        "            verdicts.correct_N &= rewards_NF[:, column] > 0\n",
        "tests/trainers/test_mirror_descent.py",
    ),
    Mutant(
        "the pull to the start is not divided by lengths",
        "objective/update_loss.py",
        'self.beta * figures["kl"] / divisor_B',
        'self.beta * figures["kl"]',
        "tests/objective/test_update_loss.py",
    ),
    Mutant(
        "an update that is not finite is made",
        "trainers/update_guard.py",
        "            self._drop_gradients(model)\n",
        "",
        "tests/trainers/test_not_finite.py",
    ),
    Mutant(
        "a row with an infinite reward keeps its verdict",
        "trainers/sampled_grpo.py",
        "        rewards_NF[not_finite_N] = torch.nan\n",
        "",
        "tests/trainers/test_not_finite.py",
    ),
    Mutant(
        "exported views are sent with their whole buffer",
        "megatron/engine.py",
        "yield name, tensor.clone() if is_view else tensor",
        "yield name, tensor",
        "tests/megatron/test_layouts.py -k sends_no_more",
    ),
    Mutant(
        "an error amid a segment leaves a stop in every later call of generate",
        "generation/segments.py",
        "    try:\n        yield\n    finally:\n        del model.generate",
        "    yield\n    del model.generate",
        "tests/trainers/test_partial_rollouts.py tests/generation",
    ),
]


def main(words: list[str]) -> int:
    """Try the mutants whose names hold all words; return the number that no test saw, 1 at most."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "outputs", "docs", "benchmarks"))
        for number, mutant in enumerate(chosen, start=1):
            print(f"{number}/{len(chosen)} {mutant.name}", flush=True)
            rows.append((mutant.name, killing_test(mutant, copy)))
    print("\n| mutant | test that sees it |\n|---|---|")
    for name, test in rows:
        print(f"| {name} | {test or '**none**'} |")
    return int(any(test is None for _, test in rows))


def killing_test(mutant: Mutant, copy: Path) -> str | None:
    """Return the first test that fails with a mutant, or None.

    Args:
        mutant: The place to break.
        copy: Of the checkout; as it was afterwards.
    """
    file = copy / "k15_plugins" / mutant.file
    whole = file.read_text()
    if whole.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.file} holds the place of {mutant.name!r} {whole.count(mutant.old)} times, not once."
        )
    file.write_text(whole.replace(mutant.old, mutant.new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests.split()]
    env = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "CI": "true"}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    file.write_text(whole)
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise RuntimeError(f"pytest did not run: {done.stdout[-500:]} {done.stderr[-500:]}")
    return failed[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
