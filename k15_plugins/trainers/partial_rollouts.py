"""A trainer's rollouts over several iterations: which trajectories go on, which groups are ready (paper 2.6)."""

from typing import Any

from accelerate.utils import gather_object
from trl import GRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from k15_plugins.generation.engines import generate_segments
from k15_plugins.generation.segments import SegmentRequest
from k15_plugins.rollouts import Group, RepetitionRule, RolloutBudget, RolloutBuffer, Trajectory, stop_reason
from k15_plugins.trainers.iteration import Iteration


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

    def collect(self, now: Iteration, number: int) -> list[Group]:
        """Generate, and return the groups that are ready for training.

        Where not even one group for each process is ready, all trajectories get another segment under the same
        policy: an iteration always trains on something.

        Args:
            now: The record of the iteration; takes rows and prompts. A refill draws `number` more problems.
            number: At most so many groups; others that are ready wait for the next iteration.
        """
        if now.refill or self.started_in != now.number:
            self._start(number, now.refill > 0)
            self.started_in = now.number
        rounds = 0
        while True:
            self._advance(now)
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

    def _advance(self, now: Iteration) -> None:
        unfinished = self.buffer.unfinished()
        if not unfinished:
            return
        accelerator = self.trainer.accelerator
        mine = list(range(accelerator.process_index, len(unfinished), accelerator.num_processes))
        # A process without a share of its own takes part in what sharded models do together.
        places = mine or [0]
        problems = self.buffer.problems_of_unfinished()
        segments = generate_segments(
            self.trainer,
            self._request(now, [unfinished[place] for place in places], [problems[place] for place in places]),
        )
        found = [(place, segment) for place, segment in zip(places, segments, strict=True) if mine]
        for place, segment in sorted(gather_object(found), key=lambda each: each[0]):
            trajectory = unfinished[place]
            ids = [*trajectory.ids_T.tolist(), *segment.ids]
            stop = stop_reason(ids, self.trainer.eos_token_ids, self.budget.max_tokens, self.repetition)
            if stop is None and segment.is_ended:
                stop = "length"  # as TRL has it: no end-of-sequence token
            self.buffer.extend(trajectory, segment.ids, segment.logps, now.number, stop)

    def _request(self, now: Iteration, trajectories: list[Trajectory], problems: list[int]) -> SegmentRequest:
        prompt_ids, images, multimodal_fields = self.prompts(now, problems)
        iteration, longest = now.number, self.budget.max_tokens
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

    def prompts(self, now: Iteration, problems: list[int]) -> tuple[list[list[int]], Any, dict[str, Any]]:
        """Return the prompts of problems as TRL's `_tokenize_prompts` does; text is read and tokenized once.

        Args:
            now: The record of the iteration, which keeps rows and tokens.
            problems: Rows of the data set.
        """
        data = self.trainer.train_dataset
        if self.trainer._is_vlm:
            return self._tokenize([_prompt_with_images(now.row(problem, data)) for problem in problems])
        new = sorted(set(problems) - now.prompt_ids.keys())
        if new:
            ids, _, _ = self._tokenize([now.row(problem, data)["prompt"] for problem in new])
            now.prompt_ids |= dict(zip(new, ids, strict=True))
        return [now.prompt_ids[problem] for problem in problems], None, {}

    def _tokenize(self, prompts: list) -> Any:
        return GRPOTrainer._tokenize_prompts(self.trainer, prompts)

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


def build_partial_rollouts(trainer: Any) -> PartialRollouts | None:
    """Return what generates a trainer's rollouts over several iterations, or None where TRL generates them.

    Args:
        trainer: A `MirrorDescentTrainer`.

    Raises:
        ValueError: If the trainer has options for such rollouts, and its data or another option rule them out.
    """
    args = trainer.args
    foreign = trainer.tools or trainer.rollout_func is not None or args.use_transformers_continuous_batching
    if not args.has_partial_rollouts and trainer.repetition is None:
        # A server is watched in any case, so that its loss loses no rollouts.
        is_served = args.use_vllm and args.vllm_mode == "server"
        if not is_served or trainer.sampler is None or foreign:
            return None
    if trainer.sampler is None or foreign:
        raise ValueError(
            "rollout_budget_tokens, rollout_pause_share and repetition_max_period need a train_dataset with a "
            "length, and no tools, rollout_func or use_transformers_continuous_batching; leave them out."
        )
    budget = RolloutBudget(
        max_tokens=args.max_completion_length,
        tokens=args.rollout_budget_tokens,
        pause_share=args.rollout_pause_share,
        max_segments=args.max_rollout_segments,
    )
    return PartialRollouts(trainer, budget, args.rollout_pool_groups, trainer.repetition)


def _prompt_with_images(row: dict[str, Any]) -> Any:
    images = row.get("images") or ([row["image"]] if row.get("image") is not None else None)
    return row["prompt"] if images is None else prepare_multimodal_messages(row["prompt"], images=images)
