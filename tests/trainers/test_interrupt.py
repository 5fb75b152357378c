"""Ctrl-C in a training loses nothing: the update at hand ends, a checkpoint is saved, and it is gone on from."""

import os
import signal

import pytest
import tiny
from transformers import TrainerCallback


class Press(TrainerCallback):
    """Presses Ctrl-C at the beginning of an update, some times."""

    def __init__(self, update: int, number: int = signal.SIGINT, times: int = 1):
        self.update, self.number, self.times = update, number, times

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.update:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_update_at_hand_ends_and_is_gone_on_from(tmp_path, capsys, number):
    whole = tiny.trainer(tmp_path / "whole", max_steps=4)
    whole.train()
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    stopped = tiny.trainer(tmp_path / "run", max_steps=4, callbacks=[Press(2, number)])
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert stopped.state.global_step == 3
    assert "a checkpoint is saved after the update at hand" in capsys.readouterr().out
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed = tiny.trainer(tmp_path / "run", max_steps=4)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 4
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert a.equal(b)


def test_the_second_ctrl_c_ends_it_at_once(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=4, callbacks=[Press(2, times=2)])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.state.global_step == 2
    assert not list(tmp_path.glob("checkpoint-*"))
