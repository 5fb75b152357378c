"""How a model is laid out over the processes of a Megatron job, and which layouts are impossible."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MegatronLayout:
    """A layout; what the other sizes leave over of the processes is data parallel.

    Experts are never split by tensor parallelism; the other ranks of a tensor parallel group hold other experts, or
    copies.

    Args:
        processes: Ranks of the job, one a device.
        tensor_parallel: Ranks that share each matrix.
        pipeline_parallel: Stages that share the layers.
        virtual_pipeline: Chunks of layers on each stage, which take turns (interleaving); 1 has none.
        expert_parallel: Ranks that share the experts of a layer.
        sequence_parallel: Split what tensor parallelism leaves whole (norms, residuals) along the sequence.

    Raises:
        ValueError: If the sizes do not go together.
    """

    processes: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    virtual_pipeline: int = 1
    expert_parallel: int = 1
    sequence_parallel: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.sequence_parallel, bool):
            raise ValueError(
                f"backend.sequence_parallel must be true or false, got {self.sequence_parallel!r}; set one of them."
            )
        for name, size in vars(self).items():
            if name != "sequence_parallel" and (not isinstance(size, int) or size < 1):
                raise ValueError(f"backend.{name} must be a number of ranks, 1 or more, got {size!r}; set 1, say.")
        if self.processes % (self.tensor_parallel * self.pipeline_parallel):
            raise ValueError(
                f"backend.processes={self.processes} cannot be split into {self.tensor_parallel} (tensor_parallel) x "
                f"{self.pipeline_parallel} (pipeline_parallel); take a multiple of "
                f"{self.tensor_parallel * self.pipeline_parallel}."
            )
        if (self.processes // self.pipeline_parallel) % self.expert_parallel:
            raise ValueError(
                f"backend.expert_parallel={self.expert_parallel} does not divide the "
                f"{self.processes // self.pipeline_parallel} ranks of a pipeline stage; take a divisor of them."
            )
        if self.virtual_pipeline > 1 and self.pipeline_parallel == 1:
            raise ValueError(
                f"backend.virtual_pipeline={self.virtual_pipeline} interleaves the stages of a pipeline, and there is "
                "one; take backend.pipeline_parallel=2 or more, or virtual_pipeline=1."
            )
        if self.sequence_parallel and self.tensor_parallel == 1:
            raise ValueError(
                "backend.sequence_parallel=true splits among the ranks of tensor parallelism, and there is one; take "
                "backend.tensor_parallel=2 or more, or sequence_parallel=false."
            )

    @property
    def data_parallel(self) -> int:
        """Replicas of the model; each has rows of its own."""
        return self.processes // (self.tensor_parallel * self.pipeline_parallel)

    def check_model(self, config: Any) -> None:
        """Refuse a model that cannot be split this way.

        Args:
            config: A `transformers.PretrainedConfig`.

        Raises:
            ValueError: If a size of the model is not divisible, or the layout is for another kind of model.
        """
        experts = getattr(config, "num_experts", None) or 0
        kv_heads = config.num_key_value_heads
        splits = [
            ("tensor_parallel", self.tensor_parallel, config.num_attention_heads, "attention heads"),
            ("tensor_parallel", self.tensor_parallel, kv_heads, "key-value heads"),
            ("tensor_parallel", self.tensor_parallel, config.intermediate_size, "entries of the feed-forward layer"),
            (
                "pipeline_parallel" if self.virtual_pipeline == 1 else "pipeline_parallel x virtual_pipeline",
                self.pipeline_parallel * self.virtual_pipeline,
                config.num_hidden_layers,
                "layers",
            ),
        ]
        if experts:
            splits.append(("expert_parallel", self.expert_parallel, experts, "experts"))
        for name, parts, whole, of_what in splits:
            if whole % parts:
                raise ValueError(
                    f"backend.{name}={parts} does not divide the model's {whole} {of_what}; take a divisor of them."
                )
        if self.expert_parallel > 1 and not experts:
            raise ValueError(
                f"backend.expert_parallel={self.expert_parallel} splits experts, and a {config.model_type} model has "
                "none; take 1."
            )
        if experts and self.tensor_parallel > 1 and not self.sequence_parallel:
            raise ValueError(
                f"backend.tensor_parallel={self.tensor_parallel} with experts needs backend.sequence_parallel=true: "
                "Megatron routes the tokens of each rank."
            )
