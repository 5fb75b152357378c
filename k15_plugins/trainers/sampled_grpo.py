"""A GRPOTrainer whose problems are chosen by a sampler that sees which answers were right.

One iteration, in the order of the calls (TRL's hooks in brackets, ours below them):

    [GRPOTrainer._prepare_inputs]                  when the rollouts of the last iteration are used up
      [_generate_and_score_completions]            Iteration(number)
        _choose_problems                           sampler.draw -> problems_N, rows
        [GRPOTrainer's own]
          [_tokenize_prompts], [_generate_single_turn]
          [_generate]                              lengths_tokens
          [_calculate_rewards]                     reward functions -> verdicts
        _set_advantages                            advantages_N
        _observe                                   sampler.observe
        tell_of_rollouts                           callbacks
    [_compute_loss] ...                            for each micro-batch of the iteration

The record `Iteration` is made at the beginning and handed on; where TRL calls a hook without it, it is `self._now`.
"""

import inspect
from typing import Any

import torch
from accelerate.utils import gather
from datasets import IterableDataset
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import IterableDataset as TorchIterableDataset
from trl import GRPOConfig, GRPOTrainer

from k15_plugins.generation.engines import prepare_vllm
from k15_plugins.generation.vllm_server import check_context
from k15_plugins.models.unknown_tokens import warn_of_unreadable_prompts
from k15_plugins.sampling import ProblemSampler, UniformSampler
from k15_plugins.trainers.checks import check_before
from k15_plugins.trainers.data_checks import check_chat_template, check_sampler
from k15_plugins.trainers.final_reward import FinalRewardRange
from k15_plugins.trainers.iteration import Iteration, Verdicts
from k15_plugins.trainers.listeners import tell_of_held_out, tell_of_rollouts
from k15_plugins.trainers.resumable import ResumableGRPOTrainer
from k15_plugins.trainers.reward_calls import RewardCalls
from k15_plugins.trainers.reward_checks import check_final_reward, names_apart


