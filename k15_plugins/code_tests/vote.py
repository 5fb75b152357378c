"""The vote of the submissions on the output of a case."""

from dataclasses import dataclass, field

from k15_plugins.tasks.compare_output import floats

CHECKER = "floats"
"""How the problems compare outputs, as in the vote: whole numbers exactly, floats with a tolerance."""


def same_output(one: bytes, other: bytes) -> bool:
    """Tell whether two programs wrote the same.

    Either may turn out to be the expected output, so each has to pass for the other: `3` and `3.0` are not the same.

    Args:
        one: What a program wrote.
        other: What another one wrote.
    """
    return one == other or (floats(one, other) and floats(other, one))


@dataclass
class Vote:
    """What the submissions wrote for a case; equal outputs are kept once.

    Attributes:
        clusters: An output and the submissions that wrote it, by their place.
    """

    clusters: list[tuple[bytes, list[int]]] = field(default_factory=list)

    def add(self, voter: int, output: bytes) -> None:
        """Count an output.

        Args:
            voter: Place of the submission.
            output: What it wrote.
        """
        for first, voters in self.clusters:
            if same_output(output, first):
                voters.append(voter)
                return
        self.clusters.append((output, [voter]))

    def winner(self) -> tuple[bytes, list[int]]:
        """Return the output of most submissions, and these; of equally many the first. Nothing, if none voted."""
        return max(self.clusters, key=lambda cluster: len(cluster[1]), default=(b"", []))

    def voters(self) -> int:
        """Return how many submissions wrote something."""
        return sum(len(voters) for _, voters in self.clusters)
