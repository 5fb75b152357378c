"""What a right answer to a reasoning-gym problem looks like, where the task's own scorer does not ask for it.

Scorers of reasoning-gym 0.1.25 overlook what stands around the right answer, let other answers pass as near enough,
or take NaN for every number. A policy finds such gaps.
"""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from k15_plugins.rewards.plain_mathematics import plain_arithmetic

Entry = dict[str, Any]

_DIGITS = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBER = rf"[+-]?{_DIGITS}(?:[eE][+-]?\d\d?)?"
_WITH_COMMAS = r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
_BULLET = r"(?:(?:\d+[.):]|[-*])\s+)?"
_MOVE = rf"{_BULLET}Move disk \d+ from Peg \d+ to Peg \d+[.,;]?"
_TURN = r"[A-Za-z]{1,2}(?:'[1-3]?|[1-3]'?)?"
_CLOCK = r"\d+:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"

_FORMS = {
    "advanced_geometry": rf"{_NUMBER}\s*°?|\(?\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)?",
    "coin_flip": rf"{_NUMBER}(?:/\d+)?",
    "complex_arithmetic": r"[-+\d.ij()\s]+",
    "countdown": r"(?:[-+/()\d\s]|\*(?!\s*\*))+",
    "cryptarithm": r"[A-Za-z]\s*=\s*\d(?:\s*,\s*[A-Za-z]\s*=\s*\d)*",
    "decimal_arithmetic": _NUMBER,
    "decimal_chain_sum": _NUMBER,
    "fraction_simplification": r"\$?\s*(?:\\[dt]?frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}|\d+\s*/\s*\d+)\s*\$?",
    "gsm_symbolic": _WITH_COMMAS,
    "jugs": r'\[\s*"(?:fill [A-Z]|empty [A-Z]|pour [A-Z]->[A-Z])"'
    r'(?:\s*,\s*"(?:fill [A-Z]|empty [A-Z]|pour [A-Z]->[A-Z])")*\s*\]',
    "kakurasu": r"[01\s,\[\]]+",
    "number_format": rf"{_NUMBER}|{_WITH_COMMAS}",
    "power_function": _NUMBER,
    "prime_factorization": r"\d+(?:\s*×\s*\d+)*",
    "propositional_logic": r"[\w\s()∧∨¬→↔]+",
    "puzzle24": r"(?:[-+/()\d\s]|\*(?!\s*\*))+",
    "quantum_lock": r"[A-Ca-c](?:(?:\s*(?:→|->|,)\s*|\s+)?[A-Ca-c])*",
    "rubiks_cube": rf"{_TURN}(?:\s+{_TURN})*",
    "rush_hour": r"(?:[A-Z][+-]\d{1,2}[\s,]*)+",
    "sokoban": r"[UDLR\s,]+",
    "survo": r"[\d\s]+",
    "time_intervals": rf"-?\d+(?: days?)?|(?:-?\d+ days?,\s*)?{_CLOCK}",
    "tower_of_hanoi": rf"\s*{_MOVE}(?:[ \t]*\n\s*{_MOVE})*\s*",
}
# No text makes them slow: what is repeated begins with what cannot end it.
_PATTERNS = {task: re.compile(form, re.ASCII) for task, form in _FORMS.items()}


def has_form(answer: str, task: str) -> bool:
    """Whether an answer is written as an answer to this task is, with nothing around it.

    Args:
        answer: The answer.
        task: Name of the reasoning-gym task.

    Returns:
        True for a task whose scorer asks for it.
    """
    return task not in _PATTERNS or _PATTERNS[task].fullmatch(answer) is not None


def is_right(answer: str, task: str, entry: Entry) -> bool:
    """Whether an answer with full marks is right indeed.

    Args:
        answer: The answer, to which the task's scorer gives full marks.
        task: Name of the reasoning-gym task.
        entry: The problem's entry.

    Returns:
        True for a task whose full marks are sound.
    """
    try:
        return task not in _DEMANDS or _DEMANDS[task](answer, entry)
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
        return False


def _same_text(answer: str, entry: Entry) -> bool:
    return answer.casefold().split() == entry["answer"].casefold().split()


def _same_letters(answer: str, entry: Entry) -> bool:
    return "".join(answer.casefold().split()) == "".join(entry["answer"].casefold().split())


def _same_words(answer: str, entry: Entry) -> bool:
    return [word.strip() for word in answer.split(",")] == entry["metadata"]["sorted_words"]


def _same_json(answer: str, entry: Entry) -> bool:
    return answer.strip() == entry["answer"].strip() or _json(answer) == _json(entry["answer"])


def _same_length(answer: str, entry: Entry) -> bool:
    return len(_json(answer)) == len(entry["metadata"]["solution"])


def _same_day(answer: str, entry: Entry) -> bool:
    return _same_text(answer, entry) or Fraction(answer) == Fraction(entry["answer"])


