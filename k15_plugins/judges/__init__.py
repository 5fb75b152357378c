"""What writes the judgements of a reward model with a chain of thought: a model here, vLLM here, or a server."""

from k15_plugins.judges.server_judge import ServerJudge
from k15_plugins.judges.transformers_judge import TransformersJudge
from k15_plugins.judges.vllm_judge import VllmJudge

__all__ = ["ServerJudge", "TransformersJudge", "VllmJudge"]
