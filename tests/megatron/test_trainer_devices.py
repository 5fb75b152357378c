"""The trainer of a Megatron job keeps to one of the GPUs that it sees; the others are the job's."""

import pytest
import tiny

from k15_plugins import MirrorDescentConfig
from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.trainers import megatron


class NoJob:
    """Stands for a job; none is started."""

    def __init__(self, settings: EngineSettings, folder: str):
        self.settings = settings


@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_the_trainer_takes_one_gpu(gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(megatron, "RemoteEngine", NoJob)
    tiny.model().save_pretrained(tmp_path)
    args = MirrorDescentConfig(**tiny.arguments(tmp_path / "out"))
    # What transformers sets for a process that sees so many.
    args._n_gpu = gpus
    trainer = megatron.MegatronMirrorDescentTrainer(
        str(tmp_path),
        [tiny.odd_start],
        args,
        engine=EngineSettings(MegatronLayout(1)),
        train_dataset=tiny.problems(),
        processing_class=tiny_tokenizer(),
    )
    assert trainer.args.n_gpu == min(gpus, 1)
    assert trainer.args.train_batch_size == 8 * max(1, trainer.args.n_gpu)
