"""The trainer's end of a Megatron job: the same calls as `MegatronEngine`, made by one process for all ranks."""

import atexit
import pickle
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, Listener
from typing import Any

from torch import Tensor

from k15_plugins.megatron.job.worker import ADDRESS, KEY
from k15_plugins.megatron.rows import Rows
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.processes import environment_apart


class RemoteEngine:
    """Starts a torchrun job of `MegatronEngine`s, and calls them as one.

    On several machines this is the first one, and torchrun is started on the others by hand (`docs/megatron.md`).

    Batches go to the job and figures come back through one connection to its rank 0; weights come tensor by tensor.
    When a rank dies, torchrun ends the others, and the next call here raises. When this process dies, so does the job.

    Args:
        settings: Of the engine.
        folder: Of the model, as transformers saves it.

    Raises:
        RuntimeError: If the job ends before the model is loaded.
    """

    def __init__(self, settings: EngineSettings, folder: str):
        self.settings = settings
        self._begin()
        key = secrets.token_bytes(32)
        with Listener(("127.0.0.1", 0), authkey=key) as listener:
            host, port = listener.address
            environment = environment_apart()
            self._job = subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", *settings.torchrun),
                    *("-m", "k15_plugins.megatron.job.worker"),
                ],
                env={
                    "OMP_NUM_THREADS": "1",
                    **environment,
                    ADDRESS: f"{host}:{port}",
                    KEY: key.hex(),
                },
                stdin=subprocess.DEVNULL,
            )
            atexit.register(self.close)
            self._connection = self._accepted(listener)
        self._call("__init__", settings, folder)

    def logps(self, rows: Rows, temperature: float) -> tuple[Tensor, Tensor]:
        """As `MegatronEngine.logps`."""
        return self._call("logps", rows, temperature)

    def train_batch(self, rows: Rows, temperature: float, loss: Any) -> dict[str, Tensor]:
        """As `MegatronEngine.train_batch`; the loss is pickled."""
        return self._call("train_batch", rows, temperature, loss)

    def clip_grad_norm(self, max_norm: float) -> float:
        """As `MegatronEngine.clip_grad_norm`."""
        return self._call("clip_grad_norm", max_norm)

    def step(self, learning_rate: float) -> None:
        """As `MegatronEngine.step`."""
        self._call("step", learning_rate)

    def reset_optimizer(self) -> None:
        """As `MegatronEngine.reset_optimizer`."""
        self._call("reset_optimizer")

    def export_weights(self) -> Iterator[tuple[str, Tensor]]:
        """As `MegatronEngine.export_weights`; any other call ends it.

        Who takes the tensors may fail amid them, or hang in a thread of its own (a vLLM server that is lost): the next
        call, such as the one for a checkpoint, passes over what nobody took.
        """
        self._send("export_weights")
        mine = self._stream
        while True:
            with self._lock:
                if self._stream != mine:
                    raise RuntimeError("the export of weights was ended by a call that came after it.")
                kind, value = self._receive("export_weights")
                self._is_streaming = kind != "done"
            if kind == "done":
                return
            yield value

    def save_model(self, folder: str, max_shard_bytes: int = 5 * 1000**3) -> None:
        """As `MegatronEngine.save_model`."""
        self._call("save_model", folder, max_shard_bytes)

    def save(self, folder: str) -> None:
        """As `MegatronEngine.save`."""
        self._call("save", folder)

    def load(self, folder: str) -> None:
        """As `MegatronEngine.load`."""
        self._call("load", folder)

    def memory(self) -> list[dict[str, float]]:
        """As `MegatronEngine.memory`."""
        return self._call("memory")

    def close(self) -> None:
        """End the job; calling it again does nothing."""
        atexit.unregister(self.close)
        if hasattr(self, "_connection"):
            self._connection.close()
        try:
            self._job.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._job.terminate()
            self._job.wait()

    def _accepted(self, listener: Listener) -> Connection:
        """Wait for rank 0, or for the end of a job that never came so far."""
        socket: Any = listener._listener._socket  # type: ignore[attr-defined]  # Listener itself knows no time limit
        socket.settimeout(1.0)
        while True:
            try:
                return listener.accept()
            except TimeoutError:
                if self._job.poll() is not None:
                    raise RuntimeError(
                        f"the Megatron job ended with exit code {self._job.returncode} before it began; its reason "
                        "stands above."
                    ) from None

    def _call(self, name: str, *arguments: Any) -> Any:
        self._send(name, *arguments)
        return self._receive(name)[1]

    def _begin(self) -> None:
        """Set up what keeps calls and answers in step."""
        self._lock = threading.Lock()
        self._stream = 0  # calls so far; the number of the one whose tensors are under way
        self._is_streaming = False

    def _send(self, name: str, *arguments: Any) -> None:
        with self._lock:
            while self._is_streaming:
                self._is_streaming = self._receive("export_weights")[0] != "done"
            try:
                self._connection.send_bytes(pickle.dumps((name, arguments), protocol=pickle.HIGHEST_PROTOCOL))
            except OSError as error:
                raise self._lost(name) from error
            self._stream += 1
            self._is_streaming = name == "export_weights"

    def _receive(self, name: str) -> tuple[str, Any]:
        try:
            kind, value = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._lost(name) from error
        if kind == "error":
            raise (ValueError if value.startswith("ValueError: ") else RuntimeError)(
                value.removeprefix("ValueError: ")
            )
        return kind, value

    def _lost(self, name: str) -> RuntimeError:
        self._job.wait()
        return RuntimeError(
            f"a rank of the Megatron job died (exit code {self._job.returncode}) before or during {name}; its reason "
            "stands above. Resume from the last checkpoint."
        )
