"""The error of a training that had to end, for a reason that a sentence says."""


class TrainingStopped(RuntimeError):
    """The training cannot go on; a checkpoint was saved, and the message says what to do."""
