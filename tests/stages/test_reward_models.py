"""Both reward models on a few examples: what they leave, what they read, what is refused before a model is loaded."""

import json
import re
from statistics import median

import pytest
from runs.test_conf import compose

from k15_plugins import models
from k15_plugins.curation.judgements import Judgement
from k15_plugins.files.jsonl import read_lines
from k15_plugins.judges.transformers_judge import TransformersJudge
from k15_plugins.models import TINY
from k15_plugins.rewards.classic_model import ClassicModelReward
from k15_plugins.rewards.cot_model import ChainOfThoughtReward
from k15_plugins.rewards.judgement import judge_prompt, read_verdict
from k15_plugins.runs.build import build
from k15_plugins.runs.figures import known_figures
from k15_plugins.samples import Sample, SampledProblem, write_samples
from k15_plugins.stages.cot_reward_model import cot_reward_model
from k15_plugins.stages.judged_examples import figures_of
from k15_plugins.stages.reward_model import best_threshold, reward_model

STAGES = {"reward_model": reward_model, "cot_reward_model": cot_reward_model}
SMALL = (
    *("task.train_size=60", "stage.rules.held_out=0.3", "stage.rules.held_out_pairs=20", "stage.args.max_steps=2"),
    *("stage.args.logging_steps=1", "+stage.args.use_cpu=true", "stage.args.per_device_train_batch_size=8"),
)
TEMPLATE = "{question} reference {reference} response {response} judge"