class SampledGRPOTrainer(ResumableGRPOTrainer):
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
        # An environment may have added rewards, and the model's name may have given the tokenizer.
        names = self.reward_func_names
        check_final_reward(names, final_reward)
        check_chat_template(self.train_dataset, "train_dataset", self.processing_class)
        self.reward_func_names = names_apart(names)
        self._final_reward_index = 0 if final_reward is None else names.index(final_reward)
        self._final_reward_threshold = final_reward_threshold
        self.sampler: Any = self._fitting_sampler(sampler)
        self._fails_truncated = False
        self._now = Iteration(0)
        self._reward_calls = RewardCalls(getattr(self.args, "process_reward", None))
        self._final_range = FinalRewardRange(self.reward_func_names[self._final_reward_index], final_reward_threshold)
        warn_of_unreadable_prompts(self)
        if self.args.use_vllm and self.args.vllm_mode == "server":
            check_context(self)

    def _fitting_sampler(self, sampler: ProblemSampler | None) -> ProblemSampler | None:
        check_sampler(sampler, self.train_dataset, self.args)
        if sampler is None and not isinstance(self.train_dataset, IterableDataset):
            return UniformSampler(len(self.train_dataset), seed=self.args.seed)
        return sampler

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
        return self._rollouts_of(inputs, Iteration(self.iteration))

    def _rollouts_of(self, inputs: list, now: Iteration) -> dict[str, Any]:
        """Return a batch of rollouts; TRL's method, which has no argument for the record, calls the hooks below."""
        self._now = now
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        if self.sampler is not None:
            number = len(inputs) * self.accelerator.num_processes // self.num_generations
            inputs = self._rows_of(self._choose_problems(now, number), now)
        output = super()._generate_and_score_completions(inputs)
        self._set_advantages(now, output)
        self._observe(now)
        tell_of_rollouts(self, now)
        return output

    def _choose_problems(self, now: Iteration, number: int) -> list[int]:
        """Return the problems of all processes."""
        return [int(problem) for problem in self.sampler.draw(number, refill=now.refill > 0)]

    def _rows_of(self, problems: list[int], now: Iteration) -> list[dict[str, Any]]:
        """Return this process's share of the rollouts of some problems, a fresh dict for each rollout."""
        now.problems_N = [problem for problem in problems for _ in range(self.num_generations)]
        return [dict(now.row(problem, self.train_dataset)) for problem in self._local_problems(now)]

    def _local_problems(self, now: Iteration) -> list[int]:
        return now.problems_N[self._local_share(len(now.problems_N))]

    def _local_share(self, number: int) -> slice:
        """Return where this process's rows stand among those of all processes."""
        share = number // self.accelerator.num_processes
        return slice(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)

    def _generate(self, prompts: list) -> tuple:
        generated = super()._generate(prompts)
        completion_ids, mask = generated[1], generated[2]
        # The tokens of tools and environments are not the model's own; without any there is no mask.
        self._now.lengths_tokens = [len(ids) for ids in completion_ids] if mask is None else [sum(row) for row in mask]
        return generated

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        rewards_NF = self._rewards_without_verdict_where_not_finite(inputs, prompts, completions, completion_ids_list)
        # A padding token is no end: a response that breaks off after one was cut off like any other.
        truncated = [ids[-1] not in self.eos_token_ids for ids in completion_ids_list]
        repeats = self._repeats(completion_ids_list)
        local = list(zip(self._now.lengths_tokens, truncated, repeats, strict=True))
        lengths_N, truncated_N, repeats_N = gather(torch.tensor(local, device=rewards_NF.device)).unbind(dim=1)
        truncated_N = truncated_N.bool()
        final_N = rewards_NF[:, self._final_reward_index]
        if self.model.training and self.accelerator.is_main_process:
            self._final_range.see(final_N)
        if self._fails_truncated:
            final_N[truncated_N] = final_N[truncated_N].clamp(max=0.0)
        self._now.verdicts = Verdicts(
            rewards_NF=rewards_NF,
            correct_N=final_N >= self._final_reward_threshold,
            scorable_N=~final_N.isnan(),
            lengths_N=lengths_N,
            truncated_N=truncated_N,
            repeats_N=repeats_N.bool(),
        )
        self._log_accuracy()
        if not self.model.training:
            tell_of_held_out(self, self._now, inputs, prompts, completions)
        return rewards_NF

    def _rewards_without_verdict_where_not_finite(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        own, names, calls = self.reward_funcs, self.reward_func_names, self._reward_calls
        is_drawn = self.model.training and self.sampler is not None
        problems = self._local_problems(self._now) if is_drawn else None
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

    def _repeats(self, completion_ids_list: list[list[int]]) -> list[bool]:
        """Tell of this process's responses which ones repeat themselves at their end; a subclass has a rule for it."""
        return [False] * len(completion_ids_list)

    def _log_accuracy(self) -> None:
        """Note each verdict by itself, so that TRL's mean is the one over all rollouts and not one over batches.

        It leaves out NaN, which stands for a rollout without a verdict.
        """
        scored = self._now.verdicts
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

    def _set_advantages(self, now: Iteration, output: dict[str, Any]) -> None:
        """Note the advantages of all processes; a subclass with another objective sets its own in `output`."""
        now.advantages_N = gather(output["advantages"])

    def _observe(self, now: Iteration) -> None:
        if self.sampler is None:
            return
        k, verdicts = self.num_generations, now.verdicts
        right_G = (verdicts.correct_N & verdicts.scorable_N).view(-1, k).sum(dim=1)
        rollouts_G = verdicts.scorable_N.view(-1, k).sum(dim=1)
        self.sampler.observe(now.problems_N[::k], right_G.tolist(), rollouts_G.tolist())
        for name, value in self.sampler.metrics().items():
            self._metrics["train"][f"sampler/{name}"].append(value)

    def _state_dict(self) -> dict[str, Any]:
        sampler = None if self.sampler is None else self.sampler.state_dict()
        return {**super()._state_dict(), "sampler": sampler}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        if self.sampler is not None:
            self.sampler.load_state_dict(state["sampler"])
