"""No update with a loss or a gradient norm that is not finite: skipped, counted, and the end after three in a row."""

import logging
import math
from typing import Any

from accelerate.utils import gather
from torch import Tensor
from trl import GRPOTrainer

from k15_plugins.trainers.stopped import TrainingStopped

logger = logging.getLogger(__name__)

MOST_IN_A_ROW = 3


class UpdateGuard:
    """Follows the losses and gradient norms of updates, the same on all ranks.

    Attributes:
        in_a_row: Updates skipped one after the other, up to now; part of a checkpoint.
        last_words: Why the training has to end, once it has.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self.last_words: str | None = None
        self._loss: Tensor | None = None

    def see_loss(self, loss: Tensor) -> None:
        """Take in the loss of a micro-batch.

        Args:
            loss: A scalar.
        """
        loss = loss.detach()
        self._loss = loss if self._loss is None else self._loss + loss

    def allows(self, grad_norm: Any, step: int) -> bool:
        """Tell whether the update may be made; all ranks call this and get one answer.

        Args:
            grad_norm: Norm of the gradients of the update, a number or a scalar tensor, the same on all ranks.
            step: Updates before this one.
        """
        assert self._loss is not None
        losses = gather(self._loss.float().reshape(1))
        self._loss = None
        norm = float(grad_norm)
        if bool(losses.isfinite().all()) and math.isfinite(norm):
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        seen = f"loss {losses.mean().item():g}, gradient norm {norm:g}"
        logger.warning("update %d is skipped, for it is not finite: %s", step + 1, seen)
        if self.in_a_row == MOST_IN_A_ROW:
            self.in_a_row = 0
            self.last_words = (
                f"{MOST_IN_A_ROW} updates in a row were not finite (the last one: {seen}), so the training was ended "
                "with the weights before them; lower learning_rate, or look for a model or reward that overflows."
            )
        return False


class GuardedGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` that skips an update whose loss or gradient norm is not finite.

    A skipped update is noted as 1 in `k15/skipped_updates`; three in a row end the training, with a checkpoint
    (DeepSpeed and fp16, which skip such updates themselves, aside).
    """

    # TRL leaves these to inference, which finds them optional.
    args: Any
    model: Any
    optimizer: Any
    reward_funcs: Any
    reward_processing_classes: Any
    num_generations: Any
    num_generations_eval: Any
    train_dataset: Any
    _buffered_inputs: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._guard = UpdateGuard()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `GRPOTrainer.train`.

        Args:
            *args: As `GRPOTrainer.train`.
            **kwargs: The same.

        Raises:
            TrainingStopped: After three updates in a row that were not finite.
        """
        self._guard = UpdateGuard()
        output = super().train(*args, **kwargs)
        if self._guard.last_words is not None:
            raise TrainingStopped(self._guard.last_words)
        return output

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Train as `GRPOTrainer.training_step`, and note the loss, which must be finite for the update to be made.

        Args:
            model: As `GRPOTrainer.training_step`.
            inputs: The same.
            num_items_in_batch: The same.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._guard.see_loss(loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        # The last call of transformers before the optimizer's step, in any case.
        norm = self._norm_of_gradients(model, grad_norm)
        if self.is_deepspeed_enabled or self.accelerator.scaler is not None:
            return norm
        is_allowed = self._guard.allows(norm, self.state.global_step)
        self._metrics["train"]["k15/skipped_updates"].append(float(not is_allowed))
        if not is_allowed:
            self._drop_gradients(model)
            if self._guard.last_words is not None:
                self.control.should_save = self.control.should_training_stop = True
        return norm

    def _norm_of_gradients(self, model: Any, grad_norm: Any) -> Any:
        return super()._get_grad_norm(model, grad_norm)

    def _drop_gradients(self, model: Any) -> None:
        """Let the optimizer's next step do nothing: optimizers of torch pass over parameters without a gradient."""
        model.zero_grad(set_to_none=True)
