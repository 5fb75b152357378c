"""What lm-eval has generated, scored by the reward functions of `k15_plugins.rewards`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from k15_plugins.evaluation.benchmarks import BENCHMARKS, find_benchmark, right_answer
from k15_plugins.files.jsonl import read_rows
from k15_plugins.samples import Sample, SampledProblem


def lm_eval_answer(name: str, doc: dict[str, Any]) -> str:
    """Return the right answer to a question of a benchmark as lm-eval's document of it says.

    Args:
        name: Key of `BENCHMARKS`.
        doc: Lm-eval's document. Choices stand in an order of lm-eval's own there, and the answer is
            the letter in it, such as `"(C)"`.
    """
    benchmark = find_benchmark(name)
    if benchmark.wrong:
        return doc["answer"].strip("() ")
    # Its AIME comes from other data sets, whose columns are capitalized.
    return right_answer(benchmark, doc.get(benchmark.answer, doc.get(benchmark.answer.capitalize())))


def read_lm_eval(
    path: str | Path,
    name: str,
    reward_func: Callable[..., list[float | None]],
    tokenizer: Any,
    answer: Callable[[dict[str, Any]], str] | None = None,
    max_new_tokens: int | None = None,
) -> list[SampledProblem]:
    r"""Score what lm-eval has generated, from the log that `lm_eval run --log_samples` writes for a task.

    lm-eval keeps texts only, so tokens are counted by tokenizing them again, with one more for the end. Its prompts
    may ask for another form of the answer than ours: for `gpqa_diamond_cot_zeroshot`, whose answers read "The answer
    is (C)", take `ExactMatchReward(r"answer is \(?([A-D])\b")`.

    Args:
        path: The file `samples_TASK_TIME.jsonl`.
        name: Name of the task in the result.
        reward_func: TRL reward function that gives at least 0.5 for a right final answer, from the
            column `answer`.
        tokenizer: Counts the tokens.
        answer: Gives the right answer from lm-eval's document, the row of its data set. By
            default `lm_eval_answer`, if `name` is a key of `BENCHMARKS`.
        max_new_tokens: Limit of the responses; one that reaches it counts as cut off.

    Returns:
        In the order of the documents; with filters, each document once.

    Raises:
        ValueError: If the file is missing or has no generated text, or nothing says which answers are right.
    """
    if answer is None:
        if name not in BENCHMARKS:
            raise ValueError(
                f"answer must be given where name is none of {', '.join(BENCHMARKS)}, got name={name!r}; set a "
                "function of the document."
            )
        answer = partial(lm_eval_answer, name)
    if not Path(path).is_file():
        raise ValueError(
            f"path must be a file, got {path}, which is none; set samples_*.jsonl of lm_eval --log_samples."
        )
    lines = {line["doc_id"]: line for _, line in read_rows(Path(path))}
    problems = []
    for document, line in sorted(lines.items()):
        responses = line["resps"][0]
        if not all(isinstance(response, str) for response in responses):
            raise ValueError(
                f"path must hold generated texts, got log-likelihoods in {path}; set a task that generates."
            )
        prompt = line["arguments"]["gen_args_0"]["arg_0"]
        columns = {"answer": [answer(line["doc"])] * len(responses)}
        rewards = reward_func(prompts=[prompt] * len(responses), completions=responses, completion_ids=None, **columns)
        extract = getattr(reward_func, "extract", lambda response: None)
        samples = []
        for response, reward in zip(responses, rewards, strict=True):
            ids = tokenizer(response, add_special_tokens=False)["input_ids"]
            truncated = max_new_tokens is not None and len(ids) >= max_new_tokens
            ids += [] if truncated else [tokenizer.eos_token_id]
            right = reward is not None and reward >= 0.5
            samples.append(Sample(response, ids, right, truncated, extract(response)))
        problems.append(SampledProblem(document, prompt, tokenizer(prompt)["input_ids"], samples, name))
    return problems
