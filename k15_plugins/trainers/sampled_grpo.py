"""A GRPOTrainer whose problems are chosen by a sampler that sees the rewards, and that resumes exactly."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import gather, send_to_device
from datasets import IterableDataset
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import IterableDataset as TorchIterableDataset
from transformers.trainer_utils import rotate_checkpoints
from trl import GRPOConfig, GRPOTrainer

from k15_plugins.generation.engines import prepare_vllm
from k15_plugins.generation.vllm_server import check_context
from k15_plugins.models.unknown_tokens import warn_of_unreadable_prompts
from k15_plugins.sampling import ProblemSampler, UniformSampler
from k15_plugins.trainers.checkpoint import (
    begin_checkpoint,
    check_checkpoint,
    latest_checkpoint,
    state_file,
    write_manifest,
)
from k15_plugins.trainers.checks import (
    check_before,
    check_chat_template,
    check_final_reward,
    check_sampler,
    names_apart,
)
from k15_plugins.trainers.final_reward import FinalRewardRange
from k15_plugins.trainers.reward_calls import RewardCalls
from k15_plugins.trainers.stopped import TrainingStopped
from k15_plugins.trainers.update_guard import UpdateGuard


@dataclass
class ScoredRollouts:
    """Verdicts on the rollouts of one call of generation, of all processes (N rollouts, F reward functions)."""

    rewards_NF: Tensor
    correct_N: Tensor
    scorable_N: Tensor
    lengths_N: Tensor
    truncated_N: Tensor
    advantages_N: Tensor = field(default_factory=lambda: torch.empty(0))


class SampledGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` whose problems are drawn by a sampler of `k15_plugins.sampling` (paper 2.3.4).

    TRL's loader is kept as a clock only. When an iteration begins, the sampler draws its problems, having seen the
    final answers of all iterations before; afterwards it observes how many rollouts of each problem were right. All
    processes hold an equal sampler and see the gathered verdicts, so all draw the same. The sampler, the rollouts of
    an unfinished iteration and the place in it are part of every checkpoint: training goes on bit by bit on the CPU.

    Callbacks with a method `on_rollouts(trainer, rollouts)` are given the rollouts of each iteration on the main
    process, a list of dicts; those with a method `on_held_out(trainer, rollouts)` the main process's own rollouts of
    each batch of an evaluation, with the data set's columns `answer` and `level` where it has them.

    A reward that is not finite, NaN included, is told in a warning and counted in `k15/non_finite_rewards`; its row
    has no verdict, as if all functions had returned None.
    An update whose loss or gradient norm is not finite is skipped and noted as 1 in `k15/skipped_updates`; three in a
    row end the training, with a checkpoint (DeepSpeed and fp16, which skip such updates themselves, aside).

    Args:
        *args: As `GRPOTrainer`.
        sampler: Draws the problems, as indices into `train_dataset`. Defaults to a `UniformSampler` with `args.seed`;
            an `IterableDataset` keeps TRL's order.
        final_reward: Name of the reward function that tells whether the final answer is right. Defaults to the first.
        final_reward_threshold: Final rewards from here on count as right. A warning says so once if it has told none
            apart and they are not 0 and 1.
        **kwargs: As `GRPOTrainer`. Of several reward functions with one name, the second is logged as `name_2`.

    Raises:
        ValueError: If the data set has no problems that can be trained on, a reward function cannot be called as TRL
            calls it, the sampler does not fit the data set, `final_reward` names no reward function, or the model has
            no name where it is loaded again by its name.
    """

    # TRL leaves these to inference, which finds them optional.
    args: Any
    model: Any
    optimizer: Any
    reward_funcs: Any
    reward_processing_classes: Any
    num_generations: Any
    num_generations_eval: Any
    train_dataset: Any
    _buffered_inputs: Any

    def __init__(
        self,
        *args: Any,
        sampler: ProblemSampler | None = None,
        final_reward: str | None = None,
        final_reward_threshold: float = 0.5,
        **kwargs: Any,
    ):
        given = inspect.signature(GRPOTrainer.__init__).bind_partial(self, *args, **kwargs).arguments
        if not isinstance(given.get("args"), GRPOConfig | None):
            raise ValueError(f"args must be a GRPOConfig, got {given['args']!r:.100}; give GRPOConfig(output_dir).")
        check_before(given, sampler, final_reward)
        if given.get("args") is not None:
            prepare_vllm(given["model"], given["args"])
        super().__init__(*args, **kwargs)
        if self.args.save_only_model and self.args.save_strategy != "no":
            raise ValueError("save_only_model=True leaves checkpoints that cannot be resumed from; leave it out.")
        # An environment may have added rewards, and the model's name may have given the tokenizer.
        names = self.reward_func_names
        check_final_reward(names, final_reward)
        check_chat_template(self.train_dataset, "train_dataset", self.processing_class)
        self.reward_func_names = names_apart(names)
        self._final_reward_index = 0 if final_reward is None else names.index(final_reward)
        self._final_reward_threshold = final_reward_threshold
        self.sampler: Any = self._fitting_sampler(sampler)
        self._fails_truncated = False
        self._problems_N: list[int] = []
        self._refill = 0
        self._lengths_tokens: list[int] = []
        self._scored: ScoredRollouts
        self._running_loss: tuple[float, int] | None = None
        self._resumed_at: int | None = None
        self._guard = UpdateGuard()
        self._reward_calls = RewardCalls()
        self._final_range = FinalRewardRange(self.reward_func_names[self._final_reward_index], final_reward_threshold)
        warn_of_unreadable_prompts(self)
        if self.args.use_vllm and self.args.vllm_mode == "server":
            check_context(self)

    def _fitting_sampler(self, sampler: ProblemSampler | None) -> ProblemSampler | None:
        check_sampler(sampler, self.train_dataset, self.args)
        if sampler is None and not isinstance(self.train_dataset, IterableDataset):
            return UniformSampler(len(self.train_dataset), seed=self.args.seed)
        return sampler

    @property
    def micro_steps_per_iteration(self) -> int:
        """Micro-steps (forward and backward passes) on the rollouts of one iteration."""
        return self.args.steps_per_generation * self.num_iterations

    @property
    def iteration(self) -> int:
        """The current iteration, from 0."""
        return self._step // self.micro_steps_per_iteration

    def get_train_dataloader(self) -> DataLoader:
        """Return a loader of numbers that only sets the pace; the sampler chooses the rows."""
        if self.sampler is None:
            return super().get_train_dataloader()
        problems = self.args.generation_batch_size // self.num_generations
        ticks = -(-len(self.train_dataset) // problems) * problems
        return self._get_dataloader(
            dataset=range(ticks),  # type: ignore[arg-type]
            description="Training",
            batch_size=self._train_batch_size * self.args.steps_per_generation,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        if self.sampler is not None:
            inputs = self._draw_rows(len(inputs))
        output = super()._generate_and_score_completions(inputs)
        self._set_advantages(output)
        self._observe()
        self._tell_callbacks()
        return output

    def _draw_rows(self, num_local_rows: int) -> list[dict[str, Any]]:
        """Draw the problems of all processes and return this process's rows."""
        number = num_local_rows * self.accelerator.num_processes // self.num_generations
        problems = self.sampler.draw(number, refill=self._refill > 0)
        return self._rows_of([int(problem) for problem in problems])

    def _rows_of(self, problems: list[int]) -> list[dict[str, Any]]:
        """Return this process's share of the rollouts of some problems, a fresh dict for each rollout."""
        self._problems_N = [problem for problem in problems for _ in range(self.num_generations)]
        local = self._problems_N[self._local_share(len(self._problems_N))]
        rows = {problem: self.train_dataset[problem] for problem in set(local)}
        return [dict(rows[problem]) for problem in local]

    def _local_share(self, number: int) -> slice:
        """Return where this process's rows stand among those of all processes."""
        share = number // self.accelerator.num_processes
        return slice(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)

    def _generate(self, prompts: list) -> tuple:
        generated = super()._generate(prompts)
        completion_ids, mask = generated[1], generated[2]
        # The tokens of tools and environments are not the model's own; without any there is no mask.
        self._lengths_tokens = [len(ids) for ids in completion_ids] if mask is None else [sum(row) for row in mask]
        return generated

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        rewards_NF = self._rewards_without_verdict_where_not_finite(inputs, prompts, completions, completion_ids_list)
        # A padding token is no end: a response that breaks off after one was cut off like any other.
        truncated = [ids[-1] not in self.eos_token_ids for ids in completion_ids_list]
        local = list(zip(self._lengths_tokens, truncated, strict=True))
        lengths_N, truncated_N = gather(torch.tensor(local, device=rewards_NF.device)).unbind(dim=1)
        truncated_N = truncated_N.bool()
        final_N = rewards_NF[:, self._final_reward_index]
        if self.model.training and self.accelerator.is_main_process:
            self._final_range.see(final_N)
        if self._fails_truncated:
            final_N[truncated_N] = final_N[truncated_N].clamp(max=0.0)
        self._scored = ScoredRollouts(
            rewards_NF=rewards_NF,
            correct_N=final_N >= self._final_reward_threshold,
            scorable_N=~final_N.isnan(),
            lengths_N=lengths_N,
            truncated_N=truncated_N,
        )
        self._log_accuracy()
        if not self.model.training:
            self._tell_callbacks_of_held_out(inputs, prompts, completions)
        return rewards_NF

    def _rewards_without_verdict_where_not_finite(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        own, names, calls = self.reward_funcs, self.reward_func_names, self._reward_calls
        is_drawn = self.model.training and self.sampler is not None
        problems = self._problems_N[self._local_share(len(self._problems_N))] if is_drawn else None
        self.reward_funcs = calls.watched(own, names, problems)
        try:
            rewards_NF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        finally:
            self.reward_funcs = own
        mine_NF = rewards_NF[self._local_share(len(rewards_NF))]
        for column, (function, name) in enumerate(zip(own, names, strict=True)):
            if isinstance(function, torch.nn.Module):
                calls.see_model(mine_NF[:, column].tolist(), name, prompts, completions)
        not_finite_N = gather(calls.not_finite(len(prompts)).to(rewards_NF.device))
        rewards_NF[not_finite_N] = torch.nan
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["k15/non_finite_rewards"].append(not_finite_N.sum().item())
        return rewards_NF

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Train as `GRPOTrainer.training_step`, and note the loss, which must be finite for the update to be made.

        Args:
            model: As `GRPOTrainer.training_step`.
            inputs: The same.
            num_items_in_batch: The same.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._guard.see_loss(loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        # The last call of transformers before the optimizer's step, in any case.
        norm = self._norm_of_gradients(model, grad_norm)
        if self.is_deepspeed_enabled or self.accelerator.scaler is not None:
            return norm
        is_allowed = self._guard.allows(norm, self.state.global_step)
        self._metrics["train"]["k15/skipped_updates"].append(float(not is_allowed))
        if not is_allowed:
            self._drop_gradients(model)
            if self._guard.last_words is not None:
                self.control.should_save = self.control.should_training_stop = True
        return norm

    def _norm_of_gradients(self, model: Any, grad_norm: Any) -> Any:
        return super()._get_grad_norm(model, grad_norm)

    def _drop_gradients(self, model: Any) -> None:
        """Let the optimizer's next step do nothing: optimizers of torch pass over parameters without a gradient."""
        model.zero_grad(set_to_none=True)

    def _log_accuracy(self) -> None:
        """Note each verdict by itself, so that TRL's mean is the one over all rollouts and not one over batches.

        It leaves out NaN, which stands for a rollout without a verdict.
        """
        scored = self._scored
        verdicts = torch.where(scored.scorable_N, scored.correct_N.float(), torch.nan).tolist()
        if self.model.training:
            self._metrics["train"]["k15/accuracy"] += verdicts
            return
        noted = self._metrics["eval"]["k15/accuracy"]
        loader: Any = self.callback_handler.eval_dataloader
        if not isinstance(loader.dataset, IterableDataset | TorchIterableDataset):
            # The loaders of several processes fill up their last batches with problems that they have had before.
            verdicts = verdicts[: len(loader.dataset) * self.num_generations_eval - len(noted)]
        noted += verdicts

    def _set_advantages(self, output: dict[str, Any]) -> None:
        """Note the advantages of all processes; a subclass with another objective sets its own in `output`."""
        self._scored.advantages_N = gather(output["advantages"])

    def _observe(self) -> None:
        if self.sampler is None:
            return
        k = self.num_generations
        right_G = (self._scored.correct_N & self._scored.scorable_N).view(-1, k).sum(dim=1)
        rollouts_G = self._scored.scorable_N.view(-1, k).sum(dim=1)
        self.sampler.observe(self._problems_N[::k], right_G.tolist(), rollouts_G.tolist())
        for name, value in self.sampler.metrics().items():
            self._metrics["train"][f"sampler/{name}"].append(value)

    def _tell_callbacks(self) -> None:
        listeners = [each for each in self.callback_handler.callbacks if hasattr(each, "on_rollouts")]
        if not listeners or not self.accelerator.is_main_process:
            return
        scored, number = self._scored, len(self._scored.correct_N)
        weighted_NF = scored.rewards_NF * self.reward_weights.to(scored.rewards_NF.device)
        columns = {
            "problem": self._problems_N if self.sampler is not None else [None] * number,
            "prompt": list(self._logs["prompt"])[-number:],
            "response": list(self._logs["completion"])[-number:],
            "tokens": scored.lengths_N.tolist(),
            "right": scored.correct_N.tolist(),
            "truncated": scored.truncated_N.tolist(),
            "reward": weighted_NF.nansum(dim=1).tolist(),
            "advantage": scored.advantages_N.tolist(),
            "rewards": [dict(zip(self.reward_func_names, row, strict=True)) for row in scored.rewards_NF.tolist()],
            **self._columns_of_rollouts(),
        }
        place = {"iteration": self.iteration, "step": self.state.global_step}
        rollouts = [place | dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        for listener in listeners:
            listener.on_rollouts(self, rollouts)

    def _tell_callbacks_of_held_out(self, inputs: list, prompts: list, completions: list) -> None:
        listeners = [each for each in self.callback_handler.callbacks if hasattr(each, "on_held_out")]
        if not listeners or not self.accelerator.is_main_process:
            return
        scored = self._scored
        # The main process's rows come first in what was gathered.
        columns = {
            "prompt": prompts,
            "response": completions,
            "tokens": scored.lengths_N.tolist(),
            "right": scored.correct_N.tolist(),
            "truncated": scored.truncated_N.tolist(),
        }
        rollouts = [
            {name: values[row] for name, values in columns.items()}
            | {name: inputs[row][name] for name in ("answer", "level") if name in inputs[row]}
            for row in range(len(inputs))
        ]
        for listener in listeners:
            listener.on_held_out(self, rollouts)

    def _columns_of_rollouts(self) -> dict[str, list[Any]]:
        """Columns that a subclass adds to what callbacks are told of the rollouts of all processes."""
        return {}

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train as `GRPOTrainer.train`; an unusable checkpoint is refused before anything is loaded from it.

        From the checkpoint of a complete training, everything is loaded and nothing is trained or logged.

        Args:
            resume_from_checkpoint: Folder of a checkpoint, or True for the newest complete one in `args.output_dir`.
            **kwargs: As `transformers.Trainer.train`.

        Raises:
            ValueError: If the checkpoint is missing, foreign, truncated, or was made with another layout.
            TrainingStopped: After three updates in a row that were not finite.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = latest_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(f"output_dir={self.args.output_dir} holds no complete checkpoint to resume from.")
        if resume_from_checkpoint:
            resume_from_checkpoint = str(resume_from_checkpoint)
            check_checkpoint(resume_from_checkpoint, self._layout())
        # Of a training before this one.
        self._step, self._buffered_inputs, self._resumed_at = 0, None, None
        self._guard = UpdateGuard()
        output = super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        if self._guard.last_words is not None:
            raise TrainingStopped(self._guard.last_words)
        return output

    def _run_epoch(self, **kwargs: Any) -> None:  # type: ignore[override]
        if self._running_loss is not None:
            # transformers clears its sums when it begins; they count the updates since the last log.
            loss, self._globalstep_last_logged = self._running_loss
            self._tr_loss = torch.tensor(loss, device=self.args.device)
            # The mean loss that it tells at the end is about the updates of this call alone.
            self._total_loss_scalar = -gather(self._tr_loss).mean().item()
            self._running_loss = None
        # It looks at max_steps only after an update.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as `GRPOTrainer.log`, but not the sum of a training that had nothing left to do."""
        if "train_runtime" in logs and self.state.global_step == self._resumed_at:
            return
        super().log(logs, start_time)

    def _layout(self) -> dict[str, Any]:
        return {
            "trainer": type(self).__name__,
            "processes": self.accelerator.num_processes,
            "per_device_train_batch_size": self._train_batch_size,
            "gradient_accumulation_steps": self.args.gradient_accumulation_steps,
            "steps_per_generation": self.args.steps_per_generation,
            "num_iterations": self.num_iterations,
            "num_generations": self.num_generations,
            "seed": self.args.seed,
        }

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = f"{self._get_output_dir(trial=trial)}/checkpoint-{self.state.global_step}"
        if self.args.should_save:
            begin_checkpoint(folder)
        # One older checkpoint more than wanted stays until this one is complete.
        limit = self.args.save_total_limit
        self.args.save_total_limit = limit + 1 if limit else limit
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        torch.save(self._state_dict(), state_file(folder, self.accelerator.process_index))
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            write_manifest(folder, self._layout())
            rotate_checkpoints(
                output_dir=self._get_output_dir(trial=trial),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )

    def _state_dict(self) -> dict[str, Any]:
        """Return what the rest of the training depends on beside what transformers saves."""
        in_iteration = self._step % self.micro_steps_per_iteration != 0
        return {
            "step": self._step,
            "rollouts": self._buffered_inputs if in_iteration else None,
            "running_loss": (self._tr_loss.item(), self._globalstep_last_logged),
            "metrics": {name: list(values) for name, values in self._metrics["train"].items()},
            "sampler": self.sampler.state_dict() if self.sampler is not None else None,
            "skipped_in_a_row": self._guard.in_a_row,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `_state_dict` returned."""
        self._step = state["step"]
        self._buffered_inputs = send_to_device(state["rollouts"], self.accelerator.device)
        self._running_loss = state["running_loss"]
        self._guard.in_a_row = state["skipped_in_a_row"]
        self._resumed_at = self.state.global_step
        for name, values in state["metrics"].items():
            self._metrics["train"][name] = values
        if self.sampler is not None:
            self.sampler.load_state_dict(state["sampler"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = state_file(checkpoint, self.accelerator.process_index)
        # torch knows no place "cpu:0", which is what accelerate calls the device of a process without an accelerator.
        state = torch.load(path, map_location="cpu", weights_only=False)
        self._load_state_dict(state)
