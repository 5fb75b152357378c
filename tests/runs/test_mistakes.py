"""Typical mistakes of a new user: each is refused in one sentence that names the field, its value and the cure."""

import json
import re

import pytest
from omegaconf import OmegaConf
from test_conf import compose
from test_fuzz import refusal

from k15_plugins import models
from k15_plugins.runs.cli import prepare
from k15_plugins.runs.model_names import check_models

KIMI = "+recipe=kimi_rl"
SMALL = ["task.train_size=40", "task.held_out_size=8"]

# Told by the command itself, which loads neither torch nor TRL.
AT_ONCE = [
    # numbers
    ("trainer.args.max_steps=0", r"trainer\.args\.max_steps must be 1 or more updates .* got 0"),
    ("trainer.args.max_steps=-5", r"trainer\.args\.max_steps must be 1 or more"),
    ("trainer.args.max_completion_length=0", r"max_completion_length must be a whole number from 1, got 0"),
    ("trainer.args.max_completion_length=-8", "max_completion_length must be a whole number from 1, got -8"),
    ("trainer.args.num_generations=1", "num_generations must be a whole number from 2, got 1"),
    ("trainer.args.num_generations=null", "num_generations must be a whole number from 2, got None"),
    ("trainer.args.per_device_train_batch_size=0", "per_device_train_batch_size must be a whole number from 1, got 0"),
    ("trainer.args.per_device_train_batch_size=2.5", "per_device_train_batch_size must be a whole number from 1"),
    ("trainer.args.gradient_accumulation_steps=0", "gradient_accumulation_steps must be a whole number from 1"),
    ("trainer.args.learning_rate=-1e-4", r"learning_rate must be above 0, got -0\.0001"),
    ("trainer.args.learning_rate=0", "learning_rate must be above 0, got 0"),
    ("trainer.args.learning_rate=nan", "learning_rate must be a finite number, got nan"),
    ("trainer.args.temperature=0", r"temperature must be above 0 \(1 samples from the policy itself\), got 0"),
    ("trainer.args.temperature=-1", "temperature must be above 0 .*got -1"),
    ("trainer.args.temperature=inf", "temperature must be a finite number, got inf"),
    ("+trainer.args.top_p=0", "top_p must be above 0 and at most 1, got 0"),
    ("+trainer.args.top_p=1.5", "top_p must be above 0 and at most 1"),
    ("+trainer.args.top_k=-1", "top_k must be a whole number from 0"),
    ("trainer.args.save_steps=inf", "save_steps must be a finite number, got inf"),
    ("trainer.args.save_steps=0", "save_steps must be above 0"),
    ("trainer.args.eval_steps=-1", "eval_steps must be above 0"),
    ("trainer.args.save_total_limit=0", "save_total_limit must be a whole number from 1"),
    ("trainer.args.logging_steps=0", "logging_steps must be above 0"),
    ("trainer.args.tau=inf", r"trainer\.args\.tau must be a finite number, got inf"),
    ("+trainer.args.weight_decay=-0.1", "weight_decay must be 0 or more"),
    ("+trainer.args.adam_beta2=1", "adam_beta2 must be from 0 to below 1"),
    ("seed=-1", "seed must be a whole number from 0 to 4294967295, got -1"),
    ("seed=1.5", r"seed must be a whole number from 0 to 4294967295, got 1\.5"),
    ("seed=null", "seed must be a whole number from 0 to 4294967295, got None"),
    # groups and scalars in each other's place
    ("~task", "task must not be empty, for the stage reinforce needs it; choose one by task="),
    ("~reward", "reward must not be empty, for the stage reinforce needs it"),
    ("~sampler", "sampler must not be empty, for the stage reinforce needs it"),
    ("~model", "model must not be empty, for the stage reinforce needs it"),
    ("~stage", "stage must be a group of keys, got None"),
    ("stage=null", "stage must be a group of keys, got None"),
    ("stage=5", "stage must be a group of keys, got 5"),
    ("backend.environment=5", "backend.environment must be keys and values, got 5; correct it"),
    ("backend.processes=two", "backend.processes must be a whole number, got 'two'; the default is 1"),
    ("backend.processes=1.5", "backend.processes must be a whole number"),
    ("+backend.environment.OMP_NUM_THREADS=[1]", "backend.environment must be keys and values"),
    ("backend.environment.OMP_NUM_THREADS=many", "OMP_NUM_THREADS must be a whole number from 1, got 'many'"),
    ("+trainer.model=x", r"trainer\.model is the run's own, got 'x'; choose model=\.\.\., and leave it out"),
    ("+trainer.callbacks=[x]", r"trainer\.callbacks is the run's own, got \['x'\]; leave it out"),
    ("+sampler.num_problems=5", r"sampler\.num_problems is the run's own, got 5; choose task="),
    ("model=untrained model.seed=-1", r"model\.seed must be a whole number from 0 to 4294967295, got -1"),
    (
        "model=smollm2_lora model.lora.r=-1",
        r"model\.lora\.r must be a whole number from 1, got -1; take such a number, or leave it out",
    ),
    ("trainer.args=5", "trainer.args must be a group of keys, got 5"),
    ("trainer=no_training", r"trainer\._target_ must name a class .*; take trainer=mirror_descent or trainer=grpo"),
    ("reward.answer=5", r"reward\.answer must have a _target_, and has none; set the class or function"),
    ("rewards.pool=dask", r"rewards\.pool must be one of loky, ray, got 'dask'; set rewards\.pool=loky"),
    ("rewards.pool=ray", r"rewards\.address must be the address of a Ray cluster .* got None; set rewards\.address="),
    ("rewards.workers=0", r"rewards\.workers must be a whole number from 1 or null, got 0; set rewards\.workers=null"),
    ("+rewards.worker=2", r"rewards must be a group of the keys pool, address, workers, got 'worker'; leave it out"),
    ("rewards=math", r"rewards must be a group of the keys .*, got 'math'; .* choose reward functions by reward="),
    ("metric=5", "metric must be the name of a figure or null, got 5"),
    ("metric=eval_k15/acuracy", r"metric must be a figure that the run writes, .*; did you mean eval_k15/accuracy\?"),
    ("metric=rewards/length/mean", r"did you mean rewards/length_reward/mean\?"),
    ("metric=xyz", "take one of eval_k15/accuracy, "),
    # models
    (
        "model=hub model.name=outputs/nothing/model",
        "the folder outputs/nothing/model does not exist; correct the path",
    ),
    ("model=hub model.name=./nothing", r"model\.name must be the folder of a model .* does not exist"),
    ("model=hub model.name=/nothing", "does not exist; correct the path"),
    ("model=hub model.name=nobody/nothing", "HF_HUB_OFFLINE allows; run hf download nobody/nothing where there is a"),
    ("model=hub model.name=null", r"model\.name has no value; give it one by model\.name="),
    ("model=hub model.name=5", "model.name must be the folder of a model or a name on the Hub, got 5"),
    ("model=hub model.name=k15_plugins", r"got k15_plugins, which has no config\.json; give the folder"),
    ("model=hub model.name=README.md", r"got the file README\.md; give its folder"),
    ("model=smollm2 model.lora=16", r"model\.lora must be a node of peft\.LoraConfig or null, got 16"),
    # rewards and tasks
    ("reward.answer._target_=k15_plugins.rewards.MathRewrd", r"reward\.answer\._target_=.* cannot be imported: "),
    ("+reward.answer.treshold=1", r"unknown key reward\.answer\.treshold: did you mean reward\.answer\.threshold\?"),
    ("task=jsonl task.path=x.jsonl", r"reward\.answer \(ReasoningGymReward\) needs the columns task, entry"),
]

