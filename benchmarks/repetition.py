"""Where the rule for repetitions stops text that it should leave alone: `python benchmarks/repetition.py`.

Runs the rule over tokens of real text: answers of SmolLM2-135M-Instruct at temperature 1 and 0.3, and tables, source
code and JSON, which repeat themselves for good reasons. Writes `docs/results/repetition.md`. The answers are sampled
once and kept in `outputs/benchmarks/`.
"""

import inspect
import json
import textwrap
from collections import Counter
from pathlib import Path

import torch

import k15_plugins.evaluation.statistics
import k15_plugins.sampling.weighted
import k15_plugins.trainers.mirror_descent
from k15_plugins.generation.transformers_generation import TransformersGeneration
from k15_plugins.models import smollm2
from k15_plugins.rollouts import RepetitionRule, first_repetition

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs" / "results" / "repetition.md"
ANSWERS = ROOT / "outputs" / "benchmarks" / "smollm2_answers.json"
TOKENS = 256
QUESTIONS = (
    "Explain why the sky is blue.",
    "Write a Python function that sorts a list of numbers.",
    "Make a table of the planets with their radius and distance from the sun.",
    "Count from 1 to 60.",
    "Write a short poem about rain.",
    "What is 17 times 23? Think step by step.",
    "Write a JSON list of ten people with name and age.",
    "Describe your favourite meal in detail.",
    "List all prime numbers below 100.",
    "Translate 'good morning' into five languages.",
    "Write an HTML table with 5 rows and 3 columns.",
    "Who was Marie Curie?",
)
RULES = (
    RepetitionRule(max_period=8, min_count=4),
    RepetitionRule(max_period=16, min_count=8),
    RepetitionRule(max_period=16, min_count=16),
    RepetitionRule(max_period=32, min_count=16),
    RepetitionRule(max_period=32, min_count=16, min_period=2),
)


def answers(temperature: float, samples: int) -> list[str]:
    """Sample answers of SmolLM2, or read those that were sampled before."""
    kept = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    name = f"{temperature} {samples} {TOKENS}"
    if name not in kept:
        model, tokenizer = smollm2()
        model = model.to(torch.bfloat16)
        generate = TransformersGeneration(model, tokenizer, max_new_tokens=TOKENS, temperature=temperature)
        prompts = [[{"role": "user", "content": question}] for question in QUESTIONS for _ in range(samples)]
        kept[name] = [tokenizer.decode(ids) for ids in generate(prompts, seed=0).completion_ids]
        ANSWERS.parent.mkdir(parents=True, exist_ok=True)
        ANSWERS.write_text(json.dumps(kept))
    return kept[name]


def structured() -> dict[str, list[str]]:
    """Texts that repeat themselves for good reasons."""
    numbers = "\n".join(f"| {row} | {row * row} | {row**3} |" for row in range(1, 61))
    modules = (k15_plugins.evaluation.statistics, k15_plugins.sampling.weighted, k15_plugins.trainers.mirror_descent)
    return {
        "table of numbers": [f"| n | square | cube |\n|---|---|---|\n{numbers}"],
        "table, 12 columns, aligned": ["|" + " --- |" * 12 + "\n" + ("|" + "     |" * 12 + "\n") * 6],
        "identity matrix of 12": ["\n".join(" ".join("1" if i == j else "0" for j in range(12)) for i in range(12))],
        "Python source": [inspect.getsource(module) for module in modules],
        "deeply nested JSON": [json.dumps([{"a": {"b": {"c": [row]}}} for row in range(40)], indent=4)],
        "HTML table": ["<table>\n" + "<tr><td>0</td><td>0</td><td>0</td></tr>\n" * 8 + "</table>"],
        "rule of 80 dashes": ["Title\n" + "-" * 80 + "\n" + "=" * 80],
        "long division by hand": [textwrap.dedent("1/3 = 0." + "3" * 30)],
    }


def main() -> None:
    """Count the stops of each rule in each kind of text, and write the table."""
    _, tokenizer = smollm2()
    texts = {
        "SmolLM2, temperature 1": answers(1.0, 8),
        "SmolLM2, temperature 0.3": answers(0.3, 4),
        **structured(),
    }
    lines = [
        "# False positives of the rule for repetitions",
        "",
        f"All texts are in SmolLM2's tokens; its own answers have up to {TOKENS} tokens, to {len(QUESTIONS)} "
        "questions. A cell says how many of the texts the rule stops, and after how many tokens (median). "
        "Made by `python benchmarks/repetition.py`.",
        "",
        "| text | tokens | " + " | ".join(_name(rule) for rule in RULES) + " |",
        "|---|---|" + "---|" * len(RULES),
    ]
    stopped: dict[str, list[str]] = {}
    for name, kind in texts.items():
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in kind]
        cells = []
        for rule in RULES:
            ends = [(first_repetition(row, rule), row) for row in ids]
            found = sorted(end for end, _ in ends if end is not None)
            cells.append(f"{len(found)} of {len(ids)}" + (f", {found[len(found) // 2]}" if found else ""))
            if name.startswith("SmolLM2"):
                stopped.setdefault(_name(rule), []).extend(
                    tokenizer.decode(row[max(0, end - 24) : end]) for end, row in ends if end is not None
                )
        lines.append(f"| {name} | {sum(map(len, ids))} | " + " | ".join(cells) + " |")
    lines += ["", "What SmolLM2 wrote where it was stopped (the last 24 tokens, most frequent first):", ""]
    for rule_name, ends in stopped.items():
        examples = [f"`{' '.join(text.split())[:70]}`" for text, _ in Counter(ends).most_common(3)]
        lines.append(f"- {rule_name}: {', '.join(examples) if examples else 'nothing'}")
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


def _name(rule: RepetitionRule) -> str:
    return f"period {rule.min_period}-{rule.max_period}, {rule.min_count} copies"


if __name__ == "__main__":
    main()
