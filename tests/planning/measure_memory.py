"""A rank of a torchrun job: what an engine really holds, and its peak after updates on rows of growing length.

python -m torch.distributed.run ... measure_memory.py CASE, a JSON file with `folder` of the model, `layout`, `engine`
settings and `lengths` in tokens; writes CASE.RANK with the bytes of this rank.
"""

import json
import os
import resource
import sys
from pathlib import Path

import torch

from k15_plugins.megatron.job.without_cuda import run_without_cuda

run_without_cuda()

from k15_plugins.megatron.engine import MegatronEngine  # noqa: E402
from k15_plugins.megatron.layout import MegatronLayout  # noqa: E402
from k15_plugins.megatron.rows import Rows  # noqa: E402
from k15_plugins.megatron.settings import EngineSettings  # noqa: E402
from k15_plugins.megatron.weights.checkpoint import parts_of  # noqa: E402

PROMPT = 2


def loss(logps_BC, entropies_BC, columns):
    return -logps_BC.sum(), {"n": torch.ones(len(logps_BC))}


def size(tensors) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def held(engine: MegatronEngine) -> dict[str, int]:
    """Count the bytes of the weights, of their gradients, and of what the optimizer adds."""
    weights = [each for chunk in engine.model.chunks for each in chunk.parameters()]
    optimizers = parts_of(engine.optimizer)
    masters = [weight for one in optimizers for group in one.optimizer.param_groups for weight in group["params"]]
    moments = [
        each for one in optimizers for state in one.optimizer.state.values() for each in state.values() if each.dim()
    ]
    return {
        "weights": size(weights),
        "gradients": size(weight.main_grad for weight in weights),
        # In float32 Adam works on the weights themselves.
        "optimizer": size(moments) + size(each for each in masters if each.dtype != weights[0].dtype),
    }


def main(path: str) -> None:
    torch.set_num_threads(1)
    case = json.loads(Path(path).read_text())
    layout = MegatronLayout(**case["layout"])
    settings = EngineSettings(layout, max_tokens_per_micro_batch=1, **case["engine"])
    engine = MegatronEngine(settings, case["folder"])
    peaks = []
    for length in case["lengths"]:
        rows = layout.data_parallel * layout.pipeline_parallel
        engine.train_batch(Rows([torch.arange(length) % 100] * rows, [length - PROMPT] * rows, {}), 1.0, loss)
        engine.step(1e-3)
        # Kilobytes on Linux; never less than before, so lengths have to grow.
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    Path(f"{path}.{os.environ['RANK']}").write_text(json.dumps({**held(engine), "peaks": peaks}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
