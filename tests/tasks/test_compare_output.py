"""Each way of comparing, on what it must tell apart."""

import pytest

from k15_plugins.tasks.compare_output import COMPARISONS


@pytest.mark.parametrize(
    ("name", "given", "expected", "same"),
    [
        ("exact", b"1 2\n", b"1 2", True),
        ("exact", b"1 2  \n\n\n", b"1 2\n", True),
        ("exact", b"1\r\n2\r\n", b"1\n2\n", True),
        ("exact", b"1  2", b"1 2", False),
        ("exact", b" 1 2", b"1 2", False),
        ("exact", b"1\n\n2", b"1\n2", False),
        ("tokens", b"1\n2", b"1 2", True),
        ("tokens", b"1 2 3", b"1 2", False),
        ("tokens", b"1.0", b"1", False),
        ("tokens", b"", b"", True),
        ("tokens", b"Yes", b"YES", False),
        ("floats", b"0.3333334", b"0.33333333", True),
        ("floats", b"0.3334", b"0.33333333", False),
        ("floats", b"1000000.5", b"1000000.0", True),  # 5e-7 of it
        ("floats", b"1000002.0", b"1000000.0", False),
        ("floats", b"3", b"3.0", True),
        ("floats", b"3.0", b"3", False),
        ("floats", b"3.0000001", b"3", False),
        ("floats", b"1e3", b"1000.0", True),
        ("floats", b"nan", b"1.0", False),
        ("floats", b"inf", b"1e400", False),
        ("floats", b"1_0.0", b"10.0", False),
        ("floats", b"YES 0.5", b"YES 0.50", True),
        ("floats", b"NO 0.5", b"YES 0.5", False),
        ("floats", b"1.0 1.0", b"1.0", False),
        ("lines", b" 1 \n2\n", b"1\n2", True),
        ("lines", b"1.0 2", b"1 2.0", True),
        ("lines", b"1 2", b"1\n2", False),
        ("lines", b"sNaN", b"1", False),
        ("lines", b"\xff", b"1", False),
        ("value", b"[1, 2]", b"[1,2]", True),
        ("value", b"[1, 2]", b"[2, 1]", False),
        ("value", b"1.0", b"1", True),
        ("value", b"NaN", b"NaN", False),
        ("value", b"[" * 100_000, b"[]", False),
        ("value", b"", b"null", False),
        ("value", b"9" * 10_000, b"1", False),
    ],
)
def test_what_counts_as_equal(name, given, expected, same):
    assert COMPARISONS[name](given, expected) is same


def test_no_underscore_is_a_part_of_a_number_and_what_is_far_too_long_is_not_read():
    assert COMPARISONS["lines"](b"1.0", b"1")
    assert not COMPARISONS["lines"](b"1_0", b"10")
    assert COMPARISONS["value"](b"[1, 2]" + b" " * 4000, b"[1, 2]")
    assert not COMPARISONS["value"](b"[1, 2]" + b" " * 5000, b"[1, 2]")
