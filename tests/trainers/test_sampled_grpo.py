"""The sampler inside the trainers: no look-ahead, no repeats, refusals."""

import numpy as np
import pytest
import tiny
from datasets import Dataset
from transformers import TrainerCallback

from k15_plugins import PrioritizedSampler, UniformSampler
from k15_plugins.trainers.iteration import Iteration


class Diary(PrioritizedSampler):
    """A prioritized sampler that notes what it is told and asked."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.events = []

    def draw(self, n, refill=False):
        ids = super().draw(n, refill)
        self.events.append(("draw", ids.tolist()))
        return ids

    def observe(self, ids, right, rollouts):
        super().observe(ids, right, rollouts)
        self.events.append(("observe", list(ids), list(right), list(rollouts)))


def test_each_draw_has_seen_all_rewards_before(tmp_path):
    sampler = Diary(12, seed=0)
    trainer = tiny.trainer(tmp_path, sampler=sampler)
    told = []

    class Listener(TrainerCallback):
        def on_rollouts(self, trainer, rollouts):
            told.append(rollouts)

    trainer.add_callback(Listener())
    trainer.train()
    assert [event[0] for event in sampler.events] == ["draw", "observe"] * 3
    for (_, drawn), (_, ids, right, rollouts), group in zip(
        sampler.events[::2], sampler.events[1::2], told, strict=True
    ):
        assert ids == drawn
        assert len(set(drawn)) == 4
        assert rollouts == [4] * 4
        assert right == [sum(each["right"] for each in group[i : i + 4]) for i in range(0, 16, 4)]
        prompts = tiny.problems()["prompt"]
        assert [each["prompt"] for each in group] == [prompts[problem] for problem in drawn for _ in range(4)]


def test_uniform_is_the_default_and_passes_over_all_problems(tmp_path):
    trainer = tiny.trainer(tmp_path)
    assert isinstance(trainer.sampler, UniformSampler)
    trainer.train()
    assert np.count_nonzero(trainer.sampler.success_rates.last_seen >= 0) == 12


def test_a_data_set_smaller_than_an_iteration_trains(tmp_path):
    trainer = tiny.trainer(tmp_path, train_dataset=tiny.problems(3))
    trainer.train()
    assert trainer.state.global_step == 6


def test_an_iterable_data_set_keeps_trls_order(tmp_path):
    stream = tiny.problems(40).to_iterable_dataset()
    trainer = tiny.trainer(tmp_path, train_dataset=stream, max_steps=4)
    trainer.train()
    assert trainer.sampler is None
    with pytest.raises(ValueError, match="sampler needs a train_dataset with a length"):
        tiny.trainer(tmp_path, train_dataset=stream, sampler=UniformSampler(40))


def test_a_sampler_for_other_problems_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sampler draws from 5 problems but train_dataset has 12"):
        tiny.trainer(tmp_path, sampler=UniformSampler(5))


def test_rows_that_are_drawn_twice_are_separate_objects(tmp_path):
    trainer = tiny.trainer(tmp_path, train_dataset=Dataset.from_dict({"prompt": ["1 + 1 ="], "answer": ["2"]}))
    rows = trainer._rows_of([0], Iteration(0))
    assert len({id(row) for row in rows}) == 4
