"""What a model is asked for: a program that writes inputs for a problem (paper 2.3.5), and how it is read."""

from collections.abc import Sequence
from typing import Any

from k15_plugins.code_tests.usage import USAGE
from k15_plugins.rewards.answers import response_text
from k15_plugins.rewards.code_block import code_block
from k15_plugins.rewards.final_answer import Completion

_PROMPT = """Write a Python program that prints a random input for a programming problem.

It uses the library CYaRon 0.7.0. This program shows how it is used:

```python
{usage}
```

Rules for your program:
- It prints one input, in exactly the form and within all limits that the problem gives.
- Each run prints another input: small ones, large ones, and those where programs go wrong.
- It draws by CYaRon or by the module random, which is seeded already. Do not seed it, and read no clock.
- It does not solve the problem, starts no other program, and reads nothing.

The problem:

{problem}

Write the whole program in one block of code, as in
```python
from cyaron import *
# your program
```"""


def generator_prompt(statement: str) -> str:
    """Ask for a generator.

    Args:
        statement: Of the problem.
    """
    return _PROMPT.format(usage=USAGE, problem=statement.strip())


def generator_in(response: str) -> str | None:
    """Find the generator in a response: its last block of code, if that is Python.

    Args:
        response: What a model wrote.

    Returns:
        The source, or None.
    """
    source = code_block(response)
    try:
        compile(source or "", "generator.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return source


def has_generator(completions: Sequence[Completion], **_: Any) -> list[float]:
    """Tell responses with a program from those without one, as a reward function.

    Args:
        completions: Responses, plain or as messages.
        _: TRL's other arguments, not used.

    Returns:
        1.0 for a program, be it useful or not, else 0.0.
    """
    return [float(generator_in(response_text(each)) is not None) for each in completions]
