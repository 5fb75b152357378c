"""Going on with a run by its folder alone, and what an interrupted, failed or finished run tells."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import yaml
from test_cli import ROOT, k15, status, wait_for  # noqa: F401

from k15_plugins.runs import resume


def paste(k15, command: str) -> subprocess.CompletedProcess:  # noqa: F811
    """Run a command as it was printed, in the folder and the environment of the first one."""
    env = os.environ | {"PYTHONPATH": f"{k15.folder}:{ROOT}"}
    return subprocess.run(command, shell=True, cwd=k15.folder, env=env, capture_output=True, text=True, timeout=120)


def lines_of(folder) -> int:
    return len((folder / "metrics.jsonl").read_text().splitlines())


def interrupt(k15, *words: str) -> str:  # noqa: F811
    """Start a run, press Ctrl-C when its stage is at work, and return what it printed."""
    process = k15.start("+recipe=stub", "+stage.wait_seconds=300", *words)
    wait_for(lambda: any(k15.folder.rglob("rank")))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    return out


def test_the_folder_alone_takes_the_words_of_its_run(k15):  # noqa: F811
    first = ("+recipe=stub", "seed=4", "stage.value=3", "+trainer.args.max_steps=1", "hydra.run.dir='my run'")
    assert k15(*first).returncode == 0
    alone = f"{sys.executable} -m k15_plugins \"resume='my run'\""
    for number in (2, 3):  # Hydra writes the words of the second command over those of the first
        done = paste(k15, alone)
        assert done.returncode == 0, done.stderr
        assert lines_of(k15.folder / "my run") == number
    config = yaml.safe_load((k15.folder / "my run" / "config.yaml").read_text())
    assert (config["seed"], config["stage"]["value"]) == (4, 3)
    assert status(k15.folder / "my run")["figures"]["score"] == 7
    assert not (k15.folder / "outputs").exists()
    assert paste(k15, f"{alone} +trainer.args.max_steps=2").returncode == 0
    refused = paste(k15, f"{alone} stage.value=5")
    assert refused.returncode == 2
    assert "k15: resume: stage.value was 3 in the run and is 5 now" in refused.stderr


@pytest.mark.slow
def test_the_folder_alone_of_a_sweep(k15):  # noqa: F811
    words = ("+recipe=stub", "-m", "seed=1,2", "hydra.sweep.dir=sweep", "hydra/launcher=joblib")
    subdir = "hydra.sweep.subdir='job=${hydra.job.num}'"
    assert k15(*words, subdir).returncode == 0
    job = k15.folder / "sweep" / "job=1"
    (job / "status.json").write_text(json.dumps(status(job) | {"state": "interrupted"}))
    done = paste(k15, f"{sys.executable} -m k15_plugins resume=sweep")
    assert done.returncode == 0, done.stderr
    assert [lines_of(k15.folder / "sweep" / name) for name in ("job=0", "job=1")] == [1, 2]
    assert "2 of 2 jobs finished" in done.stdout
    # One of its jobs by itself.
    alone = paste(k15, f"{sys.executable} -m k15_plugins \"resume='sweep/job=0'\"")
    assert alone.returncode == 0, alone.stderr
    assert [lines_of(k15.folder / "sweep" / name) for name in ("job=0", "job=1")] == [2, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["resume=nowhere"],
            "k15: resume must be the folder of a run, got nowhere, which is none; set the folder that a run printed.",
        ),
        (["resume=conf"], "k15: conf is not the folder of a run, for it has no config.yaml"),
    ],
)
def test_a_folder_that_holds_no_run_is_refused(k15, words, message):  # noqa: F811
    done = k15(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_ctrl_c_prints_the_command_that_goes_on(k15):  # noqa: F811
    out = interrupt(k15, "hydra.run.dir='my run, seed=1'")
    told, command = out.splitlines()[-2:]
    assert told == "k15: interrupted; nothing was saved yet; begin again by"
    (k15.folder / "stub_stage.py").write_text(
        "def score(config, run_dir, value, wait_seconds):\n    (run_dir / 'again').touch()\n"
    )
    done = paste(k15, command)
    assert done.returncode == 0, done.stderr
    assert (k15.folder / "my run, seed=1" / "again").exists()


def test_ctrl_c_in_a_sweep_prints_one_command(k15):  # noqa: F811
    out = interrupt(k15, "-m", "seed=1,2")
    (sweep,) = k15.folder.glob("multirun/stub/*/*")
    told, command = out.splitlines()[-2:]
    assert told == "k15: interrupted; what is finished is kept; go on by"
    assert command.endswith(f" resume={sweep.relative_to(k15.folder)}")
    assert out.count(" resume=") == 1


CHECKPOINTS = """
import json, time
from k15_plugins.trainers.checkpoint import begin_checkpoint, write_manifest

