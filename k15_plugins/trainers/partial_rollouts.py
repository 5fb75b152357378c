"""A trainer's rollouts over several iterations: which trajectories go on, which groups are ready (paper 2.6)."""

from typing import Any

from accelerate.utils import gather_object
from trl.data_utils import prepare_multimodal_messages

from k15_plugins.generation.engines import generate_segments
from k15_plugins.generation.segments import SegmentRequest
from k15_plugins.rollouts import Group, RepetitionRule, RolloutBudget, RolloutBuffer, Trajectory, stop_reason


class PartialRollouts:
    """Generates the rollouts of a trainer, segment by segment.

    An iteration draws new problems, then gives every unfinished trajectory one segment under the current policy, those
    of the oldest groups first, and hands out the groups whose k responses have all ended. The buffer is the same on
    all processes: each process generates its share of the trajectories, and all take in the segments of all.

    Args:
        trainer: A `MirrorDescentTrainer`.
        budget: How far a trajectory may go in one iteration.
        pool_groups: Groups that are to be in the buffer when an iteration generates; None starts as many groups as an
            iteration trains on, less those that are ready already.
        repetition: Stops a response that repeats itself; None never does.
    """

    def __init__(
        self, trainer: Any, budget: RolloutBudget, pool_groups: int | None, repetition: RepetitionRule | None
    ):
        self.trainer = trainer
        self.budget = budget
        self.pool_groups = pool_groups
        self.repetition = repetition
        self.buffer = RolloutBuffer(trainer.num_generations, budget.max_tokens)
        self.started_in = -1  # iteration whose problems have been drawn

    def collect(self, number: int, refill: bool = False) -> list[Group]:
        """Generate, and return the groups that are ready for training.

        Where not even one group for each process is ready, all trajectories get another segment under the same
        policy: an iteration always trains on something.

        Args:
            number: At most so many groups; others that are ready wait for the next iteration.
            refill: Draw `number` more problems for the current iteration.
        """
        iteration = self.trainer.iteration
        if refill or self.started_in != iteration:
            self._start(number, refill)
            self.started_in = iteration
        rounds = 0
        while True:
            self._advance(iteration)
            rounds += 1
            ready = self._number_to_take(number)
            if ready:
                taken = self.buffer.take(ready)
                self._log(ready / number, rounds)
                return taken

    def _start(self, number: int, refill: bool) -> None:
        held = self.buffer.num_finished_groups if self.pool_groups is None else len(self.buffer.groups)
        wanted = (number if self.pool_groups is None else self.pool_groups) - held
        new = number if refill else max(0, wanted)
        self.buffer.start([int(problem) for problem in self.trainer.sampler.draw(new, refill=refill)])

    def _number_to_take(self, number: int) -> int:
        """The most groups whose rollouts can be shared evenly among the processes, as TRL's gathering needs it."""
        processes = self.trainer.accelerator.num_processes
        ready = min(number, self.buffer.num_finished_groups)
        while ready * self.buffer.num_generations % processes:
            ready -= 1
        return ready

    def _advance(self, iteration: int) -> None:
        unfinished = self.buffer.unfinished()
        if not unfinished:
            return
        accelerator = self.trainer.accelerator
        mine = list(range(accelerator.process_index, len(unfinished), accelerator.num_processes))
        # A process without a share of its own takes part in what sharded models do together.
        places = mine or [0]
        problems = self.buffer.problems_of_unfinished()
        segments = generate_segments(
            self.trainer, self._request([unfinished[place] for place in places], [problems[place] for place in places])
        )
        found = [(place, segment) for place, segment in zip(places, segments, strict=True) if mine]
        for place, segment in sorted(gather_object(found), key=lambda each: each[0]):
            trajectory = unfinished[place]
            ids = [*trajectory.ids_T.tolist(), *segment.ids]
            stop = stop_reason(ids, self.trainer.eos_token_ids, self.budget.max_tokens, self.repetition)
            if stop is None and segment.is_ended:
                stop = "length"  # as TRL has it: no end-of-sequence token
            self.buffer.extend(trajectory, segment.ids, segment.logps, iteration, stop)

    def _request(self, trajectories: list[Trajectory], problems: list[int]) -> SegmentRequest:
        rows = {problem: self.trainer.train_dataset[problem] for problem in set(problems)}
        prompt_ids, images, multimodal_fields = self.trainer._tokenize_prompts(
            [_prompt_with_images(rows[problem]) for problem in problems]
        )
        iteration, longest = self.trainer.iteration, self.budget.max_tokens
        allowances = [self.budget.allowance(trajectory, iteration) for trajectory in trajectories]
        return SegmentRequest(
            prompt_ids=prompt_ids,
            started=[trajectory.ids_T for trajectory in trajectories],
            images=images,
            multimodal_fields=multimodal_fields,
            allowances=allowances,
            must_end=[self.budget.is_last_segment(trajectory, iteration) for trajectory in trajectories],
            ends_at_allowance=[
                trajectory.num_tokens + allowance == longest
                for trajectory, allowance in zip(trajectories, allowances, strict=True)
            ],
            pause_after=self.budget.pause_after(len(trajectories)),
            repetition=self.repetition,
        )

    def _log(self, fill: float, rounds: int) -> None:
        figures = {**self.buffer.metrics(), "batch_fill": fill, "rounds": float(rounds)}
        for name, value in figures.items():
            self.trainer._metrics["train"][f"rollouts/{name}"].append(value)

    def state_dict(self) -> dict[str, Any]:
        """A copy of what the next iterations depend on."""
        return {"started_in": self.started_in, "buffer": self.buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` returned.

        Raises:
            ValueError: If it does not fit the trainer's settings.
        """
        self.buffer.load_state_dict(state["buffer"])
        self.started_in = state["started_in"]


def _prompt_with_images(row: dict[str, Any]) -> Any:
    images = row.get("images") or ([row["image"]] if row.get("image") is not None else None)
    return row["prompt"] if images is None else prepare_multimodal_messages(row["prompt"], images=images)
