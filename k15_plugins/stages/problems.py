"""The problems of a run, and the rewards that judge them."""

from typing import Any

from k15_plugins.runs.build import build
from k15_plugins.runs.rewards import build_rewards, check_columns
from k15_plugins.tasks.problems import Problems


def build_problems(config: dict[str, Any]) -> tuple[Problems, list[Any]]:
    """Load the problems, and make the rewards that judge them.

    Args:
        config: The resolved config.

    Raises:
        ValueError: If there are no problems to train on, or they lack a column that a reward needs.
    """
    problems = build(config["task"])
    if not isinstance(problems, Problems):
        raise ValueError(
            f"task._target_={config['task']['_target_']} must return Problems, got a {type(problems).__name__}; see "
            "k15_plugins.tasks.problems."
        )
    # One of them may be empty: a benchmark has nothing to train on.
    columns = (problems.train if len(problems.train) else problems.held_out).column_names
    check_columns(config["reward"], columns, config["task"]["_target_"])
    return problems, build_rewards(config["reward"])


def check_train(config: dict[str, Any], problems: Problems) -> None:
    """Refuse a task of a stage that trains, if it has nothing to train on.

    Args:
        config: The resolved config.
        problems: Its problems.

    Raises:
        ValueError: If there is no problem.
    """
    if not len(problems.train):
        task = config["task"]["_target_"].rpartition(".")[2]
        raise ValueError(
            f"task ({task}) has no problems to train on; take another task, hold only a share of it out by "
            "task.held_out=0.2, or measure on it by evaluate."
        )