# Told by the job, before it loads a model.
BEFORE_A_MODEL = [
    ("trainer.args.learning_rate=abc", r"learning_rate must be a number, got 'abc'; the default is 1e-06"),
    ("trainer.args.max_steps=many", "max_steps must be a whole number, got 'many'; the default is -1"),
    ("trainer.args.max_steps=1e3", r"max_steps must be a whole number, got 1000\.0"),
    ("trainer.args.eval_steps=often", "eval_steps must be a number or null, got 'often'"),
    ("trainer.args.num_generations=eight", "num_generations must be a whole number or null, got 'eight'"),
    ("trainer.args.bf16=maybe", "bf16 must be true or false or null, got 'maybe'"),
    ("trainer.args.eval_strategy=sometimes", "eval_strategy must be one of no, steps, epoch, got 'sometimes'"),
    ("trainer.args.lr_scheduler_type=flat", "lr_scheduler_type must be one of linear, cosine, "),
    ("+trainer.args.optim=adamm", "optim must be one of adamw_torch, "),
    ("trainer.args.report_to=wandbb", "wandbb is not supported, only .* are supported; correct it"),
    ("+trainer.args.baseline=median", "baseline must be one of mean, log_mean_exp, got 'median'; the default is mean"),
    (
        "trainer.args.num_generations=5",
        r"generation_batch_size \(128\) must be divisible .*change one of these or num_g",
    ),
    ("trainer.args.updates_per_iteration=0", r"trainer\.args: updates_per_iteration must be 1 or more, got 0"),
    ("trainer.args.length_penalty_weight=-1", "length_penalty_weight must be 0 or more, got -1"),
    ("+trainer.args.seed=1", r"trainer\.args\.seed is the run's own; set seed="),
    ("+trainer.args.output_dir=x", r"trainer\.args\.output_dir is the run's own; set hydra\.run\.dir="),
    ("~trainer.args.bf16", "doesn't support bf16/gpu.*; set trainer.args.bf16=false where there is no GPU"),
    ("trainer.args._target_=trl.GRPOConfig", r"trainer\.args must be a MirrorDescentConfig, .* got 'trl\.GRPOConfig'"),
    ("trainer.args._target_=trl.GRPOConfg", r"trainer\.args\._target_=trl\.GRPOConfg cannot be imported"),
    ("+model._targeet_=x", r"unknown key model\._targeet_: did you mean model\._target_\?"),
    (
        "model=hub model.name={TINY} model.dtype=flaot32",
        r"model\.dtype must be one of float32, bfloat16, float16, auto, g",
    ),
    ("+sampler.schedule=3", r"sampler\.schedule must be a Schedule, made by a _target_ or null, got 3"),
    ("+sampler.floor=2", "floor must be a share from 0 to 1, got 2"),
    ("+sampler.cap=much", r"sampler\.cap must be a number, got 'much'; the default is 0\.25"),
    ("sampler._target_=k15_plugins.rewards.MathReward", "must make a ProblemSampler, got a MathReward"),
    ("sampler._target_=k15_plugins.sampling.EasyToHard", r"sampler\.iterations is missing, and EasyToHard needs it"),
    ("sampler._target_=k15_plugins.sampling", r"sampler\._target_=k15_plugins\.sampling must be a class or function"),
    ("sampler=curriculum sampler.schedule.hard_level=9", "hard_level=9 leaves no problem after the switch"),
    ("+reward.brevity._target_=my_rewards.brevity", "No module named 'my_rewards'"),
    ("reward=math +reward.answer.timeout_seconds=0", "timeout_seconds=0"),
    ("+reward.answer.threshold=high", r"reward\.answer\.threshold must be a number, got 'high'"),
    ("task.train_size=0", "train_size=0 must be at least 1"),
    ("task.train_size=lots", r"task\.train_size must be a whole number, got 'lots'"),
    ("~task.train_size", r"task\.train_size is missing, and reasoning_gym_problems needs it; give it a value"),
    ("task.mixture=chain_sum", r"task\.mixture must be a list, .*, got 'chain_sum'"),
    ("task.mixture=[{name: chain_sam}]", r"reasoning-gym has no task 'chain_sam' \(did you mean 'chain_sum'\?\)"),
    ("task.template=x", "template must have a field, got 'x'"),
    ("task.held_out_size=0", "eval_strategy=steps needs held-out problems, and the task has none; hold some out"),
    (
        "reward=exact_match task=jsonl task.path=nowhere.jsonl",
        "path must be a file, got nowhere.jsonl, which does not exist; correct the path",
    ),
    (
        "reward=exact_match task=jsonl task.path={tmp}/empty.jsonl",
        r"path must have at least one row, got .*empty\.jsonl with none; set a file",
    ),
    (
        "reward=exact_match task=jsonl task.path={tmp}/noprompt.jsonl",
        r"line 1 has no column 'prompt'; it has question, ans",
    ),
    ("reward=exact_match task=jsonl task.path={tmp}/noanswer.jsonl", r"line 1 has no column 'answer'; it has prompt"),
    ("reward=exact_match task=jsonl task.path={tmp}/null.jsonl", "line 1: 'prompt' must be text, .* but is None"),
    (
        "reward=math task=benchmark task.name=math500",
        "name must be a benchmark, got 'math500' .did you mean 'math_500'",
    ),
    (
        "reward=math task=benchmark task.name=math_500 task.path={tmp}/math.jsonl",
        "has no problems to train on; take anot",
    ),
    (
        "reward=code task=benchmark task.name=mbpp task.path={tmp}/mbpp.jsonl",
        r"no problems to train on; take another task, hold only a share of it out by task\.held_out=0\.2, or measure",
    ),
    (
        "reward=code task=benchmark task.name=mbpp task.path={tmp}/math.jsonl",
        r"math\.jsonl, line 1: test_list must hold asserts, got None",
    ),
    ("task.mixture=[{name: chain_sum, levels: 3}]", "levels of 'chain_sum' must be a list .*, got 3"),
    ("+trainer.args.log_level=loud", "log_level must be one of debug, .*, got 'loud'; the default is 'passive'"),
    ("+trainer.args.generation_kwargs={num_return_sequences: 2}", "got num_return_sequences=2; set num_generations"),
    ("trainer._target_=trl.GRPOTrainer", "must be a trainer that takes sampler, got trl.GRPOTrainer, which does not"),
    (
        "trainer=grpo",
        "got .*updates_per_iteration.*, which only trainer=mirror_descent has; take \\+recipe=grpo for t",
    ),
    ("+trainer.args.importance_weight_cap=2", "importance_weight_cap=2 needs the engine's log-probabilities"),
    ("+trainer.final_reward=answr", "final_reward must be one of .*, got 'answr'"),
    ("++trainer.args.save_strategy=best", "save_strategy='best' needs metric_for_best_model"),
    ("+trainer.args.push_to_hub=true", "push_to_hub=True needs the Hub, and HF_HUB_OFFLINE is set"),
    ("+trainer.args.optim=galore_adamw", "optim=galore_adamw needs a package: .*; install it"),
    ("+trainer.args.ddp_backend=foo", "ddp_backend must be one of nccl, .*, got 'foo'"),
    ("+trainer.args.lr_scheduler_kwargs={foo: 1}", "arguments of the schedule constant, got 'foo'; it takes none"),
    ("+task.conversational=true", "and the tokenizer .* has no chat template"),
]


