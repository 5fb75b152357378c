"""Long2short DPO: TRL's `DPOTrainer` on pairs whose difference is their length (paper 2.4)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import gather, is_peft_model
from datasets import Dataset, IterableDataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOConfig, DPOTrainer

from k15_plugins.evaluation.accuracy import evaluate
from k15_plugins.trainers.kinds import check_kinds
from k15_plugins.trainers.model_checks import check_model_name, check_output_dir, check_processing_class
from k15_plugins.trainers.option_checks import check_evaluation, check_training
from k15_plugins.trainers.pair_checks import (
    SAMPLED,
    check_held_out,
    check_vocabulary,
    checked_pairs,
    refuse_long_pairs,
)
from k15_plugins.trainers.values import check_values


@dataclass
class Long2ShortDPOConfig(DPOConfig):
    """`DPOConfig` that cuts no response. The paper gives no value for `beta`; TRL's stays.

    Args:
        max_length:
            Longest pair member that is allowed, prompt included, tokens. TRL's default of 1,024 cuts longer ones at
            the end, and that the rejected response is long is all there is to learn. Here a longer one is refused.
        held_out_steps:
            Updates between two measurements on the held-out problems; `0` measures before and after training only.
        held_out_max_new_tokens:
            Longest response to a held-out problem, tokens.
        held_out_batch_size:
            Held-out problems that are sampled at once.
        held_out_temperature:
            Of the sampling; 0 takes the most probable token.
    """

    _VALID_DICT_FIELDS = DPOConfig._VALID_DICT_FIELDS

    max_length: int | None = field(
        default=None, metadata={"help": "Longest pair member that is allowed, tokens; longer ones are refused."}
    )
    held_out_steps: int = field(
        default=0, metadata={"help": "Updates between measurements on held-out problems; 0: before and after only."}
    )
    held_out_max_new_tokens: int = field(
        default=1024, metadata={"help": "Longest response to a held-out problem, tokens."}
    )
    held_out_batch_size: int = field(default=128, metadata={"help": "Held-out problems that are sampled at once."})
    held_out_temperature: float = field(
        default=1.0, metadata={"help": "Temperature of the sampling of held-out problems."}
    )

    def __post_init__(self) -> None:
        check_values(self)
        if self.beta == 0:
            raise ValueError("beta must be above 0, got 0, where DPO learns nothing; leave it out, or take 0.1, say.")
        super().__post_init__()


class Long2ShortDPOTrainer(DPOTrainer):
    """`DPOTrainer` for long2short pairs (https://huggingface.co/papers/2501.12599, 2.4).

    Takes any data set that `DPOTrainer` takes. One with `prompt_ids`, `chosen_ids` and `rejected_ids`, as
    `preference_pairs` gives it, is trained on as it stands: TRL would tokenize the texts anew and close a response
    that was cut off with an end of sequence which the model never wrote.

    Logs `k15/length_gap`, the mean difference of tokens between rejected and chosen; from a column `kind`, the shares
    `k15/wrong_share` and `k15/long_share`; and, while it trains, accuracy and mean tokens of the policy itself on
    held-out problems, `eval_k15/accuracy` and `eval_completions/mean_length`.

    Args:
        model: As `DPOTrainer`. As it is given it is also the reference, unless `ref_model` is.
        args: A `Long2ShortDPOConfig`.
        train_dataset: Pairs, as `Dataset.from_list(preference_pairs(...))`.
        held_out: Problems with `prompt` and the columns that `reward_func` needs.
        reward_func: TRL reward function that gives 1 for a right final answer; needed with `held_out`.
        **kwargs: As `DPOTrainer`.

    Raises:
        ValueError: If there is no pair, a pair is longer than `max_length`, or `held_out` comes without `reward_func`,
            with images, or with a model that is sharded; if the output folder or the path of the model cannot be used.
    """

    # TRL leaves these to inference, which finds them optional.
    args: Any
    model: Any

    def __init__(
        self,
        model: Any,
        args: Long2ShortDPOConfig,
        *,
        train_dataset: Dataset | IterableDataset | None = None,
        held_out: Dataset | None = None,
        reward_func: Callable[..., list[float | None]] | None = None,
        **kwargs: Any,
    ):
        if not isinstance(args, Long2ShortDPOConfig):
            raise ValueError(
                f"args must be a Long2ShortDPOConfig, got {args!r:.100}; it takes all fields of DPOConfig."
            )
        check_kinds(kwargs)
        check_output_dir(args.output_dir)
        check_training(args)
        check_evaluation(args, kwargs.get("eval_dataset"))
        check_model_name(model)
        check_processing_class(model, kwargs.get("processing_class"))
        data = checked_pairs(train_dataset)
        columns = data.column_names or []
        if args.max_length is not None and (isinstance(data, IterableDataset) or {"image", "images"} & set(columns)):
            raise ValueError(
                f"max_length={args.max_length} cannot be checked before training on images or on an IterableDataset, "
                "and would cut responses; leave it at None."
            )
        check_vocabulary(data, model)
        check_held_out(held_out, reward_func, args)
        is_whole = isinstance(model, torch.nn.Module) and not is_peft_model(model) and not kwargs.get("peft_config")
        if is_whole and not args.precompute_ref_log_probs:
            # TRL would load the model's name again, which a model that has no name, or has changed since, cannot give.
            kwargs.setdefault("ref_model", copy.deepcopy(model))
        super().__init__(model=model, args=args, train_dataset=data, **kwargs)
        if held_out is not None and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError("held_out cannot be sampled from a model that FSDP or DeepSpeed shards; leave it out.")
        kinds = list(data["kind"]) if "kind" in columns else []
        self._shares = {f"k15/{kind}_share": kinds.count(kind) / len(kinds) for kind in ("wrong", "long") if kinds}
        if held_out is not None:
            self.add_callback(_HeldOut(self, held_out, reward_func))

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        if set(dataset.column_names or []) >= SAMPLED:
            prepared = dataset
        else:
            # With a limit TRL would drop what is too long, silently.
            limit, args.max_length = args.max_length, None
            prepared = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
            args.max_length = limit
        if args.max_length is not None:
            refuse_long_pairs(prepared, args.max_length, dataset_name)
        return prepared

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        chosen_B, rejected_B = inputs["completion_mask"].sum(dim=1).chunk(2)
        gap = gather((rejected_B - chosen_B).float()).mean().item()
        self._metrics["train" if self.model.training else "eval"]["k15/length_gap"].append(gap)
        return super()._compute_loss(model, inputs, return_outputs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as `DPOTrainer`, with the shares of the kinds of pairs."""
        if self.model.training:
            logs |= self._shares
        super().log(logs, start_time)


class _HeldOut(TrainerCallback):
    """Samples held-out problems before, while and after the policy is trained."""

    def __init__(self, trainer: Long2ShortDPOTrainer, problems: Dataset, reward_func: Any):
        self.trainer, self.problems, self.reward_func = trainer, problems, reward_func
        self.measured = -1

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._measure(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        every = self.trainer.args.held_out_steps
        if every and state.global_step % every == 0:
            # transformers takes any log for the one that is due after this step.
            is_due = control.should_log
            self._measure(state.global_step)
            control.should_log = is_due

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.measured < state.global_step:
            self._measure(state.global_step)

    def _measure(self, step: int) -> None:
        self.measured = step
        trainer, args = self.trainer, self.trainer.args
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        mine = self.problems.select(range(accelerator.process_index, len(self.problems), accelerator.num_processes))
        result = evaluate(
            model,
            trainer._tokenizer,
            mine,
            self.reward_func,
            max_new_tokens=args.held_out_max_new_tokens,
            batch_size=args.held_out_batch_size,
            temperature=args.held_out_temperature,
            seed=args.seed + accelerator.process_index,
        )
        sums = torch.tensor([[result.accuracy, result.mean_tokens, 1.0]], device=accelerator.device) * len(mine)
        right, tokens, number = gather(sums).sum(dim=0).tolist()
        # In this mode TRL keeps what it has gathered of the training for the log that it belongs to.
        was_training = trainer.model.training
        trainer.model.eval()
        trainer.log({"eval_k15/accuracy": right / number, "eval_completions/mean_length": tokens / number})
        trainer.model.train(was_training)
