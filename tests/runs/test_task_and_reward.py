"""Tasks and rewards of a config: which columns one needs and the other gives, and functions beside classes."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from test_conf import NEEDED, compose
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.runs import rewards
from k15_plugins.runs.build import build
from k15_plugins.runs.cli import prepare
from k15_plugins.stages.reinforce import build_parts

ROOT = Path(__file__).parents[2]
FUNCTIONS = """
def brevity(completion_ids, **_):
    return [-float(len(ids)) for ids in completion_ids]

def near(completions, answer, scale, **_):
    return [scale * (text == right) for text, right in zip(completions, answer)]

def hinted(completions, hint, **_):
    return [0.0 for _ in completions]

class Spoken:
    def __init__(self, word="answer"):
        self.__name__, self.word = "spoken", word

    def __call__(self, completions, **_):
        return [float(self.word in text) for text in completions]

class Silent:
    pass
"""


@pytest.fixture
def my_rewards(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_rewards", None)


def prepared(*words: str) -> dict:
    return prepare(OmegaConf.create(compose(*words)))[0]


@pytest.mark.parametrize("task", ["jsonl", "benchmark"])
def test_a_task_that_does_not_give_what_the_reward_needs_is_refused(task):
    with pytest.raises(
        ValueError,
        match=r"reward\.answer \(ReasoningGymReward\) needs the columns task, entry, and the task \(load_\w+\) gives "
        r"prompt, answer, level, task; take reward=exact_match or reward=math\.$",
    ):
        prepared("+recipe=kimi_rl", f"task={task}", NEEDED[f"task={task}"][0])


@pytest.mark.parametrize("task", ["chain_sum", "jsonl", "benchmark"])
@pytest.mark.parametrize("reward", ["exact_match", "math", "reasoning_gym"])
def test_what_fits_passes(task, reward):
    if task == "chain_sum" or reward != "reasoning_gym":
        prepared("+recipe=kimi_rl", f"task={task}", *NEEDED.get(f"task={task}", [])[:1], f"reward={reward}")


def test_the_dual_reward_of_the_command_line_is_built(tmp_path):
    words = ["reward=dual", "task.train_size=8", "task.held_out_size=4", "+trainer.args.dual_lambda_high=0.5"]
    parts = build_parts(prepared("+recipe=kimi_rl", "trainer.args.eval_steps=4", *words), tmp_path)
    assert [reward.__name__ for reward in parts.reward_funcs] == ["reasoning_gym", "arithmetic_steps"]
    assert (parts.args.process_reward, parts.args.dual_lambda_low, parts.args.dual_lambda_high) == (
        "arithmetic_steps",
        0.3,
        0.5,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["trainer.args.process_reward=steps"],
            r"process_reward must name one reward function, got 'steps', which names 0 .* are rea",
        ),
        (["~reward.answer"], "process_reward must stand beside a final reward, got 'arithmetic_steps'"),
        (["+trainer.args.dual_lambda_low=0.8"], "got 0.8 and 0.7; take 0.3 and 0.7, say"),
    ],
)
def test_a_dual_reward_that_cannot_be_is_refused_before_a_model_is_loaded(tmp_path, words, sentence):
    sizes = ["task.train_size=8", "task.held_out_size=4"]
    with pytest.raises(ValueError, match=sentence):
        build_parts(prepared("+recipe=kimi_rl", "reward=dual", *sizes, *words), tmp_path)


SMALL = ["task.train_size=8", "task.held_out_size=4", "trainer.args.eval_steps=4"]
JUDGE = "reward.answer.judge"


def saved(folder: Path, kind: type) -> str:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    kind(LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_reward_models_of_the_command_line_are_built(tmp_path):
    given = {"prompts": ["3 + 4 ="], "completions": ["answer 8"], "completion_ids": None, "answer": ["7"]}
    folder = saved(tmp_path / "classic", LlamaForSequenceClassification)
    words = ["reward=classic_model", f"reward.answer.model={folder}", "reward.answer.threshold=null"]
    [reward] = build_parts(prepared("+recipe=kimi_rl", *SMALL, *words), tmp_path).reward_funcs
    assert reward.__name__ == "classic_model"
    assert 0 < reward(**given)[0] < 1
    folder = saved(tmp_path / "judge", LlamaForCausalLM)
    words = ["reward=cot_model", f"{JUDGE}.model={folder}", f"{JUDGE}.max_new_tokens=4"]
    words.append(f"reward.answer.cache_path={tmp_path}/judgements.jsonl")
    [reward] = build_parts(prepared("+recipe=kimi_rl", *SMALL, *words), tmp_path).reward_funcs
    assert reward.__name__ == "chain_of_thought"
    assert reward(**given) == [0.0]
    assert reward(**given | {"completions": [r"\boxed{7}"]}) == [1.0]
    assert len((tmp_path / "judgements.jsonl").read_text().splitlines()) == 1


SERVER = [f"{JUDGE}._target_=k15_plugins.judges.ServerJudge", f"{JUDGE}.model=judge"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["reward=classic_model", "reward.answer.model=/no/folder"], "model must be the folder of a reward model, or"),
        (["reward=cot_model", f"{JUDGE}.model=/no/folder"], "model must be the folder of a causal language model, or"),
        (["reward=cot_model", *SERVER, f"+{JUDGE}.endpoints=[localhost]"], "endpoints must be addresses such as http"),
        (["reward=cot_model", *SERVER, f"+{JUDGE}.endpoints=[http://localhost:9]"], "must name a server that answers"),
    ],
)
def test_a_reward_model_that_cannot_be_is_refused_before_a_model_is_loaded(tmp_path, words, sentence):
    config = prepared("+recipe=kimi_rl", *SMALL, *words)
    with pytest.raises((ValueError, InstantiationException)) as refused:
        build_parts(config, tmp_path)
    # A job shows what Hydra wraps.
    is_wrapped = isinstance(refused.value, InstantiationException)
    assert sentence in str(refused.value.__cause__ if is_wrapped else refused.value)


def test_a_judge_of_a_template_without_a_field_is_refused(tmp_path):
    folder = saved(tmp_path / "judge", LlamaForCausalLM)
    words = [f"{JUDGE}.model={folder}", "+reward.answer.template='{question} {response}'"]
    with pytest.raises(ValueError, match=r"template must hold \{reference\}, got"):
        build_parts(prepared("+recipe=kimi_rl", *SMALL, "reward=cot_model", *words), tmp_path)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_vllm_that_is_missing_is_told(tmp_path):
    folder = saved(tmp_path / "judge", LlamaForCausalLM)
    words = [f"{JUDGE}._target_=k15_plugins.judges.VllmJudge", f"{JUDGE}.model={folder}"]
    with pytest.raises(InstantiationException) as refused:
        build_parts(prepared("+recipe=kimi_rl", *SMALL, "reward=cot_model", *words), tmp_path)
    assert "VllmJudge needs vLLM, which is not installed; run make setup-vllm" in str(refused.value.__cause__)


def test_the_columns_of_a_task_are_those_that_it_gives(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "1 + 1", "answer": 2}\n')
    (tmp_path / "b.jsonl").write_text('{"problem": "1 + 1", "answer": 2, "level": 1, "subject": "x"}\n')
    tests = '[{"input": "", "output": "2"}]'
    (tmp_path / "c.jsonl").write_text(f'{{"id": "a", "prompt": "Print 2.", "tests": {tests}}}\n')
    code = ("task=code", f"task.path={tmp_path}/c.jsonl", "task.held_out=null", "reward=code")
    nodes = [
        compose("+recipe=smoke")["task"],
        compose("+recipe=kimi_rl", *code)["task"],
        compose("+recipe=kimi_rl", "task=short_functions", "reward=code")["task"],
        compose("+recipe=kimi_rl", "task=jsonl", f"task.path={tmp_path}/a.jsonl", "task.held_out=null")["task"],
        compose("+recipe=kimi_rl", "task=benchmark", "task.name=math_500", f"task.path={tmp_path}/b.jsonl")["task"],
    ]
    benchmark = "k15_plugins.evaluation.benchmarks.load_benchmark"
    assert {node["_target_"] for node in nodes} == {*rewards.COLUMNS, benchmark}
    (tmp_path / "d.jsonl").write_text('{"task_id": 1, "text": "Add.", "test_list": ["assert add(1, 2) == 3"]}\n')
    mbpp = ("task=benchmark", "task.name=mbpp", f"task.path={tmp_path}/d.jsonl", "reward=code")
    for node in [*nodes, compose("+recipe=kimi_rl", *mbpp)["task"]]:
        assert set(build(node).train.column_names) == set(rewards.columns_of(node))


def test_a_benchmark_that_is_not_there_is_told_before_the_reward():
    node = compose("+recipe=kimi_rl", "task=benchmark", "task.name=math500")["task"]
    with pytest.raises(ValueError, match=r"^task\.name must be a benchmark, got 'math500' \(did you mean 'math_500'"):
        rewards.columns_of(node)


@pytest.mark.usefixtures("my_rewards")
def test_a_function_is_taken_as_it_is_with_the_keys_of_its_node_and_a_class_is_instantiated():
    whole, part, instance = rewards.build_rewards(
        {
            "brevity": {"_target_": "my_rewards.brevity"},
            "near": {"_target_": "my_rewards.near", "scale": 2.0},
            "spoken": {"_target_": "my_rewards.Spoken", "word": "so"},
        }
    )
    assert [each.__name__ for each in (whole, part, instance)] == ["brevity", "near", "spoken"]
    assert whole(completion_ids=[[1, 2]], prompts=["x"]) == [-2.0]
    assert part(completions=["7", "8"], answer=["7", "7"], completion_ids=None) == [2.0, 0.0]
    assert instance(completions=["so 7"]) == [1.0]


@pytest.mark.usefixtures("my_rewards")
def test_columns_of_rewards_of_ones_own():
    columns = rewards.COLUMNS["k15_plugins.tasks.files.load_problems"]
    fine = {"near": {"_target_": "my_rewards.near", "scale": 2.0}, "spoken": {"_target_": "my_rewards.Spoken"}}
    rewards.check_columns(fine, columns, "tasks.load")
    with pytest.raises(
        ValueError,
        match=r"reward\.h \(hinted\) needs the column hint, and the task \(load\) gives .*; take reward=exact_match",
    ):
        rewards.check_columns({"h": {"_target_": "my_rewards.hinted"}}, columns, "tasks.load")
    with pytest.raises(ValueError, match=r"reward\.near \(near\) needs the columns answer, scale"):
        rewards.check_columns({"near": {"_target_": "my_rewards.near"}}, columns, "tasks.load")
    with pytest.raises(ValueError, match=r"reward\.s\._target_ must be a function, or a class whose objects can be"):
        rewards.build_rewards({"s": {"_target_": "my_rewards.Silent"}})


def test_the_console_script_finds_rewards_in_the_current_folder(tmp_path):
    (tmp_path / "my_rewards.py").write_text(FUNCTIONS)
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "k15"
    script.write_text("from k15_plugins.runs.cli import main\nmain()\n")
    # The second is refused, after the first was found and before a model is loaded.
    words = [
        "+recipe=smoke",
        "+reward.brevity._target_=my_rewards.brevity",
        "+reward.silent._target_=my_rewards.Silent",
    ]
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "k15: reward.silent._target_ must be a function" in done.stderr
    assert "loading the model" not in done.stdout
