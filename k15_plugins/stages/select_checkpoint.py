"""The choice of a checkpoint by the balance of accuracy and tokens (paper 2.4)."""

from pathlib import Path
from typing import Any

from k15_plugins.evaluation.frontier import select
from k15_plugins.processes import is_first_rank
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens, point
from k15_plugins.runs import folder
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.stages.collect import Sampling
from k15_plugins.stages.measure import measure, write_evaluation, write_figures
from k15_plugins.stages.problems import build_problems, check_train
from k15_plugins.stages.train import quiet
from k15_plugins.trainers.checkpoint import check_checkpoint, checkpoints_in, is_half


def select_checkpoint(
    config: dict[str, Any],
    run_dir: Path,
    run: str,
    accuracy_loss: float = 0.01,
    size: int = 256,
    num_samples: int = 4,
    batch_size: int = 256,
) -> None:
    """Choose the checkpoint of a run with the best balance of accuracy and tokens (paper 2.4, long2short RL).

    Among the checkpoints whose accuracy is within `accuracy_loss` of the best, the one with the fewest tokens.

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes the samples, `evaluation.json`, the picture and the chosen model.
        run: Folder of the run whose checkpoints are measured.
        accuracy_loss: Accuracy that fewer tokens may cost.
        size: Training problems to measure on.
        num_samples: Responses to a problem.
        batch_size: Responses that are sampled at once.

    Raises:
        ValueError: If the run has no complete checkpoint.
    """
    quiet()
    steps = _complete_checkpoints(Path(run) / folder.CHECKPOINTS)
    if not steps:
        raise ValueError(f"stage.run={run} has no complete checkpoint to select from; give the folder of a run.")
    whole, _ = build_problems(config)
    check_train(config, whole)
    problems = whole.train.select(range(min(size, len(whole.train))))
    models = {f"update {step}": str(path) for step, path in steps.items()}
    sampled = measure(Sampling(config, run_dir, problems, num_samples, batch_size), models)
    if is_first_rank():
        summaries = write_evaluation(run_dir, sampled)
        chosen = select([point(name, summary) for name, summary in summaries.items()], accuracy_loss)
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "accuracy_tokens.png", chosen=chosen.name)
        write_figures(run_dir, summaries[chosen.name])
        print(
            f"k15: {chosen.name} is selected: accuracy {chosen.accuracy:.3f}, {chosen.tokens:.1f} tokens", flush=True
        )
        model, tokenizer = build_model({**config["model"], "name": models[chosen.name]})
        model.save_pretrained(run_dir / folder.MODEL)
        tokenizer.save_pretrained(run_dir / folder.MODEL)


def _complete_checkpoints(checkpoints: Path) -> dict[int, Path]:
    found = {step: path for step, path in checkpoints_in(checkpoints).items() if not is_half(path)}
    for path in found.values():
        check_checkpoint(path)
    return found
