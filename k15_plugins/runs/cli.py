"""The command line: Hydra composes a config once, and the job is started on it as its own process."""

import itertools
import math
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from k15_plugins.processes import hold_lifeline
from k15_plugins.runs import closing, figures, folder, keys, model_names, resume, rewards, values
from k15_plugins.runs.conf import CONF
from k15_plugins.runs.labels import say, show_any_text
from k15_plugins.runs.launch import Backend, start_job
from k15_plugins.runs.megatron import MegatronBackend, check_stage
from k15_plugins.runs.sweep import SweepSummary
from k15_plugins.runs.words import (
    _is_question,
    name_sweep_over_recipes,
    options_first,
    refuse,
    refuse_empty_groups,
    refuse_without_recipe,
)

_started_by_a_job = False


def _folder(resume: str | None, new: str) -> str:
    """A resumed run, or sweep, goes on in its own folder; two of the same second get one each."""
    if resume is not None:
        if not Path(resume).is_dir():
            raise ValueError(
                f"resume must be the folder of a run, got {resume}, which is none; set the folder that a run printed."
            )
        return resume
    if _is_question(sys.argv[1:]):
        return new
    for number in itertools.count():
        place = Path(f"{new}-{number}" if number else new)
        try:
            place.mkdir(parents=True)
        except OSError:
            if place.is_dir():
                continue
            # Hydra, which makes the folder next, meets the same error and tells it.
        return str(place)
    raise AssertionError


# It makes the folder, so it is asked once.
OmegaConf.register_new_resolver("k15_folder", _folder, replace=True, use_cache=True)


def main() -> None:
    """Run the command line: `recipes/run.py`, `python -m k15_plugins` and the console script `k15`."""
    global _started_by_a_job
    _started_by_a_job = hold_lifeline()
    show_any_text()
    try:
        sys.argv[1:] = resume.own_words(sys.argv[1:])
    except ValueError as error:
        refuse(str(error))
    sys.argv[1:] = name_sweep_over_recipes(options_first(sys.argv[1:]))
    refuse_without_recipe(sys.argv[1:])
    refuse_empty_groups(sys.argv[1:])
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra then lets its exceptions through instead of printing them, and they are told here in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        compose_and_run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        refuse(sentence(error))
    except OSError as error:  # after Hydra's, some of which are OSErrors too
        if wants_traceback:
            raise
        refuse(folder.why_not_written(error))
    except KeyboardInterrupt:
        if SweepSummary.folder is not None:
            say(f"interrupted; what is finished is kept; go on by\n{resume.command(SweepSummary.folder)}")
        sys.exit(130)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
def compose_and_run(composed: DictConfig) -> float:
    """Run one job of the command and return the figure that sweeps compare; a failed job of a sweep gives NaN."""
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    alone = not sweeping and not _started_by_a_job
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    label = job_label(HydraConfig.get())
    try:
        config, backend = prepare(composed, HydraConfig.get().overrides.task)
        model_names.check_models(config)
        if sweeping and config["resume"] is not None and folder.is_finished(run_dir, config):
            say(f"{resume.shown(run_dir)} is finished", label)
            return metric(config["metric"], folder.read_status(run_dir))
        held = folder.open_folder(run_dir, config, in_sweep=sweeping)
    except (OmegaConfBaseException, ValueError) as error:
        if not (run_dir / folder.STATUS).exists():
            folder.write_status(run_dir, state="failed", error=sentence(error), figures={}, seconds=0)
        if not sweeping:
            refuse(sentence(error))
        say(sentence(error), label, error=True)
        return math.nan

    advice = model_names.advice(HydraConfig.get().runtime.choices.get("recipe"), config)
    if advice is not None:
        say(advice, label)
    say(f"run folder {resume.shown(run_dir)}", label)
    try:
        code = start_job(run_dir, backend, held, label)
    except KeyboardInterrupt:
        folder.finish(run_dir, "interrupted")
        if alone and folder.read_status(run_dir)["state"] != "finished":
            say(f"interrupted; {resume.how_to_go_on(run_dir)}")
        raise
    finally:
        os.close(held)
    with suppress(OSError):  # of a full disk, which the job has told
        folder.finish(run_dir, "failed", f"the job ended with exit code {code}" + (" (killed)" if code < 0 else ""))
    status = folder.read_status(run_dir)
    if status.get("error"):
        say(status["error"], label, error=True)
    if status["state"] != "finished" and not sweeping:
        if alone and resume.reached(run_dir) is not None:
            say(f"when that is mended, {resume.how_to_go_on(run_dir)}")
        sys.exit(code if code > 0 else 1)
    if status["state"] == "finished":
        for text in (closing.change(run_dir), closing.where_the_model_is(run_dir) if alone else None):
            if text is not None:
                say(text, label)
    return metric(config["metric"], status)