def go(recipe, run_dir, *words):
    config = compose(f"+recipe={recipe}", *SMALL, *words)
    arguments = {key: value for key, value in config["stage"].items() if key != "_target_"}
    run_dir.mkdir(exist_ok=True)
    STAGES[recipe](config, run_dir, **arguments)
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each recipe, with its config."""
    folder = tmp_path_factory.mktemp("judges")
    with pytest.MonkeyPatch.context() as context:
        # After two updates any threshold would do: one that the scores lie on both sides of.
        context.setattr(
            "k15_plugins.stages.reward_model.best_threshold", lambda right, wrong: (median([*right, *wrong]), 0.5)
        )
        return {
            recipe: (folder / recipe, go(recipe, folder / recipe, "stage.rules.opener_share=0.5")) for recipe in STAGES
        }


@pytest.mark.parametrize("recipe", STAGES)
def test_a_run_leaves_examples_judgements_figures_and_a_judge(recipe, runs):
    run_dir, config = runs[recipe]
    last = read_lines(run_dir / "metrics.jsonl")[-1]
    assert set(last) <= set(known_figures(config))
    assert config["metric"] in last
    judge = json.loads((run_dir / "model" / "judge.json").read_text())
    assert judge["template"] == TEMPLATE
    said = read_lines(run_dir / "judgements.jsonl")
    held_out = read_lines(run_dir / "judged" / "held_out.jsonl")
    assert [line["response"] for line in said] == [line["response"] for line in held_out]
    right = sum(line["verdict"] is line["correct"] for line in said)
    assert judge["held_out_accuracy"] == last["held_out_accuracy"] == right / len(said)
    train = read_lines(run_dir / "judged" / "train.jsonl")
    assert not {line["question"] for line in train} & {line["question"] for line in held_out}
    for lines in (train, held_out):
        assert sum(line["correct"] for line in lines) * 2 == len(lines) > 0
    assert all(line["reason"] for line in read_lines(run_dir / "judged" / "dropped.jsonl"))


def test_both_learn_from_and_are_measured_on_the_same_judgements(runs):
    for name in ("train", "held_out", "dropped"):
        first, second = ((run_dir / "judged" / f"{name}.jsonl").read_bytes() for run_dir, _ in runs.values())
        assert first == second


def text_of(line):
    return judge_prompt(line["question"], line["reference"], line["response"], TEMPLATE)


def test_the_saved_value_head_is_served_with_the_threshold_of_its_note(runs):
    model = runs["reward_model"][0] / "model"
    judge = json.loads((model / "judge.json").read_text())
    served = ClassicModelReward(str(model), threshold=judge["threshold"], template=judge["template"])
    said = read_lines(runs["reward_model"][0] / "judgements.jsonl")
    columns = {name: [line[name] for line in said] for name in ("question", "response", "reference")}
    verdicts = served(columns["question"], columns["response"], None, columns["reference"])
    assert verdicts == [float(line["verdict"]) for line in said]
    assert {0.0, 1.0} == set(verdicts)


def test_the_saved_chain_of_thought_is_served_with_the_words_of_its_note(runs):
    model = runs["cot_reward_model"][0] / "model"
    judge = json.loads((model / "judge.json").read_text())
    served = ChainOfThoughtReward(TransformersJudge(str(model), max_new_tokens=64), template=judge["template"])
    said = read_lines(runs["cot_reward_model"][0] / "judgements.jsonl")
    columns = {name: [line[name] for line in said] for name in ("question", "response", "reference")}
    rewards = served(columns["question"], columns["response"], None, columns["reference"])
    assert rewards == [float(line["verdict"] is True) for line in said]
    unread = [line["verdict"] for line in said if line["response"] in (":", ".", ",")]
    assert unread
    assert set(unread) == {False}


def test_the_trainer_reads_what_the_served_judge_reads(tmp_path, monkeypatch):
    rows = {}
    for recipe, name in (("reward_model", "RewardTrainer"), ("cot_reward_model", "SFTTrainer")):

        class Stop(Exception):
            pass

        def keep(*, train_dataset, of=recipe, **_):
            rows[of] = train_dataset
            raise Stop

        monkeypatch.setattr(f"k15_plugins.stages.{recipe}.{name}", keep)
        with pytest.raises(Stop):
            go(recipe, tmp_path / recipe)
    tokenizer = models.hub(str(TINY))[1]
    words = compose("+recipe=reward_model")["stage"]["new_words"]
    tokenizer.add_tokens([word for word in words if word not in tokenizer.get_vocab()])
    lines = read_lines(tmp_path / "reward_model" / "judged" / "train.jsonl")
    for row, right, wrong in zip(rows["reward_model"], lines[::2], lines[1::2], strict=True):
        assert tokenizer.decode(row["chosen_ids"]) == f"{text_of(right)} <eos>"
        assert tokenizer.decode(row["rejected_ids"]) == f"{text_of(wrong)} <eos>"
    for row, line in zip(rows["cot_reward_model"], lines, strict=True):
        prompt = tokenizer(text_of(line))["input_ids"]
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"] == [-100] * len(prompt) + row["input_ids"][len(prompt) :]
        assert row["labels"][-1] == tokenizer.eos_token_id
        written = tokenizer.decode(row["labels"][len(prompt) : -1])
        assert read_verdict(written, line["reference"]) is line["correct"]


def test_a_model_writes_the_reasoning_where_no_function_does(tmp_path, monkeypatch, capsys):
    # The embedded model writes no verdicts: words are put into its mouth, right ones for every second response.
    written = iter(range(10**6))

    def decode(self, ids, **_):
        verdicts = ('so { "correct" : true }', 'so { "correct" : false }')
        return [verdicts[next(written) % 2] for _ in ids]

    small = ("stage.reasoning=null", "stage.num_samples=2", "trainer.args.max_completion_length=2")
    config = compose("+recipe=cot_reward_model", *SMALL, *small, "+trainer.args.use_cpu=true", "task.train_size=30")
    arguments = {key: value for key, value in config["stage"].items() if key != "_target_"}
    with monkeypatch.context() as context:
        from transformers import PreTrainedTokenizerFast

        context.setattr(PreTrainedTokenizerFast, "batch_decode", decode, raising=False)
        cot_reward_model(config, tmp_path, **arguments)
    samples = read_lines(tmp_path / "reasoning" / "samples.0.jsonl")
    train = read_lines(tmp_path / "judged" / "train.jsonl")
    assert len(samples) == len(train)
    for problem, line in zip(samples, train, strict=True):
        assert problem["prompt"] == text_of(line)
        assert [sample["right"] for sample in problem["samples"]] == [line["correct"], not line["correct"]]
    assert "left out" in capsys.readouterr().out


def test_samples_of_a_run_are_learned_from(tmp_path, capsys):
    problems = build(compose("+recipe=reward_model", *SMALL)["task"]).train
    sampled = [
        SampledProblem(
            row,
            problem["prompt"],
            [1],
            [
                Sample(f"answer {problem['answer']}", [1], True),
                Sample(f"is {problem['answer']} wait answer 0", [1], False),
                Sample("answer", [1], False),
            ][: 1 if row == 0 else 3],
        )
        for row, problem in enumerate(problems)
    ]
    write_samples(tmp_path / "samples.0.jsonl", sampled)
    go("reward_model", tmp_path / "run", f"stage.samples={tmp_path}", "stage.responses=null")
    said = read_lines(tmp_path / "run" / "judgements.jsonl")
    assert said
    answers = dict(zip(problems["prompt"], problems["answer"], strict=True))
    assert all(line["reference"] == answers[line["question"]] for line in said)
    told = capsys.readouterr().out
    assert "k15: left out 1: its problem has no wrong response" in told
    assert f"k15: {3 * len(problems) - 2} judged responses give" in told


@pytest.mark.parametrize("recipe", STAGES)
@pytest.mark.parametrize(
    ("rights", "sentence"),
    [
        ([True, True], r"must hold right and wrong responses, got no wrong response among 2"),
        ([False], r"must hold right and wrong responses, got no right response among 1"),
        ([], r"must hold right and wrong responses, got no response among 0"),
        ([True, None], r"line 2: right must be true or false, got None"),
        ([True, False], r"gives 0 pairs to train on and 1 held-out ones, and none may be missing"),
    ],
)
def test_samples_that_cannot_teach_are_refused_before_a_model_is_loaded(
    recipe, rights, sentence, tmp_path, monkeypatch
):
    monkeypatch.setattr(models, "tiny", None)
    path = tmp_path / "rollouts.jsonl"
    row = {"prompt": "4 + 3 =", "answer": "7"}
    path.write_text(
        "".join(json.dumps(row | {"right": right, "response": f"answer {place}"}) + "\n"
                for place, right in enumerate(rights))
    )  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        go(recipe, tmp_path / "run", f"stage.samples={path}", "stage.responses=null")


def test_a_judge_that_is_asked_in_a_conversation(tmp_path):
    model, tokenizer = models.hub(str(TINY))
    # A template of words that the model knows.
    tokenizer.chat_template = (
        "{% for message in messages %}{{ 'wait ' if message['role'] == 'user' else 'ok ' }}{{ message['content'] }} "
        "{% endfor %}{% if add_generation_prompt %}ok {% else %}<eos>{% endif %}"
    )
    model.save_pretrained(tmp_path / "chat")
    tokenizer.save_pretrained(tmp_path / "chat")
    words = ("model=hub", f"model.name={tmp_path / 'chat'}", "stage.conversational=true", "task.train_size=30")
    go("cot_reward_model", tmp_path / "run", *words)
    judge = json.loads((tmp_path / "run" / "model" / "judge.json").read_text())
    assert judge["conversational"] is True
    # What the served judge writes in a conversation is what was measured.
    served = TransformersJudge(str(tmp_path / "run" / "model"), max_new_tokens=64, chat=True)
    said = read_lines(tmp_path / "run" / "judgements.jsonl")
    assert served.write([text_of(line) for line in said]) == [line["text"] for line in said]


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"stage.conversational must be false for a tokenizer without"):
        go("cot_reward_model", tmp_path, "stage.conversational=true")
    with pytest.raises(ValueError, match=r"stage.reasoning must be the dotted name of a function, got"):
        go("cot_reward_model", tmp_path, "stage.reasoning=k15_plugins.x")


def test_samples_or_responses_but_not_both(tmp_path):
    with pytest.raises(
        ValueError, match=r"stage.samples must be a path, or null beside stage.responses, got 'x' and a"
    ):
        go("reward_model", tmp_path, "stage.samples=x")
    with pytest.raises(ValueError, match=r"got None and no node; set stage.responses=null with samples"):
        go("reward_model", tmp_path, "stage.responses=null")


def test_words_that_the_tokenizer_lacks_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"must be known to the model's tokenizer, got .* % of their tokens as <unk>"):
        go("reward_model", tmp_path, "stage.new_words=[]")


@pytest.mark.parametrize("recipe", STAGES)
def test_pairs_that_are_too_long_are_counted_and_all_of_them_refused(recipe, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"max_length"):
        go(recipe, tmp_path, "stage.args.max_length=5")
    assert re.search(r"left out \d+ pairs: longer than stage.args.max_length=5", capsys.readouterr().out)


def test_the_best_threshold():
    assert best_threshold([2.0, 3.0], [0.0, 1.0]) == (1.5, 1.0)
    assert best_threshold([1.0, 3.0], [0.0, 2.0]) == (2.5, 0.75)
    assert best_threshold([1.0], [1.0])[1] == 0.5
    # Equal scores have one verdict, so a threshold between them cannot be.
    assert best_threshold([1.0, 1.0], [1.0, 0.0]) == (0.5, 0.75)


def test_a_verdict_that_cannot_be_read_is_a_wrong_one():
    one = Judgement("q", "5", "5", True)
    said = [{"correct": one.correct, "kind": one.kind, "verdict": verdict} for verdict in (True, None, False)]
    assert figures_of(said) == {"held_out_accuracy": 1 / 3, "held_out_accuracy_right": 1 / 3}
