"""A SampledGRPOTrainer whose responses may take several iterations (paper 2.6), and that outlives a vLLM server."""

from typing import Any

from torch import Tensor

from k15_plugins.generation.engines import generate_whole
from k15_plugins.generation.vllm_server import ServerLost
from k15_plugins.rollouts import Trajectory, repeated_period
from k15_plugins.trainers.fill import mask_of_last_tokens
from k15_plugins.trainers.iteration import Iteration
from k15_plugins.trainers.partial_rollouts import build_partial_rollouts
from k15_plugins.trainers.sampled_grpo import SampledGRPOTrainer
from k15_plugins.trainers.stopped import TrainingStopped


class PartialRolloutTrainer(SampledGRPOTrainer):
    """`SampledGRPOTrainer` with the rollout and repetition options of `MirrorDescentConfig`.

    TRL asks for prompts first and generates afterwards. Here an iteration generates first and then trains on the
    groups that are ready, so that `_generate_single_turn`, when TRL comes to it, hands out what is there already.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.repetition = self.args.repetition_rule()
        self.rollouts = build_partial_rollouts(self)

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train as `SampledGRPOTrainer.train`; the rollouts of a training before this one are not gone on with.

        Args:
            resume_from_checkpoint: As `SampledGRPOTrainer.train`.
            **kwargs: The same.
        """
        self.rollouts = build_partial_rollouts(self)
        return super().train(resume_from_checkpoint, **kwargs)

    def _rollouts_of(self, inputs: list, now: Iteration) -> dict[str, Any]:
        try:
            return super()._rollouts_of(inputs, now)
        except ServerLost as lost:
            raise self._end_of_training(lost) from lost

    def _end_of_training(self, lost: ServerLost) -> Exception:
        """Save a checkpoint, if there is a training to go on with, and return the error that ends it."""
        if not self.is_in_train:
            return lost
        assert self.rollouts is not None
        self._save_checkpoint(self.model, trial=None)
        return TrainingStopped(
            f"{lost}; the training, with {len(self.rollouts.buffer.unfinished())} unfinished rollouts, was saved "
            f"to {self.args.output_dir}/checkpoint-{self.state.global_step}: start the server and resume."
        )

    def _choose_problems(self, now: Iteration, number: int) -> list[int]:
        """Draw problems; or generate first, over several iterations, and take the problems that are ready."""
        if self.rollouts is None:
            return super()._choose_problems(now, number)
        now.groups = self.rollouts.collect(now, number)
        return [group.problem for group in now.groups]

    def _tokenize_prompts(self, prompts: list) -> Any:
        if self._now.groups is None or self._is_vlm:
            return super()._tokenize_prompts(prompts)
        assert self.rollouts is not None
        return self.rollouts.prompts(self._now, self._local_problems(self._now))

    def _generate_single_turn(
        self, prompt_ids: list, images: Any, multimodal_fields: dict, *args: Any, **kwargs: Any
    ) -> Any:
        """Generate, or hand out what was generated beforehand."""
        if self.rollouts is None:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)
        if self._now.groups is None:
            return generate_whole(self, prompt_ids, images, multimodal_fields, *args, **kwargs)
        local = self._local_trajectories(self._now)
        return [each.ids_T.tolist() for each in local], [each.logps_T.tolist() for each in local]

    def _local_trajectories(self, now: Iteration) -> list[Trajectory]:
        return now.trajectories()[self._local_share(len(now.problems_N))]

    def _mask_of_current_segments(self, now: Iteration, completion_mask_BT: Tensor) -> Tensor:
        tokens = [each.tokens_of(now.number) for each in self._local_trajectories(now)]
        return mask_of_last_tokens(completion_mask_BT, tokens)

    def _repeats(self, completion_ids_list: list[list[int]]) -> list[bool]:
        rule = self.repetition
        if rule is None:
            return super()._repeats(completion_ids_list)
        # An end-of-sequence token repeats nothing: it is the first of its response.
        return [repeated_period(ids, rule) is not None for ids in completion_ids_list]

    def _state_dict(self) -> dict[str, Any]:
        rollouts = None if self.rollouts is None else self.rollouts.state_dict()
        return {**super()._state_dict(), "partial_rollouts": rollouts}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        saved = state["partial_rollouts"]  # None without any of the options then
        if self.rollouts is not None and saved is not None:
            self.rollouts.load_state_dict(saved)
        elif saved is not None and saved["buffer"]["problems"]:
            raise ValueError(
                f"the checkpoint holds {len(saved['buffer']['problems'])} groups of rollouts that are not trained on "
                "yet, and the training has no option for them; set rollout_budget_tokens, rollout_pause_share or "
                "repetition_max_period."
            )