def job_label(hydra_config: Any) -> str:
    """Return what stands before the lines of a job, where several may run at once.

    Args:
        hydra_config: Hydra's own node.
    """
    one_by_one = hydra_config.launcher._target_.endswith(".BasicLauncher")
    return "" if hydra_config.mode == RunMode.RUN or one_by_one else f"[{hydra_config.job.num}] "


def prepare(composed: DictConfig, words: Sequence[str] = ()) -> tuple[dict[str, Any], Backend]:
    """Resolve and check a config as far as that is quick and needs no model.

    Args:
        composed: What Hydra composed.
        words: Of the command, which choose and override.

    Returns:
        The resolved config, and how to start the job.

    Raises:
        ValueError: If a key is unknown or a value is out of range.
    """
    config: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    for name in ("resume", "metric"):
        config.setdefault(name, None)
    keys.check_top_level(config)
    keys.drop_values_of_another_task(config, words)
    values.check_values(config)
    keys.check_nodes({"backend": config["backend"]})
    backend = get_object(config["backend"]["_target_"])(
        **{key: value for key, value in config["backend"].items() if key != "_target_"}
    )
    if not isinstance(backend, Backend):
        raise ValueError(
            f"backend._target_ must be a Backend, got {config['backend']['_target_']}; take backend=accelerate, say."
        )
    if isinstance(backend, MegatronBackend):
        check_stage(config)
    rewards.check_own_columns(config)
    figures.check_metric(config)
    return config, backend


def metric(name: str | None, status: dict[str, Any]) -> float:
    """Return the figure of a job that sweeps compare.

    Args:
        name: Key of the figure in metrics.jsonl.
        status: What the run's status.json holds.

    Returns:
        The figure; NaN if there is none to compare, or the job failed or lacks it, which is told.
    """
    if status["state"] != "finished" or name is None:
        return math.nan
    if name not in status["figures"]:
        print(f"k15: metric={name} is not among the run's figures: {', '.join(sorted(status['figures']))}.")
        return math.nan
    return status["figures"][name]


def sentence(error: BaseException) -> str:
    """Say in one sentence why a command is refused.

    Args:
        error: What Hydra, OmegaConf or this package raised.
    """
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        options = sorted(error.options)
        near = get_close_matches(option, options, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{group} has no option {option}{hint}; take one of {', '.join(options)}."
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value; give it one by {error.full_key}=..."
    text = str(error)
    if missing := re.search(r"Missing mandatory value: (\S+)", text):  # to which another value refers
        return f"{missing[1]} has no value; give it one by {missing[1]}=..."
    if isinstance(error, InterpolationResolutionError):
        # From `_folder`; the lines that follow name places inside of OmegaConf.
        return text.splitlines()[0].removeprefix("ValueError raised while resolving interpolation: ")
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and unknown[1] == "recipe":
        return f"a recipe is added with a plus sign: +{text.rpartition('use +')[2].strip()}."
    if unknown:
        hint = f" A field that the config does not list is added with +{unknown[1]}=..." if "." in unknown[1] else ""
        return keys.unknown_key(unknown[1], known_keys()) + hint
    parts = [text] + ([str(error.__cause__)] if isinstance(error.__cause__, OmegaConfBaseException) else [])
    return " ".join(" ".join(parts).split())


def known_keys() -> list[str]:
    """Return the dotted keys of the command's own config without the values it was to override."""
    GlobalHydra.instance().clear()
    words = sys.argv[1:]
    recipe = [word for word in words if re.fullmatch(r"\+recipe=\w+", word)]
    own = [after for word, after in itertools.pairwise(words) if word in ("--config-dir", "-cd")]
    own += [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    places = [f"hydra.searchpath=[{','.join(str(Path(place).absolute()) for place in own)}]"] if own else []
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("run", overrides=[*places, *recipe])
    return list(keys.dotted(OmegaConf.to_container(composed)))  # type: ignore[arg-type]
