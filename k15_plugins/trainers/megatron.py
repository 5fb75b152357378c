"""`MirrorDescentTrainer` on a Megatron job: this process samples, scores and decides, the job computes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from k15_plugins.megatron.job.remote import RemoteEngine
from k15_plugins.megatron.model.families import check_model
from k15_plugins.megatron.rows import Rows, as_columns, rows_of
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.trainers.config import MirrorDescentConfig
from k15_plugins.trainers.mirror_descent import MirrorDescentTrainer

_CHECKPOINT = "megatron"


class MegatronMirrorDescentTrainer(MirrorDescentTrainer):
    """`MirrorDescentTrainer` whose model is trained by Megatron-core, on one process or many (tensor, pipeline, ...).

    The trainer runs once, as on one device, and drives a torchrun job. Rollouts, rewards, sampler, logging, callbacks
    and checkpoints are those of `MirrorDescentTrainer`; all micro-batches of an update go to the job in one call.

    With vLLM the engine takes the weights from the job tensor by tensor, and this process holds none. Else this
    process holds the whole model and generates with it, which suits small models only.

    Args:
        model: Folder of a model as transformers saves it.
        reward_funcs: As `GRPOTrainer`.
        args: A `MirrorDescentConfig`. Its learning rate, weight decay, Adam's betas and epsilon, gradient clipping and
            seed are the engine's too. `bf16` and `gradient_checkpointing` are not: see `EngineSettings`.
        engine: Settings of the engine; those that `args` has as well are taken from there.
        **kwargs: As `MirrorDescentTrainer`.

    Raises:
        ValueError: If the model cannot be held by the engine or in its layout, or an option of `args` is not for it.
    """

    def __init__(
        self,
        model: str,
        reward_funcs: Any = None,
        args: MirrorDescentConfig | None = None,
        *,
        engine: EngineSettings,
        **kwargs: Any,
    ):
        args = MirrorDescentConfig() if args is None else args
        _refuse(args, kwargs)
        config = AutoConfig.from_pretrained(model)
        check_model(config, engine.layout, engine.bridge)
        _refuse_for_model(args, config)
        # The other GPUs of this machine are the job's; TRL refuses a process that sees several.
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(_shell(model, config, args.use_vllm, engine.dtype), reward_funcs, args, **kwargs)
        self.engine = RemoteEngine(
            replace(
                engine,
                weight_decay=args.weight_decay,
                adam_beta1=args.adam_beta1,
                adam_beta2=args.adam_beta2,
                adam_epsilon=args.adam_epsilon,
                seed=args.seed,
            ),
            model,
        )
        self._parts: list[Rows] = []
        self._pulled_at: int | None = None  # update whose weights this process holds
        if self.use_vllm:
            # TRL sends what this yields, in either mode.
            self.vllm_generation._iter_named_params = self.engine.export_weights  # type: ignore[method-assign]

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return what stands for the engine's optimizer: its learning rate follows the schedule."""
        self.optimizer = _EngineOptimizer(self.engine, self.args.learning_rate)
        return self.optimizer

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train as `MirrorDescentTrainer.train`; nothing of a training before this one is taken for its own.

        Args:
            resume_from_checkpoint: As `MirrorDescentTrainer.train`.
            **kwargs: The same.
        """
        self._parts, self._pulled_at = [], None
        return super().train(resume_from_checkpoint, **kwargs)

    def _reset_optimizer(self) -> None:
        self.engine.reset_optimizer()

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        self._pull_weights()
        return super()._generate_and_score_completions(inputs)

    def _pull_weights(self) -> None:
        """Take the engine's weights into this process, where it generates by itself."""
        if self.use_vllm or self._pulled_at == self.state.global_step:
            return
        load_tensors(self.accelerator.unwrap_model(self.model), self.engine.export_weights())
        self._pulled_at = self.state.global_step

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **_: Any,
    ) -> tuple:
        rows = rows_of(input_ids, attention_mask, logits_to_keep, {})
        logps_NC, entropies_NC = (
            as_columns(values, logits_to_keep).to(input_ids.device)
            for values in self.engine.logps(rows, self.temperature)
        )
        return logps_NC, entropies_NC, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        columns = self._loss_columns(inputs)
        columns["weight"] = columns["weight"] / self.current_gradient_accumulation_steps
        self._parts.append(
            rows_of(
                torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
                torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
                inputs["completion_ids"].size(1),
                columns,
            )
        )
        # A loss that the Trainer may call backward on; the gradients are in the engine.
        loss = torch.zeros((), device=self.accelerator.device, requires_grad=True)
        if not self.accelerator.sync_gradients:
            return loss
        parts, self._parts = self._parts, []
        figures = self.engine.train_batch(_together(parts), self.temperature, self._update_loss())
        # Metrics are means over micro-batches, as on one device.
        split = {name: values.split([len(part.ids) for part in parts]) for name, values in figures.items()}
        for place, part in enumerate(parts):
            self._log_loss({name: values[place] for name, values in split.items()}, part.columns)
        return loss + figures["loss"].sum().to(loss.device)

    def _clip_grad_norm(self, model: Any) -> Any:
        return torch.tensor(self.engine.clip_grad_norm(self.args.max_grad_norm))

    def _norm_of_gradients(self, model: Any, grad_norm: Any) -> Any:
        return self.engine.clip_grad_norm(0.0) if grad_norm is None else grad_norm.item()

    def _drop_gradients(self, model: Any) -> None:
        # accelerate wraps the optimizer.
        getattr(self.optimizer, "optimizer", self.optimizer).skips_next = True

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = output_dir if output_dir is not None else self.args.output_dir
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.engine.save_model(folder)
        self.model.config.save_pretrained(folder)
        if self.model.generation_config is not None:
            self.model.generation_config.save_pretrained(folder)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        torch.save(self.args, Path(folder) / "training_args.bin")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        self.engine.save(str(Path(output_dir) / _CHECKPOINT))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights come with the optimizer."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.engine.load(str(Path(checkpoint) / _CHECKPOINT))