def _same_numbers(answer: str, entry: Entry) -> bool:
    given, right = (_json(text.replace("'", '"')) for text in (answer, entry["answer"]))
    return [Fraction(str(number)) for number in given] == [Fraction(str(number)) for number in right]


def _same_pairs(answer: str, entry: Entry) -> bool:
    return sorted(_name_and_role(answer)) == sorted(_name_and_role(entry["answer"]))


def _name_and_role(text: str) -> list[tuple[str, str]]:
    words = [word for word in re.findall(r"[^\s.,()]+", text.casefold()) if word not in ("is", "a", "an", "and")]
    return list(zip(words[::2], words[1::2], strict=True))


def _near(answer: str, entry: Entry) -> bool:
    """Near by the share too: else 0 would be right where the chance is small."""
    right = Fraction(entry["answer"])
    return abs(Fraction(answer) - right) <= min(Fraction(1, 10_000), abs(right) / 1000)


def _same_rounded(answer: str, entry: Entry) -> bool:
    """Whether it is the right number, written with at least as many places as the scorer looks at."""
    right, given = Fraction(entry["answer"]), Fraction(answer)
    places = len(answer.partition(".")[2]) if "e" not in answer.casefold() else 0
    needed = min(len(entry["answer"].partition(".")[2].rstrip("0")), entry["config"].get("max_num_decimal_places", 3))
    if given == right:
        return True
    is_rounded = places >= needed and abs(given - right) < Fraction(1, 10**places)
    return is_rounded and abs(given - right) <= abs(right) / 10_000


def _same_number(answer: str, entry: Entry) -> bool:
    return Fraction(answer.replace(",", "")) == Fraction(entry["answer"].replace(",", ""))


def _same_candidate(answer: str, entry: Entry) -> bool:
    return abs(Fraction(answer.replace(",", "")) - Fraction(entry["metadata"]["solution"])) < Fraction(1, 2000)


def _same_cells(answer: str, entry: Entry) -> bool:
    """Whether each cell is the right one to two places, as it is asked for."""
    given, right = answer.split(), entry["answer"].split()
    return all(abs(Fraction(g) - Fraction(r)) <= Fraction(1, 200) for g, r in zip(given, right, strict=True))


def _only_solutions(answer: str, entry: Entry) -> bool:
    if not entry["answer"]:
        return answer in ('""', "''")
    given, right = answer.split(","), entry["answer"].split(",")
    return len(given) == len(right) and all(re.fullmatch(_NUMBER, number.strip()) for number in given)


def _each_letter_once(answer: str, entry: Entry) -> bool:
    letters = re.findall("[A-Za-z]", answer)
    return len(letters) == len(set(letters))


def _each_vertex_once(answer: str, entry: Entry) -> bool:
    return sorted(_json(answer)) == sorted(map(str, entry["metadata"]["puzzle"]["vertices"]))


def _uses_the_numbers_for_24(answer: str, entry: Entry) -> bool:
    return _comes_to(answer, 24, entry)


def _uses_the_numbers_for_the_target(answer: str, entry: Entry) -> bool:
    return _comes_to(answer, entry["metadata"]["target"], entry)


def _comes_to(answer: str, target: int, entry: Entry) -> bool:
    found = plain_arithmetic(answer)
    return found is not None and found[0] == target and sorted(found[1]) == sorted(entry["metadata"]["numbers"])


def _only_known_variables(answer: str, entry: Entry) -> bool:
    return set(re.findall(r"\w+", "".join(answer.split()))) <= set(entry["metadata"]["variables"])


def _no_shape_line(answer: str, entry: Entry) -> bool:
    return "Shape" not in answer


def _json(text: str) -> Any:
    """Read JSON in which no key stands twice and every number is one."""
    return json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refused)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _refused(constant: str) -> None:
    raise ValueError(constant)


_DEMANDS: dict[str, Callable[[str, Entry], bool]] = {
    "arc_agi": _no_shape_line,
    "calendar_arithmetic": _same_day,  # full marks for every number where the answer is negative
    "codeio": _same_json,
    "coin_flip": _near,
    "countdown": _uses_the_numbers_for_the_target,
    "cryptarithm": _each_letter_once,
    "decimal_arithmetic": _same_rounded,
    "figlet_font": _same_letters,
    "game_of_life": _same_json,
    "game_of_life_halting": _same_text,  # full marks for every answer
    "graph_color": _each_vertex_once,
    "gsm_symbolic": _same_number,
    "knights_knaves": _same_pairs,
    "letter_jumble": _same_text,
    "number_format": _same_candidate,
    "number_sorting": _same_numbers,
    "palindrome_partitioning": _same_length,
    "polynomial_equations": _only_solutions,
    "pool_matrix": _same_cells,
    "propositional_logic": _only_known_variables,
    "puzzle24": _uses_the_numbers_for_24,
    "rearc": _no_shape_line,
    "spell_backward": _same_text,
    "word_sorting": _same_words,
}
