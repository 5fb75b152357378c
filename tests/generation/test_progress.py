"""Which responses are halted, token by token."""

import numpy as np
import torch

from k15_plugins.generation.segments import Progress, SegmentRequest


def test_responses_that_reach_the_longest_length_count_among_the_ended():
    request = SegmentRequest(
        prompt_ids=[[5]] * 4,
        started=[np.zeros(0, np.int32)] * 4,
        images=None,
        multimodal_fields={},
        allowances=[1, 2, 2, 9],
        must_end=[False] * 4,
        ends_at_allowance=[True, False, True, False],
        pause_after=2,
        repetition=None,
    )
    progress = Progress(request, [0], torch.device("cpu"))
    step = [progress.step(torch.tensor([7] * 4), torch.arange(4)).tolist() for _ in range(2)]
    # After the second token the first and the third have ended; the second has only used up its budget.
    assert step == [[True, False, False, False], [True] * 4]
    assert progress.ended_B.tolist() == [True, False, True, False]
    assert progress.lengths_B.tolist() == [1, 2, 2, 2]
