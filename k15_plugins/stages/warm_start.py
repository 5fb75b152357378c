"""The warm start: supervised training on long chains of thought before reinforcement learning (paper 2.2)."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from hydra.utils import get_object
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, set_seed

from k15_plugins.evaluation.accuracy import Evaluation, evaluate
from k15_plugins.processes import is_first_rank
from k15_plugins.report.history import METRICS
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs import folder
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.runs.labels import say
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.stages.problems import build_problems, check_train
from k15_plugins.stages.supervised import save, supervise
from k15_plugins.stages.train import quiet
from k15_plugins.tasks.thoughts import count_steps, thought_rows

COMMAND = "python recipes/run.py +recipe=warm_start"
"""What makes the shipped weights again."""

_README = """# A warm start

A warm start for reinforcement learning: a causal language model trained on long chains of thought with mistakes,
checks and corrections (`k15_plugins/tasks/thoughts.py`), which are its own kind of speech and nothing else.

    {command}

Seed {seed}. The numbers below are for {held_out} held-out problems, sampled at temperature 1; `warm_start.json` has
them with every argument of the training.

|                           | before   | after    | in the traces |
|---------------------------|---------:|---------:|--------------:|
| right answers             | {before[accuracy]:8.3f} | {after[accuracy]:8.3f} |               |
| tokens of a response      | {before[mean_tokens]:8.1f} | {after[mean_tokens]:8.1f} |               |
| steps that are wrong      | {before[wrong_step_share]:8.3f} | {after[wrong_step_share]:8.3f} | {p_wrong:13.3f} |
| steps that are checked    | {before[check_share]:8.3f} | {after[check_share]:8.3f} | {p_check:13.3f} |
| checks that are right     | {before[right_check_share]:8.3f} | {after[right_check_share]:8.3f} |         1.000 |
"""


def warm_start(config: dict[str, Any], run_dir: Path, train: dict[str, Any]) -> None:
    """Train a model on written chains of thought before reinforcement learning (paper 2.2).

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes the figures before (step 0) and after (step 1), and the model.
        train: Node of `train_on_thoughts`, its `sft` one of `SFTConfig`.
    """
    quiet()
    set_up_devices()
    set_seed(config["seed"])
    problems, reward_funcs = build_problems(config)
    check_train(config, problems)
    model, tokenizer = build_model(config["model"], problems.train, problems.held_out)
    if is_first_rank():
        say(f"measuring the model on {len(problems.held_out)} held-out problems, before the training and after it")
    result = get_object(train["_target_"])(
        model,
        tokenizer,
        problems.train,
        problems.held_out,
        str(run_dir / folder.MODEL),
        reward_funcs[0],
        seed=config["seed"],
        callbacks=[RunRecorder(run_dir)],
        sft={key: value for key, value in train["sft"].items() if key != "_target_"},
        **{key: value for key, value in train.items() if key not in ("_target_", "sft")},
    )
    if is_first_rank():
        lines = [{"step": step, "iteration": 0, **result[when]} for step, when in enumerate(("before", "after"))]
        (run_dir / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))


def train_on_thoughts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Dataset,
    held_out: Dataset,
    output_dir: str,
    reward_func: Callable[..., list[float | None]],
    p_wrong: float = 0.40,
    p_check: float = 0.35,
    clean_share: float = 0.6,
    traces: int = 70_000,
    max_new_tokens: int = 160,
    evaluation_batch_size: int = 256,
    seed: int = 0,
    sft: Mapping[str, Any] | None = None,
    command: str = COMMAND,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Train a model on written thoughts with TRL's `SFTTrainer`, measure it, and save it with its tokenizer.

    Args:
        model: Trained in place.
        tokenizer: Needs an end-of-sequence token, which closes every trace.
        problems: Columns `prompt`, `answer` and `entry`; the traces are written for these.
        held_out: Problems to measure on, with the same columns.
        output_dir: Folder for weights (safetensors), tokenizer, `README.md` and `warm_start.json`.
        reward_func: TRL reward function that gives 1.0 for a right final answer.
        p_wrong: Share of wrong steps in the traces.
        p_check: Share of checked steps in the traces.
        clean_share: Share of the traces, the first ones, without mistakes: from them the model learns to
            add, and from the others how often to err. Noisy traces alone take several times as long to learn from.
        traces: Number of traces; each is written once and, in the one epoch of the default, seen once.
        max_new_tokens: Limit of a sampled response, in tokens.
        evaluation_batch_size: Problems sampled at once when measuring.
        seed: Seed of traces, order and sampling; the weights' own seed is the caller's.
        sft: Arguments of `SFTConfig`, such as `learning_rate`. Leave the epochs at 1: a
            second one would begin with the clean traces again.
        command: The command that made this, written beside the weights.
        callbacks: Callbacks that show the progress, instead of transformers' own.

    Returns:
        What `warm_start.json` holds: `command`, `seed`, all arguments, and `before` and `after` with
        `accuracy`, `mean_tokens`, `truncated_share`, `wrong_step_share`, `check_share`, `right_check_share`.
    """

    def measure() -> dict[str, float]:
        model.eval()
        evaluation = evaluate(
            model,
            tokenizer,
            held_out,
            reward_func,
            max_new_tokens=max_new_tokens,
            batch_size=evaluation_batch_size,
            temperature=1.0,
            seed=seed,
        )
        return _measured(evaluation)

    sft = dict(sft or {})
    before = measure()
    rows = Dataset.from_list(list(thought_rows(problems, p_wrong, p_check, clean_share, seed, traces)))
    supervise(model, tokenizer, rows, output_dir, seed, sft, callbacks)
    result = {
        "command": command,
        "seed": seed,
        "p_wrong": p_wrong,
        "p_check": p_check,
        "clean_share": clean_share,
        "traces": traces,
        "problems": len(problems),
        "held_out": len(held_out),
        "sft": sft,
        "before": before,
        "after": measure(),
    }
    save(result, model, tokenizer, Path(output_dir))
    (Path(output_dir) / "README.md").write_text(_README.format(**result))
    return result


def _measured(evaluation: Evaluation) -> dict[str, float]:
    counts = count_steps(sample.response for problem in evaluation.problems for sample in problem.samples)
    return {
        "accuracy": evaluation.accuracy,
        "mean_tokens": evaluation.mean_tokens,
        "truncated_share": evaluation.truncated_share,
        "wrong_step_share": counts.wrong_steps / max(counts.steps, 1),  # an untrained model writes no step at all
        "check_share": counts.checks / max(counts.steps, 1),
        "right_check_share": 1 - counts.wrong_checks / counts.checks if counts.checks else 0.0,
    }