@pytest.fixture
def files(tmp_path):
    rows = {
        "empty": None,
        "noprompt": {"question": "1 + 1", "answer": "2"},
        "noanswer": {"prompt": "1 + 1"},
        "null": {"prompt": None, "answer": "2"},
        "math": {"problem": "1 + 1", "answer": "2", "level": 1},
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("" if row is None else json.dumps(row) + "\n")
    mbpp = [{"task_id": n, "text": f"Add {n} numbers.", "test_list": ["assert add(1) == 1"]} for n in range(20)]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mbpp))
    return tmp_path


def words_of(mistake: str, **places) -> list[str]:
    """Return the words of a command; those in brackets hold spaces."""
    mistake = mistake if ": " in mistake else mistake.format(**places)
    return [mistake] if ": " in mistake else mistake.split()


@pytest.mark.parametrize(("mistake", "told"), AT_ONCE)
def test_a_mistake_is_told_at_once(mistake, told):
    small = [] if "task" in mistake else SMALL
    config = compose(KIMI, *small, *words_of(mistake))
    with pytest.raises(ValueError, match=told) as error:
        check_models(prepare(OmegaConf.create(config))[0])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("mistake", "told"), BEFORE_A_MODEL)
def test_a_mistake_is_told_before_a_model_is_loaded(mistake, told, files):
    small = [] if "task=" in mistake or "task.train" in mistake else SMALL
    said = refusal(compose(KIMI, *small, *words_of(mistake, tmp=files, TINY=models.TINY)), files)
    assert said is not None
    assert len(said.splitlines()) == 1
    assert re.search(told, said), said


