"""What of a config may differ when a run goes on."""

import pytest

from k15_plugins.runs.folder import check_same_config

MEGATRON = {"_target_": "k15_plugins.runs.megatron.MegatronBackend", "processes": 2, "tensor_parallel": 2}
ONE = {"_target_": "k15_plugins.runs.launch.Backend", "processes": 2}


def config(backend: dict, **args) -> dict:
    return {"backend": backend, "trainer": {"args": {"tau": 0.4, "vllm_server_host": "one", **args}}}


def test_megatron_goes_on_in_another_layout_and_beside_another_server():
    now = {**MEGATRON, "processes": 4, "tensor_parallel": 1, "pipeline_parallel": 2, "address": "first:29500"}
    check_same_config(config(MEGATRON), config(now, vllm_server_host="other"))


def test_a_run_goes_on_with_verifiers_elsewhere_and_from_before_there_was_a_choice():
    now = config(ONE) | {"rewards": {"pool": "ray", "address": "first:6379", "workers": 64}}
    check_same_config(config(ONE) | {"rewards": {"pool": "loky", "address": None, "workers": None}}, now)
    check_same_config(config(ONE), now)


@pytest.mark.parametrize(
    ("before", "now", "key"),
    [
        (config(MEGATRON), config({**MEGATRON, "dtype": "bfloat16"}), "backend.dtype"),
        (config(MEGATRON), config(MEGATRON, tau=0.1), "trainer.args.tau"),
        (config(MEGATRON), config(ONE), "backend._target_"),
        # Each process has a share of the batch.
        (config(ONE), config({**ONE, "processes": 4}), "backend.processes"),
    ],
)
def test_what_changes_the_run_is_refused(before, now, key):
    with pytest.raises(ValueError, match=f"resume: {key} was"):
        check_same_config(before, now)
