"""A vLLM server without an accelerator that TRL can train with: python -m k15_plugins.generation.cpu.serve MODEL

Further arguments are vLLM's own (`--port 8001 --max-model-len 4096`). On GPUs, start vLLM as TRL says instead:
VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config '{"backend": "nccl"}' --enable-scale-out
--logprobs-mode processed_logprobs --max-logprobs -1
"""

import os
import sys

ENVIRONMENT = {
    # The endpoints for weights and for the prefix cache.
    "VLLM_SERVER_DEV_MODE": "1",
    # The default is a share of half of the memory, which often does not fit.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Binding takes one core away from the engine.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}


def command(model: str, *arguments: str) -> list[str]:
    """Return the command line of a server.

    Args:
        model: Name or folder.
        *arguments: More arguments of vLLM; they win over those here.
    """
    return [
        sys.executable,
        # `vllm serve` looks up a version under a name that the CPU build does not have.
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", model),
        *("--host", "127.0.0.1"),
        *("--weight-transfer-config", '{"backend": "gloo"}'),
        *("--worker-extension-cls", "k15_plugins.generation.cpu.vllm_gloo.Worker"),
        *("--logprobs-mode", "processed_logprobs"),
        *("--max-logprobs", "-1"),
        *("--block-size", "32"),
        "--enable-scale-out",
        "--enforce-eager",
        *arguments,
    ]


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("python -m k15_plugins.generation.cpu.serve MODEL [arguments of vLLM]")
    os.execve(sys.executable, command(*sys.argv[1:]), {**ENVIRONMENT, **os.environ})
