"""The trainer's end of the connection stays in step with the job's."""

import pickle
import threading
from multiprocessing import Pipe

import pytest

from k15_plugins.megatron.job.remote import RemoteEngine

WEIGHTS = ["a", "b", "c"]


@pytest.fixture
def engine():
    """An engine whose job answers each call with its name, and exports three weights."""
    here, there = Pipe()

    def job():
        while True:
            try:
                name, _ = pickle.loads(there.recv_bytes())
            except EOFError:
                return
            for each in WEIGHTS if name == "export_weights" else ():
                there.send_bytes(pickle.dumps(("item", each)))
            there.send_bytes(pickle.dumps(("done", name)))

    threading.Thread(target=job, daemon=True).start()
    engine = RemoteEngine.__new__(RemoteEngine)
    engine._begin()
    engine._connection = here
    yield engine
    here.close()


def test_a_call_passes_over_weights_that_nobody_took(engine):
    taken = next(engine.export_weights())  # whoever took it has failed
    assert taken == "a"
    assert engine.memory() == "memory"
    assert list(engine.export_weights()) == WEIGHTS


def test_weights_that_a_lost_thread_still_holds_are_ended(engine):
    hanging = engine.export_weights()
    assert next(hanging) == "a"
    assert engine.memory() == "memory"
    with pytest.raises(RuntimeError, match="was ended by a call that came after it"):
        next(hanging)
    assert engine.memory() == "memory"
