"""The final answer of a response."""

import pytest

from k15_plugins.rewards.answers import (
    AFTER_ANSWER,
    ANSWER_TAGS,
    boxed_answer,
    compile_pattern,
    final_answer,
    response_text,
)


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        (AFTER_ANSWER, "4 + 3 = 7 , 7 - 2 = 5 answer 5", "5"),
        (AFTER_ANSWER, "answer 4 . check : wrong . answer -5 ", "-5"),
        (AFTER_ANSWER, "So the Answer is: 1/2", "1/2"),
        (AFTER_ANSWER, "answer 4 5", "4 5"),
        (AFTER_ANSWER, "answer 4\n5", "4\n5"),
        (AFTER_ANSWER, "answer 4 answer", None),
        (AFTER_ANSWER, "answer", None),
        (AFTER_ANSWER, "answered 5", None),
        (AFTER_ANSWER, "5", None),
        (AFTER_ANSWER, "", None),
        (ANSWER_TAGS, "<answer>4</answer> no, <answer> 5\n</answer>\n", "5"),
        (ANSWER_TAGS, "<answer>4</answer> or 5", None),
        (ANSWER_TAGS, "<answer>4", None),
        (ANSWER_TAGS, "<answer>4 <answer>5</answer>", "5"),
        (ANSWER_TAGS, "<answer> </answer>", None),
        (r"####(.+)|= (\d+)", "#### 3", "3"),
        (r"\d+", "1 2 3", "3"),
    ],
)
def test_only_the_last_match_counts_and_nothing_may_follow_it(pattern, text, answer):
    assert final_answer(text, compile_pattern(pattern)) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"It is \boxed{4}, no, $\boxed{\frac{1}{\sqrt{2}}}$.", r"\frac{1}{\sqrt{2}}"),
        (r"Janet makes \boxed{18} dollars every day.", "18"),
        (r"\begin{aligned} x &= 2 \\ &= \boxed{4} \end{aligned}", "4"),
        (r"\boxed{a_{b_{c_{d_{e_{f}}}}}}", "a_{b_{c_{d_{e_{f}}}}}"),
        (r"A set {1, 2 in the text, then \boxed{\{1, 2\}} and }", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed{6 \boxed{7}}", "7"),
        (r"\fbox{4}", "4"),
        (r"$\boxed {4}$", "4"),
        (r"$\boxed 4$", "4"),
        (r"\boxed{4}. Write it as \boxed{}.", "4"),
        (r"\boxed{ }", None),
        (r"\boxed{4", None),
        (r"\boxed{4} or \boxed{5", None),
        (r"the answer is 4", None),
        # Boxes side by side are the parts of one answer.
        (r"The roots are $\boxed{1}$ and $\boxed{2}$.", "1, 2"),
        (r"\boxed{6} \text{ or } \boxed{7}", "6, 7"),
        (r"\boxed{7}, \boxed{7}", "7"),
        (r"$\boxed{6}$ is wrong, so $\boxed{7}$", "7"),
    ],
)
def test_the_last_box_is_the_answer(text, answer):
    assert boxed_answer(text) == answer


@pytest.mark.parametrize(
    "piece", [r"\boxed{", "{", r"\boxed{{{{{", r"\boxed{1}", r"\boxed{1} and or ", "and ", "}", r"\boxed "]
)
def test_no_response_makes_boxes_slow(piece):
    boxed_answer(piece * (40_000 // len(piece)))


@pytest.mark.parametrize("pattern", [AFTER_ANSWER, ANSWER_TAGS])
@pytest.mark.parametrize("piece", ["answer ", "<answer>", r"\boxed{", "{", r"\boxed{{{{{", "a", "answer is: "])
def test_no_response_makes_a_pattern_slow(pattern, piece):
    final_answer(piece * (40_000 // len(piece)), compile_pattern(pattern))  # a quadratic pattern takes minutes


def test_the_last_message_is_the_response():
    messages = [{"role": "assistant", "content": "answer 1"}, {"role": "assistant", "content": "answer 2"}]
    assert response_text(messages) == "answer 2"
    assert response_text([{"role": "assistant", "content": [{"type": "text", "text": "answer 3"}]}]) == "answer 3"
    assert response_text([{"role": "assistant", "content": None, "tool_calls": []}]) == ""
    assert response_text([]) == ""


def test_a_wrong_pattern_is_refused():
    with pytest.raises(ValueError, match=r"answer_pattern must be a regular expression, got '\('"):
        compile_pattern("(")
