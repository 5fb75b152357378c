"""Samples made by hand, and strategies for hypothesis."""

from hypothesis import strategies as st

from k15_plugins.samples import Sample, SampledProblem


def sample(tokens: int, right: bool, truncated: bool = False, mark: int = 0, answer: str | None = None) -> Sample:
    """A response of so many tokens, told from others by its mark."""
    ids = [mark, *range(100, 100 + tokens - 1)]
    return Sample(f"response {mark} of {tokens}", ids, right, truncated, answer)


def problem(*samples: Sample, number: int = 0) -> SampledProblem:
    """A problem with these responses."""
    return SampledProblem(number, f"prompt {number}", [1, 2, number], list(samples), "task", 0)


samples = st.lists(
    st.builds(
        sample,
        tokens=st.integers(1, 12),
        right=st.booleans(),
        truncated=st.booleans(),
        mark=st.integers(0, 5),
    ),
    min_size=1,
    max_size=8,
)
problems = st.lists(samples, min_size=1, max_size=5).map(
    lambda many: [problem(*each, number=number) for number, each in enumerate(many)]
)
