"""`backend=megatron` in a run: its node of the config, and what else of the config goes with it."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from k15_plugins.extras import cure
from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.model.families import check_bridge_installed
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.runs.launch import Backend

_TRAINER = "k15_plugins.trainers.mirror_descent.MirrorDescentTrainer"
_STAGE = "k15_plugins.stages.reinforce.reinforce"


@dataclass(frozen=True)
class MegatronBackend(Backend):
    """How a job is started whose model is trained by Megatron-core.

    Args:
        processes: Ranks of Megatron's job on all its machines; the trainer is one process beside them.
        nodes: See `EngineSettings`.
        address: See `EngineSettings`.
        environment: Environment variables of the trainer and of the ranks.
        tensor_parallel: See `MegatronLayout`.
        pipeline_parallel: See `MegatronLayout`.
        virtual_pipeline: See `MegatronLayout`.
        expert_parallel: See `MegatronLayout`.
        sequence_parallel: See `MegatronLayout`.
        dtype: See `EngineSettings`.
        max_tokens_per_micro_batch: See `EngineSettings`.
        settings: Fields of Megatron's `TransformerConfig`.
        bridge: See `EngineSettings`.

    Raises:
        ValueError: If the sizes do not go together.
    """

    nodes: int = 1
    address: str | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    virtual_pipeline: int = 1
    expert_parallel: int = 1
    sequence_parallel: bool = False
    dtype: str = "float32"
    max_tokens_per_micro_batch: int = 8192
    settings: dict[str, Any] = field(default_factory=dict)
    bridge: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"backend.dtype must be float32 or bfloat16, got {self.dtype}; set one of them.")
        self.engine_settings()

    @property
    def trainer_processes(self) -> int:
        """The trainer runs once."""
        return 1

    def engine_settings(self) -> EngineSettings:
        """Return what the engine is told; the trainer adds what its own arguments say."""
        layout = MegatronLayout(
            processes=self.processes,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            virtual_pipeline=self.virtual_pipeline,
            expert_parallel=self.expert_parallel,
            sequence_parallel=self.sequence_parallel,
        )
        return EngineSettings(
            layout=layout,
            dtype=self.dtype,
            max_tokens_per_micro_batch=self.max_tokens_per_micro_batch,
            transformer=self.settings,
            bridge=self.bridge,
            nodes=self.nodes,
            address=self.address,
        )


def check_stage(config: dict[str, Any]) -> None:
    """Refuse what Megatron does not train; to be called when the config is composed.

    Args:
        config: The resolved config.

    Raises:
        ValueError: If a package is missing, adapters are to be trained, the run is no reinforcement learning, or its
            trainer is another one.
    """
    for module, package in (("megatron", "megatron-core"), ("psutil", "psutil")):
        if find_spec(module) is None:
            raise ValueError(f"backend=megatron needs the package {package}, which is not installed{cure(module)}.")
    if config["backend"].get("bridge"):
        check_bridge_installed()
    stage = config["stage"]["_target_"]
    if stage != _STAGE:
        raise ValueError(
            "backend=megatron trains by reinforcement learning, and this recipe's stage is "
            f"{stage.rpartition('.')[2]} (SFT and DPO are trained by TRL itself); take backend=accelerate."
        )
    trainer = config["trainer"]["_target_"]
    if trainer != _TRAINER:
        raise ValueError(
            f"backend=megatron trains with trainer=mirror_descent, and this recipe has {trainer}; take that, or "
            "backend=accelerate."
        )
    if config["model"].get("lora") is not None:
        raise ValueError(
            "model.lora must be null with backend=megatron, which trains whole models, got adapters; set "
            "model.lora=null, or take another backend."
        )


def model_folder(node: dict[str, Any], run_dir: Path) -> str:
    """Return a folder, or a name on the Hub, from which the ranks of the engine can read the model.

    Args:
        node: Of the `model` group.
        run_dir: The run's folder; takes a model that stands in no folder yet.
    """
    from k15_plugins import models
    from k15_plugins.runs.build import build

    if node["_target_"] == "k15_plugins.models.hub":
        return node["name"]
    if node["_target_"] == "k15_plugins.models.tiny" and (models.TINY / "model.safetensors").exists():
        return str(models.TINY)
    folder = run_dir / "start"
    for each in build(node):
        each.save_pretrained(folder)
    return str(folder)
