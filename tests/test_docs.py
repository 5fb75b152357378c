"""The Python blocks of the docs run as they stand, and stay short."""

import json
import re
import subprocess
from importlib import import_module
from pathlib import Path

import hydra
import pytest
import yaml

import k15_plugins
from k15_plugins import EasyToHard, PrioritizedSampler
from k15_plugins.rollouts import RolloutBuffer
from k15_plugins.runs import cli, keys
from k15_plugins.runs.conf import CONF
from k15_plugins.runs.figures import known_figures

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", ["docs/drop_in.md", "docs/your_own.md", "docs/rewards.md", "docs/curation.md", "README.md"]
)
def test_python_blocks_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((ROOT / page).read_text())
    assert blocks
    scope: dict = {"__name__": "__main__"}
    for block in blocks:
        assert sum(bool(line.strip()) for line in block.splitlines()) <= 10, block
        exec(compile(block, page, "exec"), scope)
    if page == "README.md":  # who tries it sees a reward, whatever TRL logs
        shown = re.findall(r"^iteration (\d)/8  reward (0\.\d\d)  right", capsys.readouterr().out, re.MULTILINE)
        assert [number for number, _ in shown] == list("12345678")
        assert all(float(reward) > 0 for _, reward in shown)


# A file that a page tells to write, and the block that goes into it.
WRITTEN = re.compile(
    r"`((?:k15_plugins|conf)/[\w/]+\.(?:py|yaml))`(?:(?!```).)*?^```(?:python|yaml)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def test_what_contributing_adds_works(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    written = WRITTEN.findall(text)
    assert len(written) == 6
    for path, block in written:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
        if file.suffix == ".py":
            package = import_module(".".join(Path(path).parts[:-1]))
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
    added = [import_module(".".join(Path(path).with_suffix("").parts)) for path, _ in written if path.endswith(".py")]
    reward, sampler, stage = added

    assert reward.LastWordReward()(completions=["so 7", "7 or 8", ""], answer=["7"] * 3, prompts=[]) == [1.0, 0.0, 0.0]
    drawn = [sampler.HalfSolvedSampler(8, seed=1) for _ in range(2)]
    for one in drawn:
        ids = one.draw(4)
        assert len(set(ids.tolist())) == 4
        one.observe(ids, [2] * 4, [2] * 4)
    assert not set(drawn[0].draw(4)) & set(ids)
    assert drawn[1].draw(4).tolist() != ids.tolist()
    task = yaml.safe_load((ROOT / "conf/task/chain_sum.yaml").read_text()) | {"train_size": 8, "held_out_size": 0}
    stage.count_levels({"task": task, "reward": {}}, tmp_path)
    assert json.loads((tmp_path / "levels.json").read_text()) == {"0": 2, "1": 2, "2": 2, "3": 2}

    commands = re.findall(r"^python recipes/run.py (\+recipe=.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for words in [*map(str.split, commands), ["+recipe=count_levels"]]:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra.compose("run", overrides=[f"hydra.searchpath=[file://{tmp_path / 'conf'}]", *words])
        config, _ = cli.prepare(composed)
        keys.check_nodes(config)


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_a_link_to_code_names_what_is_in_the_file():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name, target in re.findall(r"\[`(\w+)`\]\(([^)]+\.py)\)", page.read_text()):
            code = (page.parent / target).read_text()
            assert re.search(rf"^ *(def|class) {name}\b", code, re.MULTILINE), (
                f"{page.name}: {name} is not in {target}"
            )


def test_every_plugin_of_the_readme_can_be_imported():
    table = re.search(r"^## Plugins$.*?^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    first = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(k15_plugins.__all__)


def test_shell_scripts_parse():
    scripts = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/megatron.md").read_text(), re.MULTILINE | re.DOTALL)
    assert scripts
    for script in scripts:
        # What the outer shell hands to the machines is one quoted word, a script again.
        for text in (script, *re.findall(r"'(.*?)'", script, re.DOTALL)):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def own_metrics() -> set[str]:
    """The metrics that the code logs beside TRL's."""
    names = set()
    for path in (ROOT / "k15_plugins").rglob("*.py"):
        names |= set(re.findall(r'"(k15/[a-z_]+)"', path.read_text()))
    sampler = PrioritizedSampler(4, levels=[0, 0, 1, 1], schedule=EasyToHard(2))
    sampler.draw(2)
    names |= {f"sampler/{name}" for name in sampler.metrics()}
    return names | {f"rollouts/{name}" for name in (*RolloutBuffer(2, 8).metrics(), "batch_fill", "rounds")}


def test_every_metric_is_explained():
    page = (ROOT / "docs/metrics.md").read_text()
    missing = sorted(name for name in own_metrics() if f"`{name}`" not in page)
    assert not missing, f"docs/metrics.md does not explain {missing}"


def test_every_metric_can_be_the_figure_that_a_sweep_compares():
    node = {"_target_": "k15_plugins.trainers.mirror_descent.MirrorDescentTrainer"}
    stage = {"_target_": "k15_plugins.stages.reinforce.reinforce"}
    config = {"stage": stage, "trainer": node, "sampler": node, "reward": {"answer": node}, "metric": "reward"}
    of_pairs = {"k15/length_gap", "k15/wrong_share", "k15/long_share"}
    assert own_metrics() - of_pairs - set(known_figures(config)) == set()


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs/api.md").read_text()
    for name, home in k15_plugins._HOMES.items():
        assert re.search(rf"^::: k15_plugins\.{re.escape(home)}(\.\w+)?\.{name}$", page, re.MULTILINE), name
