"""Shortest rejection sampling: the choice, and the rows as a real SFTTrainer takes them."""

import tiny
from datasets import Dataset
from hypothesis import given
from long2short.cases import problem, problems, sample
from trl import SFTConfig, SFTTrainer

from k15_plugins.long2short.shortest import shortest_correct, shortest_rows


def test_the_shortest_right_response_that_ended_is_taken():
    group = [
        sample(3, False),
        sample(9, True),
        sample(5, True, mark=1),
        sample(5, True, mark=2),
        sample(4, True, True),
    ]
    assert shortest_correct(group) == group[2]
    assert shortest_correct([sample(3, False), sample(4, True, truncated=True)]) is None


@given(problems)
def test_nothing_right_is_shorter_and_every_problem_is_accounted_for(given_problems):
    rows, unsolved = shortest_rows(given_problems)
    assert len(rows) + len(unsolved) == len(given_problems)
    solved = [each for each in given_problems if each.problem not in unsolved]
    for row, each in zip(rows, solved, strict=True):
        lengths = [len(one.ids) for one in each.samples if one.right and not one.truncated]
        assert len(row["input_ids"]) - len(each.prompt_ids) == min(lengths)
    assert all(
        not any(one.right and not one.truncated for one in each.samples)
        for each in given_problems
        if each.problem in unsolved
    )


def test_the_loss_is_on_the_sampled_tokens_alone(tmp_path):
    tokenizer = tiny.tiny_tokenizer()
    eos = tokenizer.eos_token_id
    sampled = problem(sample(6, True), number=4)
    sampled.samples[0].ids[-1] = eos
    rows, _ = shortest_rows([sampled])
    args = SFTConfig(str(tmp_path), max_length=None, bf16=False, use_cpu=True, report_to="none")
    trainer = SFTTrainer(tiny.model(), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    (batch,) = trainer.get_train_dataloader()
    assert batch["input_ids"].tolist() == [sampled.prompt_ids + sampled.samples[0].ids]
    assert batch["labels"].tolist() == [[-100] * 3 + sampled.samples[0].ids]
