"""Several responses to each of some problems, with verdicts and lengths, drawn and kept."""

from k15_plugins.samples.files import (
    Sample,
    SampledProblem,
    check_problems,
    read_samples,
    write_samples,
)

__all__ = ["Sample", "SampledProblem", "check_problems", "read_samples", "write_samples"]
