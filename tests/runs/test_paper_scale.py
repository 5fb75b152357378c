"""The recipes for 8 and 64 GPUs: their layouts fit their models and a GPU's memory, their lengths each other."""

import re

import hydra
import pytest
import transformers
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import k15_plugins.runs.cli as cli
from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.model.families import check_family
from k15_plugins.planning.megatron_memory import needs, weights_of_stage
from k15_plugins.runs.conf import CONF

RECIPES = CONF / "recipe"
GIVEN = ["task.path=problems.jsonl", "backend.address=first:29500", "trainer.args.vllm_server_host=server"]
# The sizes of their public configs.
MODELS = {
    "Qwen/Qwen2.5-7B-Instruct": transformers.Qwen2Config(
        hidden_size=3584,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        intermediate_size=18_944,
        vocab_size=152_064,
        max_position_embeddings=32_768,
        tie_word_embeddings=False,
    ),
    "Qwen/Qwen3-30B-A3B": transformers.Qwen3MoeConfig(
        hidden_size=2048,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        num_experts=128,
        num_experts_per_tok=8,
        moe_intermediate_size=768,
        intermediate_size=6144,
        norm_topk_prob=True,
        vocab_size=151_936,
        max_position_embeddings=40_960,
        tie_word_embeddings=False,
    ),
}
# GPUs of the trainer and of the server, and GB of a trainer's GPU as docs/megatron.md has them.
SIZES = {
    "kimi_rl_7b_8gpu": (4, 4, 57),
    "kimi_rl_7b_64gpu": (32, 32, 38),
    "kimi_rl_30b_a3b_8gpu": (8, 4, 71),
    "kimi_rl_30b_a3b_64gpu": (32, 32, 58),
}


def prepare(recipe: str, *overrides: str) -> tuple:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("run", overrides=[f"+recipe={recipe}", *GIVEN, *overrides])
    return cli.prepare(composed)


@pytest.fixture(params=SIZES)
def recipe(request):
    config, backend = prepare(request.param)
    return request.param, config, backend.engine_settings(), MODELS[config["model"]["name"]]


def server_of(recipe: str) -> dict[str, int]:
    """Return the numbers of the command for the server that stands above a recipe."""
    comment = re.findall(r"^#.*", (RECIPES / f"{recipe}.yaml").read_text(), re.MULTILINE)
    return {name: int(number) for name, number in re.findall(r"--([\w-]+) (\d+)", " ".join(comment))}


@pytest.mark.parametrize(("name", "billions"), [("Qwen/Qwen2.5-7B-Instruct", 7.62), ("Qwen/Qwen3-30B-A3B", 30.53)])
def test_the_models_have_the_weights_they_are_known_for(name, billions):
    assert weights_of_stage(MODELS[name], MegatronLayout(1), 0).all / 1e9 == pytest.approx(billions, abs=0.005)


def test_layouts_divide_the_models_and_the_gpus(recipe):
    name, config, engine, model = recipe
    check_family(model)
    # The engine has no loss that balances experts, and TRL's default is the model's.
    assert not (model.model_type == "qwen3_moe" and config["trainer"]["args"].get("router_aux_loss_coef") != 0)
    engine.layout.check_model(model)
    trains, generates, _ = SIZES[name]
    assert engine.layout.processes == trains
    assert trains // engine.nodes in (4, 8)
    # A tensor parallel group talks all the time, and has to stay inside a machine.
    assert trains // engine.nodes % engine.layout.tensor_parallel == 0
    server = server_of(name)
    assert server.get("tensor-parallel-size", 1) * server.get("pipeline-parallel-size", 1) == generates
    assert "data-parallel-size" not in server  # refused: its engines share a seed


def test_they_fit_a_gpu_of_80_gb_with_a_tenth_to_spare(recipe):
    name, _, engine, model = recipe
    assert engine.dtype == "bfloat16"
    assert engine.transformer["recompute_granularity"] == "full"
    (stage,) = needs(model, engine.layout, tokens=engine.max_tokens_per_micro_batch)
    assert stage["in all"] < 72
    assert round(stage["in all"]) == SIZES[name][2]
    page = (RECIPES.parents[1] / "docs" / "megatron.md").read_text()
    assert re.search(rf"`{name}` .*\| {SIZES[name][2]} \|", page)


def test_the_experts_do_not_fit_on_half_a_machine():
    layout = MegatronLayout(4, tensor_parallel=4, expert_parallel=4, sequence_parallel=True)
    (stage,) = needs(MODELS["Qwen/Qwen3-30B-A3B"], layout, tokens=8192)
    assert stage["in all"] > 80


def test_lengths_go_together(recipe):
    name, config, engine, model = recipe
    args, longest = config["trainer"]["args"], engine.max_tokens_per_micro_batch
    assert server_of(name)["max-model-len"] == longest <= model.max_position_embeddings
    assert args["rollout_budget_tokens"] < args["max_completion_length"] <= longest - 1024
    assert longest % engine.layout.tensor_parallel == 0


def test_updates_hold_whole_groups(recipe):
    _, config, engine, _ = recipe
    args = config["trainer"]["args"]
    rows = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"]
    assert rows % args["num_generations"] == 0
    assert rows % engine.layout.data_parallel == 0
    assert args["max_steps"] % args["updates_per_iteration"] == 0


def test_slurm_takes_the_launcher_of_one_machine(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    overrides = ["+recipe=kimi_rl_7b_8gpu", *GIVEN, "hydra/launcher=slurm_8gpu", "hydra.launcher.partition=gpus"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("run", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(composed)
    launcher = OmegaConf.to_container(composed.hydra.launcher, resolve=False)
    launcher["setup"] = OmegaConf.to_container(composed.hydra.launcher.setup, resolve=True)
    assert launcher.pop("_target_").endswith("SlurmLauncher")
    # As the launcher does: names of its own are the executor's, all others are SLURM's.
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    common = {"cpus_per_task", "gpus_per_node", "mem_gb", "name", "nodes", "tasks_per_node", "timeout_min"}
    given = {
        key if key in common | {"stderr_to_stdout"} else f"slurm_{key}": value
        for key, value in launcher.items()
        if key not in ("submitit_folder", "max_num_timeout")
    }
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm")
    executor.update_parameters(**given | {"name": "k15"})
    script = executor._executor._make_submission_file_text("python -m k15", "id")
    for line in ("--nodes=1", "--gpus-per-node=8", "--ntasks-per-node=1", "--partition=gpus", "--time=2880"):
        assert f"#SBATCH {line}" in script
    served = next(line for line in script.splitlines() if "vllm serve" in line)
    assert "vllm serve Qwen/Qwen2.5-7B-Instruct" in served
    assert "--max-model-len 32768" in served
    assert served.endswith("&")
    assert script.index("vllm serve") < script.index("srun")


def test_megatron_takes_the_settings(recipe):
    torch = pytest.importorskip("torch")
    pytest.importorskip("megatron.core.transformer")
    from k15_plugins.megatron.model.build import transformer_config

    _, _, engine, model = recipe
    told = transformer_config(model, engine.layout, torch.bfloat16, **engine.transformer)
    assert (told.recompute_method, told.recompute_num_layers) == ("uniform", 1)
    assert told.sequence_parallel
