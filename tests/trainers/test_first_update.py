"""Rho of an iteration's first update: 0, logged, and a warning where it is not."""

import warnings

import pytest
import tiny

METRIC = "k15/first_update_rho_abs_max"


@pytest.mark.parametrize("precision", [{}, {"bf16": True}])
def test_rho_of_the_first_update_is_0_and_logged_for_it_alone(tmp_path, precision):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_completion_length": 32}
    trainer = tiny.trainer(tmp_path, **settings, **precision)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="rho of an iteration's first update")
        trainer.train()
    updates = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [METRIC in entry for entry in updates] == [True, False] * 3
    assert max(tiny.logs(trainer, METRIC)) < 1e-5
    assert min(entry["k15/rho_abs_max"] for entry in updates[1::2]) > 1e-3


def test_noise_in_the_first_update_is_told_once(tmp_path):
    trainer = tiny.trainer(tmp_path, model=tiny.model(dropout=0.5), disable_dropout=False, first_update_rho_bound=1e-4)
    with pytest.warns(UserWarning, match="rho of an iteration's first update should be 0 and is up to") as told:
        trainer.train()
    (sentence,) = [text for each in told if "first update" in (text := str(each.message))]
    assert "first_update_rho_bound=0.0001; the usual causes are dropout" in sentence
    assert min(tiny.logs(trainer, METRIC)) > 1e-4


def test_a_bound_of_0_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"first_update_rho_bound must be above 0, got 0\.0"):
        tiny.trainer(tmp_path, first_update_rho_bound=0.0)
