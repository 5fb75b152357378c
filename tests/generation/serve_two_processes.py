"""A job for `test_server_processes.py`: what each process is given when their shares differ, by TRL's own code."""

import json
import sys
from types import SimpleNamespace

import numpy as np
from accelerate import PartialState
from trl.generation.vllm_generation import VLLMGeneration

from k15_plugins.generation.segments import SegmentRequest
from k15_plugins.generation.vllm_server import generate_with_vllm_server
from k15_plugins.processes import leave_processes
from k15_plugins.runs.devices import set_up_devices

ALLOWANCES = {0: [2, 5, 2], 1: [2, 6]}


class Client:
    """Answers with copies of the last token of each prompt."""

    base_url = "nowhere"

    def generate(self, prompts, max_tokens, **_):
        ids = [[prompt[-1]] * max_tokens for prompt in prompts]
        logprobs = [[[-1.0]] * max_tokens for _ in prompts]
        return {"prompt_ids": prompts, "completion_ids": ids, "logprobs": logprobs}


def main(folder: str) -> None:
    set_up_devices()
    state = PartialState(cpu=True)
    rank = state.process_index
    generation = VLLMGeneration.__new__(VLLMGeneration)
    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}
    generation.__dict__.update(
        settings,
        accelerator=state,
        mode="server",
        logprobs=0,
        structured_outputs_regex=None,
        generation_kwargs={},
        max_completion_length=9,  # no response of this test may be as long
        vllm_client=Client(),
    )
    trainer = SimpleNamespace(
        vllm_generation=generation,
        accelerator=state,
        args=SimpleNamespace(server_patience_seconds=1.0),
        state=SimpleNamespace(global_step=0),
        _last_loaded_step=0,
    )

    def single_turn(prompts, images, fields, number):
        _, ids, logprobs, _ = generation.generate(prompts, images, number)
        return ids, [[token[0] for token in row] for row in logprobs]

    allowances = ALLOWANCES[rank]
    request = SegmentRequest(
        prompt_ids=[[10 * rank + row] for row in range(len(allowances))],
        started=[np.zeros(0, np.int32)] * len(allowances),
        images=None,
        multimodal_fields={},
        allowances=allowances,
        must_end=[False] * len(allowances),
        ends_at_allowance=[False] * len(allowances),
        pause_after=None,
        repetition=None,
    )
    segments = generate_with_vllm_server(trainer, single_turn, request)
    with open(f"{folder}/rank{rank}.json", "w") as file:
        json.dump([each.ids for each in segments], file)
    leave_processes()


if __name__ == "__main__":
    from k15_plugins.generation import vllm_server

    vllm_server._answers = lambda *_: True
    main(sys.argv[1])
