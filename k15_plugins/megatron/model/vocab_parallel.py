"""Log-probabilities and entropies from logits whose vocabulary is split over ranks; it is never gathered."""

import torch
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from torch import Tensor, distributed


def vocab_parallel_logps(logits_BTV: Tensor, ids_BT: Tensor) -> Tensor:
    """Return the log-probability of each token, with gradient.

    Args:
        logits_BTV: This rank's part of the logits, float32, shape (B, T, V / ranks), already divided by the
            temperature. Overwritten.
        ids_BT: The tokens, in the whole vocabulary, shape (B, T).

    Returns:
        Nats, shape (B, T), the same on all ranks.
    """
    return -vocab_parallel_cross_entropy(logits_BTV, ids_BT)


@torch.no_grad()
def vocab_parallel_entropies(logits_BTV: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Return the entropy of each token's distribution, without gradient.

    Args:
        logits_BTV: This rank's part of the logits, float32, shape (B, T, V / ranks).
        group: The ranks that share the vocabulary.

    Returns:
        Nats, shape (B, T), the same on all ranks.
    """
    max_BT1 = logits_BTV.amax(dim=-1, keepdim=True)
    distributed.all_reduce(max_BT1, op=distributed.ReduceOp.MAX, group=group)
    shifted_BTV = logits_BTV - max_BT1
    exp_BTV = shifted_BTV.exp()
    # H = log Z - E[x], both of the shifted logits.
    sums_2BT = torch.stack([exp_BTV.sum(dim=-1), (exp_BTV * shifted_BTV).sum(dim=-1)])
    distributed.all_reduce(sums_2BT, group=group)
    return sums_2BT[0].log() - sums_2BT[1] / sums_2BT[0]
