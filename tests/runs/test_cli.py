"""The command line, with a stage that imports neither torch nor TRL, so that every test is a real run of seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from k15_plugins.runs.words import options_first

ROOT = Path(__file__).parents[2]

STAGE = """
import json, os, time
from pathlib import Path

def write(run_dir, **figures):
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 1, "iteration": 0, "pid": os.getpid(), **figures}) + "\\n")

def score(config, run_dir, value, wait_seconds=0.0):
    write(run_dir, score=config["seed"] + value)
    (run_dir / "rank").write_text(str(os.getpid()))
    time.sleep(wait_seconds)
    if value < 0:
        raise ValueError(f"value={value} is negative; give 0 or more.")
    if value > 99:
        raise RuntimeError("a defect")
"""

RECIPE = """# @package _global_
defaults:
  - override /model: null
  - override /task: null
  - override /sampler: null
  - override /reward: null
  - override /trainer: null
  - override /generation: null
stage:
  _target_: stub_stage.score
  value: 0
metric: score
"""


@pytest.fixture
def k15(tmp_path):
    """Run the command in a folder of its own; `+recipe=stub` is the stage above."""
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / "recipe" / "stub.yaml").write_text(RECIPE)
    (tmp_path / "stub_stage.py").write_text(STAGE)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def start(*words: str, program=("-m", "k15_plugins"), **kwargs):
        command = [sys.executable, *program, "--config-dir", str(tmp_path / "conf"), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # As from a terminal, even where the tests themselves run in the background.
        heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        return subprocess.Popen(command, cwd=tmp_path, env=env, **pipes | heed | kwargs)

    def run(*words: str, **kwargs):
        process = start(*words, **kwargs)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    run.start = start
    run.folder = tmp_path
    return run


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def wait_for(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    # A process whose parent is gone may stay a zombie where no init reaps it.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_options_may_stand_anywhere():
    assert options_first(["+recipe=a", "-m", "seed=1,2"]) == ["-m", "+recipe=a", "seed=1,2"]
    assert options_first(["+recipe=a", "~x", "--cfg", "job", "b=1"]) == ["--cfg", "job", "+recipe=a", "~x", "b=1"]
    assert options_first(["--config-dir=c", "+recipe=a"]) == ["--config-dir=c", "+recipe=a"]


def test_a_run_leaves_config_environment_status_and_report(k15):
    done = k15("+recipe=stub", "seed=4", "stage.value=3", program=(str(ROOT / "recipes" / "run.py"),))
    assert done.returncode == 0, done.stderr
    (folder,) = k15.folder.glob("outputs/stub/*/*")
    assert yaml.safe_load((folder / "config.yaml").read_text())["stage"]["value"] == 3
    assert json.loads((folder / "environment.json").read_text())["packages"]["trl"].startswith("1.16")
    assert status(folder)["state"] == "finished"
    assert status(folder)["figures"]["score"] == 7
    assert status(folder)["figures"]["pid"] != os.getpid()
    assert "config.yaml" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--help"], "recipe: code_rl, code_warm_start, cooldown, cot_reward_model"),
        (["+recipe=grpo", "--cfg", "job"], "GRPO"),
    ],
)
def test_help_loads_neither_torch_nor_trl(k15, words, shown):
    # What is imported decides how long it takes; benchmarks/command_time.py measures that.
    done = k15(*words, program=("-X", "importtime", "-m", "k15_plugins"))
    assert done.returncode == 0
    assert shown in done.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"hydra", "k15_plugins"} <= loaded
    assert not loaded & {
        "accelerate",
        "datasets",
        "matplotlib",
        "reasoning_gym",
        "rich",
        "torch",
        "transformers",
        "trl",
    }


def test_cfg_shows_everything(k15):
    done = k15("+recipe=kimi_rl", "seed=5", "--cfg", "job", "--resolve")
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["seed"] == 5
    assert shown["trainer"]["args"]["tau"] > 0
    assert shown["trainer"]["args"]["use_vllm"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "k15: no recipe given; add one of +recipe=code_rl, +recipe=code_warm_start, +recipe=cooldown"),
        (["recipe=kimi_rl"], "k15: a recipe is added with a plus sign: +recipe=kimi_rl."),
        (["+recipe=kimi_ll"], "k15: recipe has no option kimi_ll (did you mean kimi_rl?)"),
        (["+recipe=kimi_rl", "sampler=unifrom"], "k15: sampler has no option unifrom (did you mean uniform?)"),
        (["+recipe=kimi_rl", "tua=1"], "k15: unknown key tua: did you mean trainer.args.tau?"),
        (["+recipe=kimi_rl", "+tua=1"], "k15: unknown key tua: did you mean trainer.args.tau?"),
        (
            ["+recipe=kimi_rl", "trainer.args.tua=1"],
            "did you mean trainer.args.tau? A field that the config does not list is added with +trainer.args.tua=...",
        ),
        (["+recipe=stub", "stage.vlaue=1"], "k15: unknown key stage.vlaue: did you mean stage.value?"),
        (["+recipe=kimi_rl", "+backend.proceses=2"], "unknown key backend.proceses: did you mean backend.processes?"),
        (
            ["+recipe=kimi_rl", "backend.processes=0"],
            "k15: backend.processes must be a number of processes, 1 or more, got 0",
        ),
        (["+recipe=kimi_rl", "model=hub"], "k15: model.name has no value; give it one by model.name=..."),
        (["+recipe=sft_paper"], "k15: model.name has no value; give it one by model.name=..."),
        (["+recipe=kimi_rl", "seed=x"], "k15: seed must be a whole number from 0 to 4294967295, got 'x'; set 0, say."),
        (
            ["+recipe=kimi_rl", "resume=nowhere"],
            "k15: resume must be the folder of a run, got nowhere, which is none; set the folder",
        ),
        (["+recipe=kimi_rl", "resume=."], "is not the folder of a run, for it has no config.yaml"),
    ],
)
def test_a_wrong_command_is_refused_in_one_sentence(k15, words, message):
    done = k15(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_keys_of_a_stage_are_refused_before_it_runs(k15):
    done = k15("+recipe=stub", "+stage.vlaue=1")
    assert done.returncode == 2
    assert "k15: unknown key stage.vlaue: did you mean stage.value?" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = k15.folder.glob("outputs/stub/*/*")
    assert status(folder)["state"] == "failed"
    assert not (folder / "metrics.jsonl").exists()


def test_an_error_at_the_edge_is_one_sentence_and_a_defect_keeps_its_traceback(k15):
    edge = k15("+recipe=stub", "stage.value=-1", "hydra.run.dir=edge")
    assert edge.returncode == 1
    assert "k15: value=-1 is negative; give 0 or more." in edge.stderr
    assert "Traceback" not in edge.stderr
    defect = k15("+recipe=stub", "stage.value=100", "hydra.run.dir=defect")
    assert defect.returncode == 1
    assert "RuntimeError: a defect" in defect.stderr
    assert status(k15.folder / "defect")["error"] == "RuntimeError: a defect"
    for folder in ("edge", "defect"):
        assert "Traceback" in (k15.folder / folder / "traceback.txt").read_text()
        assert "failed" in (k15.folder / folder / "report.html").read_text()


def test_the_sentence_of_any_rank_is_told_once(k15):
    (k15.folder / "stub_stage.py").write_text(
        "import os, time\n"
        "def score(config, run_dir, value):\n"
        "    if os.environ['RANK'] == '1':\n"
        "        raise ValueError('rank 1 has had enough.')\n"
        "    time.sleep(300)\n"
    )
    done = k15("+recipe=stub", "backend.processes=2", "hydra.run.dir=run")
    assert done.returncode == 1
    assert done.stderr.count("k15: rank 1 has had enough.") == 1
    assert "Traceback" not in done.stderr
    assert status(k15.folder / "run")["error"] == "rank 1 has had enough."


def test_resume_takes_the_same_command_only(k15):
    first = ["+recipe=stub", "stage.value=1", "hydra.run.dir=run"]
    assert k15(*first).returncode == 0
    again = k15(*first)
    assert again.returncode == 2
    assert "run already holds a run; go on with it by resume=" in again.stderr
    other = k15("+recipe=stub", "stage.value=2", "resume=run")
    assert other.returncode == 2
    assert "k15: resume: stage.value was 1 in the run and is 2 now" in other.stderr
    assert status(k15.folder / "run")["state"] == "finished"
    assert k15("+recipe=stub", "stage.value=1", "resume=run").returncode == 0
    assert len((k15.folder / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert not (k15.folder / "outputs").exists()


def test_two_processes_are_kept_out_of_one_folder(k15):
    command = ["+recipe=stub", "+stage.wait_seconds=300"]
    first = k15.start(*command, "hydra.run.dir=run")
    pid_file = k15.folder / "run" / "rank"
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    second = k15(*command, "resume=run")
    assert second.returncode == 2
    assert "run is in use by another process; stop it first" in second.stderr
    assert status(k15.folder / "run")["state"] == "running"
    first.kill()
    wait_for(lambda: gone(int(pid_file.read_text())))
    third = k15.start(*command, "resume=run")
    wait_for(lambda: len((k15.folder / "run" / "metrics.jsonl").read_text().splitlines()) == 2)
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=60)
    assert third.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_job_ends_with_its_launcher(k15, number):
    launcher = k15.start("+recipe=stub", "+stage.wait_seconds=300", "hydra.run.dir=run")
    pid_file = k15.folder / "run" / "rank"
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    launcher.send_signal(number)
    launcher.communicate(timeout=60)
    assert launcher.returncode == (-9 if number == signal.SIGKILL else 130)
    wait_for(lambda: gone(int(pid_file.read_text())))
    expected = "running" if number == signal.SIGKILL else "interrupted"
    assert status(k15.folder / "run")["state"] == expected
    assert (k15.folder / "run" / "report.html").exists() == (number != signal.SIGKILL)


def test_two_runs_of_the_same_second_get_a_folder_each(k15):
    same = f"hydra.run.dir='${{k15_folder:null,{k15.folder}/outputs/now}}'"
    both = [k15.start("+recipe=stub", same) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    folders = sorted(path.name for path in (k15.folder / "outputs").iterdir())
    assert folders == ["now", "now-1"]
    for name in folders:
        assert status(k15.folder / "outputs" / name)["figures"]["score"] == 0
        assert len((k15.folder / "outputs" / name / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_question_makes_no_folder(k15):
    done = k15("+recipe=stub", "--cfg", "all", "--resolve")
    assert done.returncode == 0, done.stderr
    assert not (k15.folder / "outputs").exists()


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run"])
def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(k15, place):
    (k15.folder / "file").write_text("in the way")
    done = k15("+recipe=stub", f"hydra.run.dir={place}")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot be written (" in done.stderr
    assert "give another folder by hydra.run.dir=..." in done.stderr


def test_what_reads_the_help_may_stop_reading(k15):
    for words in (["--help"], ["+recipe=kimi_rl", "--cfg", "job"]):
        process = k15.start(*words)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) in (0, 1)


@pytest.mark.parametrize("word", ["task=null", "reward=", "+recipe=null"])
def test_a_group_set_to_nothing_is_refused(k15, word):
    done = k15(*([] if "recipe" in word else ["+recipe=kimi_rl"]), word)
    assert done.returncode == 2
    assert f"k15: {word.lstrip('+').partition('=')[0]} must be one of its options, got " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_told_with_what_to_do(k15):
    (k15.folder / "stub_stage.py").write_text(
        "import resource, pathlib\n"
        "def score(config, run_dir, value):\n"
        "    half = run_dir / 'checkpoints' / 'checkpoint-2'\n"
        "    half.mkdir(parents=True)\n"
        "    (half / 'k15_manifest.json.half').touch()\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "    (half / 'weights').write_bytes(bytes(300_000))\n"
    )
    done = k15("+recipe=stub", "hydra.run.dir=run")
    assert done.returncode == 1
    assert (
        "k15: no space is left on the disk of run; free some, as much as a checkpoint takes at least." in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert status(k15.folder / "run")["state"] == "failed"
    assert not (k15.folder / "run" / "checkpoints" / "checkpoint-2").exists()
