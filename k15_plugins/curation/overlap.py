"""Problems that stand in a benchmark too, found by runs of words that both have (decontamination)."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from k15_plugins.curation.reasons import Drop, Reason

RUN_WORDS = 5
_WORD = re.compile(r"\w+|[^\w\s]")


def overlaps(texts: Sequence[str], benchmarks: Mapping[str, Sequence[str]], share: float) -> dict[int, Drop]:
    """Find problems whose text holds a question of a benchmark, or so much of one.

    A share of the question's runs of 5 words counts, not one of both texts: a prompt may have a long instruction
    around it. A question of fewer words must be there as a whole.

    Args:
        texts: Text of each problem.
        benchmarks: Name of a benchmark -> its questions.
        share: Share of the runs of a question from which a problem is dropped, above 0 and at most 1.

    Returns:
        Place -> why it is dropped, with the question of the largest share.
    """
    questions = [(name, question) for name, own in benchmarks.items() for question in own]
    runs = [_runs(words, min(RUN_WORDS, len(words))) for words in (_words(question) for _, question in questions)]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, own in enumerate(runs):
        for run in own:
            holders[run].append(number)
    lengths = {len(run) for run in holders}
    found = {}
    for place, text in enumerate(texts):
        words = _words(text)
        common = Counter(
            number for length in lengths for run in _runs(words, length) for number in holders.get(run, ())
        )
        if not common:
            continue
        best = max(common, key=lambda number: (common[number] / len(runs[number]), -number))
        found_share = common[best] / len(runs[best])
        if found_share >= share:
            name, question = questions[best]
            found[place] = Drop(Reason.BENCHMARK, f"{name}, {found_share:.2f} of: {' '.join(question.split())[:200]}")
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)} if length else set()
