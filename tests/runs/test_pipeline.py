"""Steps of a pipeline: only what is out of date runs; nothing is lost."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k15_plugins.runs.pipeline import check_steps, needed_steps, run_pipeline

ROOT = Path(__file__).parents[2]

STAGE = """
import json, time
from pathlib import Path

def make(config, run_dir, text, source=None, path=None, wait_seconds=0.0):
    with (run_dir / "starts").open("a") as file:
        file.write("x")
    time.sleep(wait_seconds)
    if text == "fail":
        raise ValueError("text=fail cannot be made; give another.")
    model = run_dir / "model"
    model.mkdir(exist_ok=True)
    before = (Path(source) / "text").read_text() if source else ""
    (model / "text").write_text(before + text)
"""

EMPTY = """# @package _global_
defaults:
  - override /model: null
  - override /task: null
  - override /sampler: null
  - override /reward: null
  - override /trainer: null
  - override /generation: null
"""
RECIPE = EMPTY + "stage:\n  _target_: stub_stage.make\n  text: a\n  source: null\n  path: null\n  wait_seconds: 0.0\n"
PIPELINE = (
    EMPTY
    + """stage:
  _target_: k15_plugins.runs.pipeline.run_pipeline
  given: {}
  steps:
    one: [+recipe=make]
    two: [+recipe=make, stage.text=b, stage.source=@one/model]
    three: [+recipe=make, stage.text=c, stage.source=@two/model]
