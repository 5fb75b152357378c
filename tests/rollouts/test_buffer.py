"""The buffer against a model of it: nothing is lost, nothing comes twice, and the oldest comes first."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from k15_plugins.rollouts import RepetitionRule, RolloutBudget, RolloutBuffer, Trajectory, stop_reason

K, LONGEST, EOS = 3, 12, 0


class Buffer(RuleBasedStateMachine):
    """Iterations of any budget, with saving and loading between, beside plain lists of what must be there."""

    def __init__(self):
        super().__init__()
        self.buffer = RolloutBuffer(K, LONGEST)
        self.problem = 0
        self.iteration = 0
        self.expected = []  # groups in order: (problem, k lists of (token, logp, iteration))
        self.taken = []

    @rule(groups=st.integers(0, 3))
    def start(self, groups):
        problems = list(range(self.problem, self.problem + groups))
        self.problem += groups
        self.buffer.start(problems)
        self.expected += [(problem, [[] for _ in range(K)]) for problem in problems]

    @initialize(last=st.none() | st.integers(1, 3))
    def choose_the_cap(self, last):
        self.last = last

    @rule(budget=st.integers(1, 6), data=st.data())
    def iterate(self, budget, data):
        last = self.last
        limits = RolloutBudget(LONGEST, tokens=budget, max_segments=last)
        before = self.buffer.unfinished()
        tokens_before = [each.num_tokens for each in before]
        for trajectory in before:
            allowance = limits.allowance(trajectory, self.iteration)
            ids = data.draw(st.lists(st.integers(EOS, 9), min_size=1, max_size=allowance))
            if EOS in ids:
                ids = ids[: ids.index(EOS) + 1]
            elif len(ids) < allowance:
                ids += [9] * (allowance - len(ids))
            logps = [-float(number) for number in range(len(ids))]
            self._expected_of(trajectory).extend(
                (token, logp, self.iteration) for token, logp in zip(ids, logps, strict=True)
            )
            stop = stop_reason([*trajectory.ids_T, *ids], [EOS], LONGEST, None)
            self.buffer.extend(trajectory, ids, logps, self.iteration, stop)
            assert not limits.is_last_segment(trajectory, self.iteration) or len(trajectory.segments) <= last
        for trajectory, tokens in zip(before, tokens_before, strict=True):
            if last is None:
                assert trajectory.num_tokens - tokens <= budget
            elif len(trajectory.segments) >= last:
                assert trajectory.stop is not None
        self.iteration += 1

    def _expected_of(self, trajectory):
        for group, (_, rollouts) in zip(self.buffer.groups, self.expected, strict=True):
            for each, tokens in zip(group.trajectories, rollouts, strict=True):
                if each is trajectory:
                    return tokens
        raise AssertionError("a trajectory that was never started")

    @rule(number=st.integers(0, 4))
    def take(self, number):
        finished = [place for place, (_, rollouts) in enumerate(self.expected) if all(map(_has_ended, rollouts))]
        assert self.buffer.num_finished_groups == len(finished)
        taken = self.buffer.take(number)
        wanted = [self.expected[place] for place in finished[:number]]
        self.expected = [group for place, group in enumerate(self.expected) if place not in finished[:number]]
        assert [_content(group) for group in taken] == wanted
        self.taken += [group.problem for group in taken]

    @rule()
    def save_and_load(self):
        state = self.buffer.state_dict()
        self.buffer = RolloutBuffer(K, LONGEST)
        self.buffer.load_state_dict(state)

    @precondition(lambda self: self.buffer.groups)
    @invariant()
    def it_holds_what_was_put_in(self):
        assert [_content(group) for group in self.buffer.groups] == self.expected
        tokens = sum(len(rollout) for _, rollouts in self.expected for rollout in rollouts)
        assert self.buffer.nbytes == 8 * tokens
        assert self.buffer.metrics()["buffered_tokens"] == tokens

    @invariant()
    def each_problem_is_there_once(self):
        assert sorted([*self.taken, *(group.problem for group in self.buffer.groups)]) == list(range(self.problem))

    @invariant()
    def the_oldest_come_first(self):
        order = [group.problem for group in self.buffer.groups]
        assert order == sorted(order)
        assert self.buffer.problems_of_unfinished() == sorted(self.buffer.problems_of_unfinished())


def _has_ended(rollout):
    return bool(rollout) and (rollout[-1][0] == EOS or len(rollout) == LONGEST)


def _content(group):
    rollouts = []
    for each in group.trajectories:
        iterations = [written for written, tokens in each.segments for _ in range(tokens)]
        rollouts.append(list(zip(each.ids_T.tolist(), each.logps_T.tolist(), iterations, strict=True)))
    return group.problem, rollouts


TestBuffer = Buffer.TestCase
TestBuffer.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_token_takes_eight_bytes_in_memory_and_in_a_checkpoint():
    buffer = RolloutBuffer(2, 100_000)
    buffer.start([4])
    for trajectory in buffer.unfinished():
        buffer.extend(trajectory, np.arange(50_000), None, 0, None)
    state = buffer.state_dict()
    assert buffer.nbytes == state["ids"].nbytes + state["logps"].nbytes == 8 * 100_000
    assert np.isnan(state["logps"]).all()


def test_segments_name_the_iteration_that_wrote_them():
    buffer = RolloutBuffer(1, 10)
    buffer.start([0])
    (trajectory,) = buffer.unfinished()
    for iteration, ids in [(3, [1, 2]), (3, [3]), (5, [4]), (6, [])]:
        buffer.extend(trajectory, ids, None, iteration, None)
    assert trajectory.segments == [(3, 3), (5, 1)]
    assert [trajectory.tokens_of(iteration) for iteration in (3, 4, 5)] == [3, 0, 1]


def test_what_cannot_be_is_refused():
    buffer = RolloutBuffer(1, 3)
    buffer.start([0, 1])
    first, second = buffer.unfinished()
    buffer.extend(first, [1], None, 0, "eos")
    with pytest.raises(ValueError, match=r"has ended \(eos\) cannot go on"):
        buffer.extend(first, [1], None, 1, None)
    with pytest.raises(ValueError, match="of 4 tokens exceeds 3"):
        buffer.extend(second, [1, 2, 3, 4], None, 0, None)
    with pytest.raises(ValueError, match="2 tokens came with 1 log-probabilities"):
        buffer.extend(second, [1, 2], [0.0], 0, None)
    with pytest.raises(ValueError, match="saved rollouts have num_generations=1, the training 2; make them equal"):
        RolloutBuffer(2, 3).load_state_dict(buffer.state_dict())
    with pytest.raises(
        ValueError, match="saved rollouts have max_completion_length=3, the training 4; make them equal"
    ):
        RolloutBuffer(1, 4).load_state_dict(buffer.state_dict())


def test_budget():
    long = Trajectory(np.zeros(70, np.int32), np.zeros(70, np.float32), [(0, 30), (1, 30), (2, 10)])
    assert RolloutBudget(100).allowance(long, 3) == 30
    assert RolloutBudget(100, tokens=20).allowance(long, 3) == 20
    assert RolloutBudget(100, tokens=40).allowance(long, 3) == 30
    assert RolloutBudget(100, tokens=20, max_segments=5).allowance(long, 3) == 20
    assert RolloutBudget(100, tokens=20, max_segments=4).allowance(long, 3) == 30
    assert not RolloutBudget(100, max_segments=5).is_last_segment(long, 3)
    assert RolloutBudget(100, max_segments=4).is_last_segment(long, 3)
    # Another round of an iteration that the trajectory has a segment of already is no iteration more.
    assert RolloutBudget(100, tokens=20, max_segments=4).allowance(long, 2) == 20
    assert not RolloutBudget(100, max_segments=4).is_last_segment(long, 2)
    assert RolloutBudget(100, max_segments=3).is_last_segment(long, 2)
    assert RolloutBudget(100).pause_after(8) is None
    assert [RolloutBudget(100, pause_share=0.5).pause_after(number) for number in (1, 8, 9)] == [1, 4, 5]
    assert [RolloutBudget(100, pause_share=share).pause_after(100) for share in (0.29, 0.57, 0.07)] == [29, 57, 7]


def test_stop_reasons():
    rule = RepetitionRule(max_period=2, min_count=3)
    assert stop_reason([5, 6], [0], 4, rule) is None
    assert stop_reason([], [0], 4, rule) is None
    assert stop_reason([5, 0], [0], 4, rule) == "eos"
    assert stop_reason([5, 5, 5], [0], 4, rule) == "repetition"
    assert stop_reason([5, 5, 5], [0], 4, None) is None
    assert stop_reason([0, 1, 2, 3], [9], 4, rule) == "length"
    assert stop_reason([9, 1, 2, 9], [9], 4, rule) == "eos"
