"""The end of a sweep: a table and a picture over its jobs."""

import csv
import math
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from k15_plugins.files.jsonl import read_lines
from k15_plugins.report.history import METRICS
from k15_plugins.runs import folder
from k15_plugins.runs.labels import say
from k15_plugins.runs.resume import shown

_COLUMNS = ("reward", "k15/accuracy", "completions/mean_length", "eval_k15/accuracy", "eval_completions/mean_length")
Job = dict[str, Any]


class SweepSummary(Callback):
    """Sums a sweep up in its folder when all jobs are done; Hydra calls it in the process that started the sweep."""

    folder: Path | None = None
    """Of the sweep that this process has started."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Say where the sweep is.

        Args:
            config: The config of the sweep, with Hydra's own node.
            **kwargs: What else Hydra passes.
        """
        SweepSummary.folder = Path(config.hydra.sweep.dir)
        say(f"sweep folder {shown(SweepSummary.folder)}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write `sweep.csv`, `sweep.md` and `sweep.png`, and exit with 1 if a job did not finish.

        Args:
            config: The config of the sweep, with Hydra's own node.
            **kwargs: What else Hydra passes.
        """
        sweep_dir = Path(config.hydra.sweep.dir)
        jobs = read_jobs(sweep_dir)
        if not jobs:
            return
        summarize(sweep_dir, jobs, config.metric)
        failed = [job for job in jobs if job["state"] != "finished"]
        say(f"{len(jobs) - len(failed)} of {len(jobs)} jobs finished; see {shown(sweep_dir / 'sweep.md')}")
        if failed:
            sys.exit(1)


def read_jobs(sweep_dir: Path) -> list[Job]:
    """Read the jobs of a sweep: `job`, `overrides`, `folder`, and what status.json holds.

    Args:
        sweep_dir: The sweep's folder.
    """
    folders = [path.parent for path in sweep_dir.rglob(folder.STATUS)]
    jobs = [
        {
            "job": str(path.relative_to(sweep_dir)),
            "folder": path,
            "overrides": yaml.safe_load((path / ".hydra" / "overrides.yaml").read_text()),
            "error": "it was killed, or is not done yet",  # until a status says otherwise
            "figures": {},
            **folder.read_status(path),
        }
        for path in folders
        if not any(parent in folders for parent in path.parents)  # the runs of a pipeline lie in its folder
    ]
    return sorted(jobs, key=lambda job: (_number(job["folder"]), job["job"]))


def _number(job_dir: Path) -> float:
    """Return the number that Hydra gave a job, whatever its folder is called; infinity where it gave none."""
    number = yaml.safe_load((job_dir / ".hydra" / "hydra.yaml").read_text())["hydra"]["job"].get("num")
    return number if isinstance(number, int) else math.inf


def group_jobs(jobs: list[Job]) -> dict[str, list[Job]]:
    """Group jobs that differ in nothing but the seed, under the overrides that set them apart.

    Args:
        jobs: Of `read_jobs`.
    """
    shared = set.intersection(*(set(job["overrides"]) for job in jobs))
    groups = defaultdict(list)
    for job in jobs:
        apart = [word for word in job["overrides"] if word not in shared and not word.startswith("seed=")]
        groups[" ".join(apart) or "all"].append(job)
    return dict(groups)


def summarize(sweep_dir: Path, jobs: list[Job], metric: str | None) -> None:
    """Write the table of all jobs, the table of means over the seeds, and the picture.

    Args:
        sweep_dir: The sweep's folder.
        jobs: Of `read_jobs`.
        metric: The figure that the sweep compares; the first of the table.
    """
    columns = list(dict.fromkeys([*([metric] if metric else []), *_COLUMNS]))
    with (sweep_dir / "sweep.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["job", "overrides", "state", "seconds", *columns, "error"])
        for job in jobs:
            figures = [job["figures"].get(name, "") for name in columns]
            facts = [job["job"], " ".join(job["overrides"]), job["state"], job.get("seconds", "")]
            writer.writerow([*facts, *figures, job["error"]])

    groups = group_jobs(jobs)
    columns = [name for name in columns if any(name in job["figures"] for job in jobs)]
    lines = [
        f"# Sweep {sweep_dir.name}",
        "",
        f"Last values, mean ± standard deviation over the seeds. Shared by all jobs: `{' '.join(_shared(jobs))}`.",
        "",
        f"| overrides | finished | {' | '.join(columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for name, members in groups.items():
        finished = [job for job in members if job["state"] == "finished"]
        cells = [_mean([job["figures"][key] for job in finished if key in job["figures"]]) for key in columns]
        lines.append(f"| {name} | {len(finished)}/{len(members)} | {' | '.join(cells)} |")
    failed = [job for job in jobs if job["state"] != "finished"]
    lines += [f"\n- job {job['job']} ({' '.join(job['overrides'])}) {job['state']}: {job['error']}" for job in failed]
    if any(job["figures"] for job in jobs):
        from k15_plugins.report.curves import draw_sweep

        curves = {
            name: [read_lines(job["folder"] / METRICS) for job in members if job["state"] == "finished"]
            for name, members in groups.items()
        }
        draw_sweep(f"Sweep of {' '.join(_shared(jobs))}", curves, metric, sweep_dir / "sweep.png")
        lines += ["", "![curves](sweep.png)"]
    (sweep_dir / "sweep.md").write_text("\n".join(lines) + "\n")


def _shared(jobs: list[Job]) -> list[str]:
    return [word for word in jobs[0]["overrides"] if all(word in job["overrides"] for job in jobs)]


def _mean(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{fmean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")
