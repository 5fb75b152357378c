"""Measuring several models: what is refused before anything is sampled."""

import pytest

from k15_plugins.stages.collect import Sampling
from k15_plugins.stages.measure import measure


def test_two_models_do_not_share_their_samples(tmp_path):
    models = {"a/b": "one", "c": "three", "a_b": "two"}
    with pytest.raises(ValueError, match=r"stage\.models: 'a/b' and 'a_b' would share the folder samples/a_b; rename"):
        measure(Sampling({}, tmp_path, [], 1, 1), models)