class _EngineOptimizer(torch.optim.Optimizer):
    """Hands the learning rate of each update to the engine."""

    def __init__(self, engine: RemoteEngine, learning_rate: float):
        super().__init__([torch.nn.Parameter(torch.zeros(1))], {"lr": learning_rate})
        self.engine = engine
        self.skips_next = False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if self.skips_next:
            self.skips_next = False
            return
        self.engine.step(self.param_groups[0]["lr"])


@torch.no_grad()
def load_tensors(model: Any, tensors: Any) -> None:
    """Copy tensors that are named as in a checkpoint into a model of transformers.

    Args:
        model: Takes them; experts, which a checkpoint keeps apart, stand in one tensor in it.
        tensors: Names and tensors.
    """
    parameters = model.state_dict(keep_vars=True)
    for name, tensor in tensors:
        if name in parameters:
            parameters[name].copy_(tensor)
            continue
        # model.layers.0.mlp.experts.3.gate_proj.weight
        before, _, after = name.partition(".experts.")
        expert, projection, _ = after.split(".")
        if projection == "down_proj":
            parameters[f"{before}.experts.down_proj"][int(expert)].copy_(tensor)
        else:
            gate, up = parameters[f"{before}.experts.gate_up_proj"][int(expert)].chunk(2)
            (gate if projection == "gate_proj" else up).copy_(tensor)


def _together(parts: list[Rows]) -> Rows:
    """Join the rows of several micro-batches, which may be padded to unlike widths."""
    width = max(part.columns["mask"].shape[1] for part in parts)
    columns = {
        name: torch.cat(
            [
                values if values.dim() == 1 else as_columns(values, width)
                for values in (part.columns[name] for part in parts)
            ]
        )
        for name in parts[0].columns
    }
    return Rows(
        [ids for part in parts for ids in part.ids],
        [number for part in parts for number in part.response_tokens],
        columns,
    )


def _shell(model: str, config: Any, use_vllm: bool, dtype: str) -> Any:
    """Return the model as the trainer holds it: whole where it generates, without weights where vLLM does."""
    if not use_vllm:
        return AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    with torch.device("meta"):
        shell = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    # There is nothing that could be moved to a device.
    shell.to = lambda *_, **__: shell
    return shell


def _refuse(args: MirrorDescentConfig, others: dict[str, Any]) -> None:
    """Refuse options that the engine would silently leave out."""
    if args.beta != 0.0:
        raise ValueError(
            f"beta={args.beta} needs the starting policy as a second model, which backend=megatron does not hold; set "
            "beta=0 or take another backend."
        )
    if others.get("peft_config") is not None:
        raise ValueError("backend=megatron trains whole models; leave out the adapters or take another backend.")
    if args.load_best_model_at_end:
        raise ValueError(
            "load_best_model_at_end=True would load the best weights into the trainer, which the engine does not see; "
            "leave it out, and resume from the best checkpoint."
        )
    if args.optim not in ("adamw_torch", "adamw_torch_fused"):
        raise ValueError(f"optim={args.optim} is not Megatron's Adam; leave it out or take another backend.")
    if args.fp16:
        raise ValueError("fp16=True scales a loss that the engine does not see; leave it out, and set backend.dtype.")
    if args.cast_lm_head_to_fp32:
        raise ValueError(
            "cast_lm_head_to_fp32=True changes the trainer's model, which the engine does not see; leave it out, or "
            "take backend.dtype=float32."
        )
    for name in ("torch_compile", "use_liger_kernel", "optim_args", "model_init_kwargs"):
        if getattr(args, name):
            raise ValueError(
                f"{name}={getattr(args, name)!r} has no effect on backend=megatron, whose model is Megatron-core's; "
                "leave it out, and see EngineSettings.transformer."
            )
    if others.get("quantization_config") is not None:
        raise ValueError("backend=megatron does not quantize; leave out quantization_config, or take another backend.")
    if others.get("optimizers", (None, None))[0] is not None:
        raise ValueError("backend=megatron trains with Megatron's Adam; leave out the optimizer.")


def _refuse_for_model(args: MirrorDescentConfig, config: Any) -> None:
    """Refuse what a model's config asks for and the engine would leave out.

    TRL balances experts with the model's own coefficient if it is given none.
    """
    of_model = getattr(config, "router_aux_loss_coef", 0.0)
    coefficient = of_model if args.router_aux_loss_coef is None else args.router_aux_loss_coef
    if coefficient and hasattr(config, "output_router_logits"):
        raise ValueError(
            f"router_aux_loss_coef={coefficient} adds a loss that balances experts, which backend=megatron does not "
            "compute; set trainer.args.router_aux_loss_coef=0."
        )
    if not args.disable_dropout and getattr(config, "attention_dropout", 0.0) > 0:
        raise ValueError(
            f"disable_dropout=False keeps the model's attention_dropout={config.attention_dropout}, which "
            "backend=megatron does not have; leave it out."
        )
