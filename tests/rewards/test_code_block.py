"""Which text of a response is its program."""

import pytest

from k15_plugins.rewards.code_block import code_block


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```py\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```Python3\r\nprint(1)\r\n```", "print(1)\n"),
        ("```python\nfirst\n```\nBetter:\n```python\nlast\n```", "last\n"),
        ("~~~python\nprint(1)\n~~~", "print(1)\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("  ```python\n  if 1:\n      print(1)\n  ```", "if 1:\n    print(1)\n"),
        ("1. So:\n   ```python\n   print(1)\n\n   ```", "print(1)\n\n"),
        ("```python\ns = 'a\u2028b\x0cc'\n```", "s = 'a\u2028b\x0cc'\n"),
        ("```python3.11\nprint(1)\n```", "print(1)\n"),
        ("```pypy3\nprint(1)\n```", "print(1)\n"),
        ("```{.python}\nprint(1)\n```", "print(1)\n"),
        ("```{python, echo=true}\nprint(1)\n```", "print(1)\n"),
        ("```pythonic\nprint(1)\n```", None),
        ("```python title=x\nprint(1)\n```", "print(1)\n"),
        ("<think>```python\nprint(0)\n```</think>\n```python\nprint(1)\n```", "print(1)\n"),
        ("```python\n```", "\n"),
        ("<think>```python\nprint(0)\n```</think> It is 0.", None),
        ("<think> I wrote\n```python\n</think>\nNo program.", None),
        ("print(1)", None),
        ("", None),
        ("```python\nprint(1)", None),
        ("```python\nfirst\n```\nBetter:\n```python\nprint(", None),
        ("```cpp\nint main(){}\n```", None),
        ("```python\nprint(1)\n```\nIt prints\n```text\n1\n```", None),
        ("Use ```print(1)``` for it.", None),
    ],
)
def test_the_last_closed_block_after_the_thinking(text, program):
    assert code_block(text) == program


def test_cpp():
    assert code_block("```c++\nint main(){}\n```", "cpp") == "int main(){}\n"
    assert code_block("```python\nprint(1)\n```", "cpp") is None