def score(config, run_dir, value, wait_seconds=0.0):
    for step in (40, 80):
        begin_checkpoint(run_dir / "checkpoints" / f"checkpoint-{step}")
        line = {"step": step, "iteration": step // 4 - 1, "k15/rho_abs_mean": 0.1}
        with (run_dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\\n")
    write_manifest(run_dir / "checkpoints" / "checkpoint-40", {})
    (run_dir / "rank").touch()
    time.sleep(wait_seconds)
    raise ValueError("the disk is full.")
"""


def test_the_last_complete_checkpoint_is_named(k15):  # noqa: F811
    (k15.folder / "stub_stage.py").write_text(CHECKPOINTS)
    out = interrupt(k15, "hydra.run.dir=interrupted")
    assert "k15: interrupted; go on from the checkpoint of iteration 10 by\n" in out
    assert out.endswith("resume=interrupted\n")
    failed = k15("+recipe=stub", "hydra.run.dir=failed")
    assert failed.returncode == 1
    assert failed.stderr == "k15: the disk is full.\n"
    assert "k15: when that is mended, go on from the checkpoint of iteration 10 by\n" in failed.stdout
    assert failed.stdout.endswith("resume=failed\n")
    (k15.folder / "failed" / "checkpoints" / "checkpoint-40" / "k15_manifest.json").write_text(
        json.dumps({"layout": {}, "sizes_bytes": {"model.safetensors": 5}})
    )
    assert resume.reached(k15.folder / "failed") is None  # it would be refused


def test_a_failed_run_without_a_checkpoint_offers_nothing(k15):  # noqa: F811
    done = k15("+recipe=stub", "stage.value=-1", "hydra.run.dir=run")
    assert "resume=" not in done.stdout + done.stderr


MODEL = """
import json

def score(config, run_dir, value):
    (run_dir / "model").mkdir()
    lines = [{"step": step, "iteration": 0, "eval_k15/accuracy": accuracy, "eval_completions/mean_length": tokens}
             for step, accuracy, tokens in ((0, 0.25, 40.0), (4, 0.375, 50.0), (8, 0.5, 30.0))]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
"""


def test_a_finished_run_tells_what_changed_and_where_the_model_is(k15):  # noqa: F811
    (k15.folder / "stub_stage.py").write_text(MODEL)
    lines = k15("+recipe=stub", "metric=null", "hydra.run.dir=run").stdout.splitlines()
    change = "k15: right answers on held-out problems 0.250 -> 0.500, tokens 40.0 -> 30.0"
    assert lines[-3:-1] == [change, "k15: model run/model; try it on a prompt by"]
    assert "pipeline('text-generation', 'run/model')" in lines[-1]
    assert all(len(line) <= 80 for line in lines[:-1])
    swept = k15("+recipe=stub", "-m", "seed=1,2", "hydra.sweep.dir=sweep").stdout
    assert swept.count(change) == 2
    assert "model sweep" not in swept


def test_jobs_side_by_side_have_their_number_before_each_line(k15):  # noqa: F811
    (k15.folder / "stub_stage.py").write_text(
        "import subprocess, sys\n"
        "def score(config, run_dir, value):\n"
        "    print('iteration 1/2')\n"
        "    print('  5%|\\r 50%|\\r100%|', file=sys.stderr)\n"
        "    subprocess.run(['sh', '-c', 'echo from a child; echo $COLUMNS columns'])\n"
        "    raise ValueError(f\"seed {config['seed']} has had enough.\")\n"
    )
    done = k15("+recipe=stub", "-m", "seed=5,6", "hydra/launcher=joblib")
    assert done.returncode == 1
    assert "[0] 100%|" in done.stderr
    assert "[1] k15: seed 6 has had enough." in done.stderr
    of_jobs = [line for line in done.stdout.splitlines() if "HYDRA" not in line]
    for number in (0, 1):
        mine = [line[4:] for line in of_jobs if line.startswith(f"[{number}] ")]
        assert {"iteration 1/2", "from a child", "76 columns"} <= set(mine)
    assert all(re.match(r"\[[01]\] |k15: sweep folder|k15: 0 of 2 jobs", line) for line in of_jobs)
    alone = k15("+recipe=stub", "-m", "seed=5", "hydra.sweep.dir=sweep")
    assert "[0]" not in alone.stdout


def test_a_terminal_that_is_not_utf8_ends_no_run(k15):  # noqa: F811
    (k15.folder / "stub_stage.py").write_text(
        "def score(config, run_dir, value):\n    print('ρ → ±')\n    raise ValueError('ρ is infinite.')\n"
    )
    done = paste(k15, f"PYTHONIOENCODING=ascii {sys.executable} -m k15_plugins --config-dir conf +recipe=stub")
    assert "k15: ? is infinite." in done.stderr
    assert "? ? ?" in done.stdout
