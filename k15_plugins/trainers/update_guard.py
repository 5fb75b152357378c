"""No update with a loss or a gradient norm that is not finite: skipped, counted, and the end after three in a row."""

import logging
import math
from typing import Any

from accelerate.utils import gather
from torch import Tensor

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