"""
)


@pytest.fixture
def k15(tmp_path):
    conf = tmp_path / "conf" / "recipe"
    conf.mkdir(parents=True)
    (conf / "make.yaml").write_text(RECIPE)
    (conf / "line.yaml").write_text(PIPELINE)
    (tmp_path / "stub_stage.py").write_text(STAGE)
    # The steps find the recipes of this test as the pipeline does.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if sys.argv[:1] == ['-m'] and 'k15_plugins' in sys.orig_argv:\n"
        f"    sys.argv += ['--config-dir', {str(tmp_path / 'conf')!r}]\n"
    )
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "k15_plugins", "+recipe=line"]

    def start(*words):
        return subprocess.Popen(
            [*command, *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(*words):
        process = start(*words)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    run.start = start
    run.folder = tmp_path
    return run


def starts(folder: Path) -> dict[str, int]:
    return {path.parent.name: len(path.read_text()) for path in folder.glob("*/starts")}


def result(folder: Path, step: str = "three") -> str:
    return (folder / step / "model" / "text").read_text()


def is_held(folder: Path) -> bool:
    with (folder / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_steps_run_once_and_again_when_their_inputs_change(k15):
    folder = k15.folder / "run"
    done = k15("hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert result(folder) == "abc"
    assert starts(folder) == {"one": 1, "two": 1, "three": 1}

    again = k15("resume=run")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("nothing has changed since it finished") == 3
    assert starts(folder) == {"one": 1, "two": 1, "three": 1}

    (folder / "one" / "model" / "text").write_text("A")
    changed = k15("resume=run")
    assert changed.returncode == 0, changed.stderr
    assert result(folder) == "Abc"
    assert starts(folder) == {"one": 1, "two": 1, "three": 1, "two.old1": 1, "three.old1": 1}
    assert result(folder, "three.old1") == "abc"


def test_the_folder_of_a_pipeline_alone_goes_on_with_it(k15):
    folder = k15.folder / "run"
    assert k15("hydra.run.dir=run").returncode == 0
    (folder / "two" / "status.json").write_text(json.dumps({"state": "interrupted", "error": None, "figures": {}}))
    env = os.environ | {"PYTHONPATH": f"{k15.folder}:{ROOT}"}
    command = [sys.executable, "-m", "k15_plugins", "resume=run"]
    done = subprocess.run(command, cwd=k15.folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert starts(folder)["one"] == 1
    assert starts(folder)["two"] == 2
    assert "try it on a prompt by" not in done.stdout  # the steps tell only what they do


def test_a_model_of_ones_own_takes_the_place_of_a_step(k15):
    own = k15.folder / "own"
    own.mkdir()
    (own / "text").write_text("own ")
    done = k15("hydra.run.dir=run", f"+stage.given.two={own}")
    assert done.returncode == 0, done.stderr
    assert result(k15.folder / "run") == "own c"
    # Nothing needs the model of step one any more.
    assert starts(k15.folder / "run") == {"three": 1}


@pytest.mark.slow
def test_a_file_that_the_config_names_is_an_input_and_a_report_is_none(k15):
    problems, run = k15.folder / "problems.jsonl", k15.folder / "run"
    problems.write_text("1")
    words = ("stage.steps.three=['+recipe=make','stage.text=c','stage.source=@two/model','stage.path=problems.jsonl']",
             "stage.steps.two=['+recipe=make','stage.text=b','stage.path=@one']")  # fmt: skip
    assert k15("hydra.run.dir=run", *words).returncode == 0
    for name in ("report.html", "status.json", "lock"):
        assert (run / "one" / name).exists()
        os.utime(run / "one" / name, (1, 1))
    (run / "one" / "report").mkdir(exist_ok=True)
    (run / "one" / "report" / "new.png").write_text("new")
    assert k15("resume=run", *words).stdout.count("nothing has changed since it finished") == 3
    problems.write_text("22")
    changed = k15("resume=run", *words)
    assert changed.returncode == 0, changed.stderr
    assert starts(run) == {"one": 1, "two": 1, "three": 1, "three.old1": 1}


def test_a_killed_pipeline_goes_on(k15):
    folder = k15.folder / "run"
    words = ["+recipe=make", "stage.text=b", "stage.source=@one/model", "stage.wait_seconds=3"]
    slow = f"stage.steps.two={words}"
    process = k15.start("hydra.run.dir=run", slow)
    end = time.monotonic() + 100
    while "two" not in starts(folder):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # All that it had started ends with it, and lets go of the step's folder.
    while is_held(folder / "two"):
        assert time.monotonic() < end
        time.sleep(0.05)
    done = k15("resume=run", slow)
    assert done.returncode == 0, done.stderr
    assert "two, going on" in done.stdout
    assert starts(folder) == {"one": 1, "two": 2, "three": 1}
    assert result(folder) == "abc"


def test_a_failing_step_ends_it_with_its_own_sentence(k15):
    done = k15("hydra.run.dir=run", "stage.steps.two=['+recipe=make','stage.text=fail']")
    assert done.returncode == 1
    assert "step two failed: text=fail cannot be made; give another." in done.stderr
    assert json.loads((k15.folder / "run" / "status.json").read_text())["state"] == "failed"
    assert starts(k15.folder / "run") == {"one": 1, "two": 1}


def test_a_pipeline_is_one_process(tmp_path):
    with pytest.raises(ValueError, match=r"backend\.processes=2: a pipeline is one process"):
        run_pipeline({"backend": {"processes": 2}}, tmp_path, {})


@pytest.mark.parametrize(
    ("steps", "given", "message"),
    [
        ({"b": ["x=@a/model"]}, {}, "stage.steps.b refers to @a, which is no earlier step; it may refer to none"),
        ({"b": ["x=@c"], "c": []}, {}, "stage.steps.b refers to @c, which is no earlier step"),
        ({"a": []}, {"b": "."}, "stage.given.b is no step; take one of a."),
        ({"a": []}, {"a": "nowhere"}, "stage.given.a=nowhere does not exist; give the folder of a model."),
        ({"a": [], "b": ["x=@a/samples"]}, {"a": "."}, "stage.given.a is a model only, and step b needs @a/samples"),
        (
            {"a": [], "b": ["x=@a"]},
            {"a": ".", "b": "."},
            "stage.given leaves no step to run; take one out of it.",
        ),
    ],
)
def test_a_pipeline_that_could_not_end_is_refused(steps, given, message):
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.")):
        check_steps(steps, given)


def test_only_what_something_needs_runs_and_is_checked():
    steps = {
        "a": [],
        "b": ["x=@a/model"],
        "c": ["x=@a/samples"],
        "d": ["x=@b/model", "y=@c/model"],
        "e": ["x=@b/model"],
    }
    assert needed_steps(steps, {}) == ["a", "b", "c", "d", "e"]
    assert needed_steps(steps, {"b": "."}) == ["a", "c", "d", "e"]
    assert needed_steps(steps, {"b": ".", "c": "."}) == ["d", "e"]
    assert needed_steps(steps, {"d": ".", "e": "."}) == []
    # Step c needs samples of step a, but is given itself; the step before a given one may be left out.
    check_steps(steps, {"a": ".", "c": "."})
    check_steps({name: words for name, words in steps.items() if name != "a"}, {"b": ".", "c": "."})