@pytest.mark.parametrize("metric", ["eval_k15/accuracy", "k15/rho_abs_mean", "sampler/drawn_unsolved", "eval_reward"])
def test_a_figure_that_a_run_writes_is_taken_as_its_metric(metric):
    assert prepare(OmegaConf.create(compose(KIMI, *SMALL, f"metric={metric}")))[0]["metric"] == metric


def test_a_reward_of_a_users_own_may_log_any_figure():
    own = ["+reward.own._target_=builtins.len", "metric=anything"]
    assert prepare(OmegaConf.create(compose(KIMI, *SMALL, *own)))[0]["metric"] == "anything"


def test_what_a_recipe_sets_for_its_own_task_falls_away_with_it():
    words = ["reward=exact_match", "task=jsonl", "task.path=x.jsonl"]
    config = prepare(OmegaConf.create(compose("+recipe=smoke", *words)), words)[0]
    assert config["task"].keys() == {
        *("_target_", "path", "prompt_column", "answer_column", "answer_pattern", "level_column", "domain_column"),
        *("conversational", "held_out"),
    }
    typed = [*words, "+task.pth=x"]
    assert prepare(OmegaConf.create(compose("+recipe=smoke", *typed)), typed)[0]["task"]["pth"] == "x"


def test_a_benchmark_is_trained_on_where_some_of_it_is_held_out(files):
    words = ["task=benchmark", "task.name=mbpp", f"task.path={files}/mbpp.jsonl", "task.held_out=0.3"]
    assert refusal(compose(KIMI, *words, "task.conversational=false", "reward=code"), files) is None
