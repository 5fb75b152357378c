"""What a run did, in a sentence, from its config."""

from pathlib import Path
from typing import Any

import yaml


def recipe_of(run_dir: Path) -> str:
    """Return the name of the recipe that a run follows, or of the folder that its runs lie in.

    Args:
        run_dir: The run's folder.
    """
    return _choices(run_dir).get("recipe") or run_dir.resolve().parent.parent.name


def what_was_done(config: dict[str, Any], run_dir: Path) -> str:
    """Say what a run trains or measures, on what, from which model.

    Args:
        config: The resolved config.
        run_dir: The run's folder.
    """
    choices = _choices(run_dir)
    stage = _last_part(config.get("stage"))
    if stage == "reinforce":
        problems, groups, rewards = _problems(config, choices), _groups(config), _rewards(config)
        parts = [
            f"{_last_part(config.get('trainer'))} trains {_model(config, choices)} on {problems}",
            f"with {_last_part(config.get('sampler'))}" if config.get("sampler") else "",
            f"and the reward {rewards}" if rewards else "",
        ]
        return " ".join(part for part in parts if part) + (f": {groups}." if groups else ".")
    used = [_model(config, choices)] if config.get("model") else []
    used += [_problems(config, choices)] if config.get("task") else []
    return f"The stage {stage or 'of this recipe'}" + (f", with {' and '.join(used)}." if used else ".")


def _groups(config: dict[str, Any]) -> str:
    """Say how many rollouts an iteration has, where the config of one process tells."""
    args = config.get("trainer", {}).get("args", {})
    updates, rows, k = (
        args.get(name) for name in ("updates_per_iteration", "per_device_train_batch_size", "num_generations")
    )
    if not (updates and rows and k):
        return ""
    rollouts = updates * rows * args.get("gradient_accumulation_steps", 1) // (args.get("num_iterations") or 1)
    rollouts *= (config.get("backend") or {}).get("processes", 1) if _last_part(config["backend"]) == "Backend" else 1
    steps = args.get("max_steps", 0)
    length = f", {-(-steps // updates)} iterations" if steps > 0 else ""
    return f"{rollouts // k} problems x {k} rollouts an iteration, {updates} updates on them{length}"


def _model(config: dict[str, Any], choices: dict[str, str]) -> str:
    node = config.get("model") or {}
    return node.get("name") or f"model={choices.get('model') or _last_part(node)}"


def _problems(config: dict[str, Any], choices: dict[str, str]) -> str:
    node = config.get("task") or {}
    name = node.get("path") or node.get("name") or f"task={choices.get('task') or _last_part(node)}"
    size = f"{node['train_size']} problems of " if "train_size" in node else "the problems of "
    held_out = f" ({node['held_out_size']} others are held out)" if node.get("held_out_size") else ""
    return f"{size}{name}{held_out}"


def _rewards(config: dict[str, Any]) -> str:
    args = config.get("trainer", {}).get("args", {})
    names = [_last_part(node) for node in (config.get("reward") or {}).values()]
    if args.get("process_reward"):
        names = [f"lambda x final + (1 - lambda) x process of {' and '.join(names)}"]
    if args.get("length_penalty_weight", 0) > 0:
        begins = args.get("length_penalty_warmup_iterations", 0)
        names.append(f"the length reward x {args['length_penalty_weight']:g} from iteration {begins} on")
    return " + ".join(names)


def _last_part(node: Any) -> str:
    return node.get("_target_", "").rpartition(".")[2] if isinstance(node, dict) else ""


def _choices(run_dir: Path) -> dict[str, str]:
    """Return which option of each group the command chose; nothing where Hydra did not start the run."""
    path = run_dir / ".hydra" / "hydra.yaml"
    return yaml.safe_load(path.read_text())["hydra"]["runtime"]["choices"] if path.exists() else {}
