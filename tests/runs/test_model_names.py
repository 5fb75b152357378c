"""Advice on a recipe that does not fit the size of the model."""

import json

from k15_plugins.runs.model_names import advice

ARGS = {"learning_rate": 2e-4, "max_completion_length": 96}


def config(name, target="hub"):
    model = {"_target_": f"k15_plugins.models.{target}", "name": str(name)}
    return {"model": model, "trainer": {"args": ARGS}}


def folder(place, width):
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"hidden_size": width}))
    return place


def test_a_real_model_in_a_recipe_of_the_embedded_one_gets_advice(tmp_path):
    said = advice("kimi_rl", config("Qwen/Qwen2.5-1.5B-Instruct"))
    assert "learning_rate=0.0002, max_completion_length=96" in said
    assert said.endswith("take +recipe=kimi_rl_hub")
    assert advice("grpo", config(folder(tmp_path / "real", 1536))) is not None


def test_models_and_recipes_of_one_size_get_none(tmp_path):
    assert advice("kimi_rl", config(folder(tmp_path / "small", 96))) is None
    assert advice("kimi_rl", config("", target="tiny")) is None
    for recipe in ("kimi_rl_hub", "kimi_rl_7b_8gpu", None):
        assert advice(recipe, config("Qwen/Qwen2.5-1.5B-Instruct")) is None
