"""Record how long real answers are: `python benchmarks/record_lengths.py`, in an environment with vLLM and SmolLM2.

SmolLM2-135M-Instruct answers 64 varied prompts four times each, at temperature 1 and with at most 2,048 tokens. Writes
`benchmarks/data/smollm2_lengths.json`, which `rollout_throughput.py` and `vllm_generation.py` replay.
"""

import json
import os
import tempfile
from pathlib import Path

DATA = Path(__file__).parent / "data" / "smollm2_lengths.json"
ANSWERS = 4
LONGEST_TOKENS = 2048
REASONING_GYM = [
    "basic_arithmetic",
    "chain_sum",
    "gcd",
    "leg_counting",
    "number_sorting",
    "spell_backward",
    "word_sorting",
    "family_relationships",
    "syllogism",
    "calendar_arithmetic",
    "simple_equations",
    "countdown",
]  # 3 questions each
OTHERS = [
    "What is the capital of France?",
    "Answer with yes or no: is 91 a prime number?",
    "Name three colours.",
    "Translate to French: good morning.",
    "Who wrote Hamlet?",
    "Which is heavier, a kilogram of iron or a kilogram of feathers?",
    "Fix the spelling: I recieve teh letter.",
    "Give one synonym of 'quick'.",
    "Summarize in one sentence why the sky is blue.",
    "Write a haiku about the sea.",
    "Write a limerick about a cat.",
    "Explain photosynthesis to a child.",
    "Explain how a bicycle stays upright.",
    "List ten European countries with their capitals.",
    "Write a table of the planets with their distance from the sun and their number of moons.",
    "Write a table that compares Python, C and Rust.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "Write a Python program that plays rock, paper, scissors.",
    "Write Python code that reads a CSV file and prints the mean of each column.",
    "Write a SQL query for the three customers with the most orders.",
    "Write a shell script that renames all .txt files to .md.",
    "Write a recipe for pancakes.",
    "Write a formal letter that cancels a subscription.",
    "Tell a short story about a lighthouse keeper.",
    "Tell a long story about two friends who build a boat.",
    "Plan a three-day trip to Rome, day by day.",
    "Prove that the square root of two is irrational.",
    "What are the advantages and disadvantages of nuclear power?",
]


def prompts() -> list[str]:
    """Return the 64 prompts."""
    from reasoning_gym.factory import create_dataset

    questions = [entry["question"] for name in REASONING_GYM for entry in create_dataset(name, seed=1, size=3)]
    return questions + OTHERS


def main() -> None:
    """Sample the answers and keep their lengths."""
    import torch

    from k15_plugins.generation.cpu.vllm import ENVIRONMENT
    from k15_plugins.models import smollm2

    os.environ.update({**ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"})
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = smollm2()
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        engine = LLM(folder, dtype="bfloat16", enforce_eager=True, max_model_len=4096, max_num_seqs=64)
    asked = prompts()
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        for text in asked
    ]
    sampling = SamplingParams(n=ANSWERS, temperature=1.0, max_tokens=LONGEST_TOKENS)
    answers = engine.generate([{"prompt_token_ids": tokenizer(text)["input_ids"]} for text in texts], sampling)
    # One more than the limit stands for an answer that was cut off there.
    rows = [
        {
            "prompt": text,
            "lengths": [len(each.token_ids) + (each.finish_reason == "length") for each in answer.outputs],
        }
        for text, answer in zip(asked, answers, strict=True)
    ]
    DATA.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    DATA.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    lengths = sorted(length for row in rows for length in row["lengths"])
    print(f"{len(lengths)} answers, median {lengths[len(lengths) // 2]}, mean {sum(lengths) / len(lengths):.0f}")


if __name__ == "__main__":
    main()
