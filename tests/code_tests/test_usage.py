"""The text on CYaRon that a model gets is about the installed package: every line runs, every argument is known."""

import ast
import contextlib
import importlib
import inspect
import io
from importlib.metadata import version

import cyaron
import pytest

from k15_plugins.code_tests.prompt import generator_in, generator_prompt, has_generator
from k15_plugins.code_tests.usage import USAGE


def calls() -> list[ast.Call]:
    """The calls of the text that lead to CYaRon's own classes."""
    found = [node for node in ast.walk(ast.parse(USAGE)) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(function(call), type(lambda: 0))]


def function(call: ast.Call):
    """What a call calls, if it can be told from its text: Graph.tree, or a method of an IO or a Graph."""
    classes = {"io": cyaron.IO, "g": cyaron.Graph, "p": cyaron.Polygon, "s": cyaron.Sequence}
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        home = classes.get(call.func.value.id) or getattr(cyaron, call.func.value.id)
        return getattr(home, call.func.attr)
    if isinstance(call.func, ast.Name):
        called = getattr(cyaron, call.func.id, None)
        return called.__init__ if inspect.isclass(called) else called
    return None


def test_it_is_about_the_version_that_is_installed():
    assert version("cyaron") == "0.7.0"
    assert "CYaRon 0.7.0" in generator_prompt("")
    assert not hasattr(cyaron, "Tree")
    assert not hasattr(cyaron, "VectorRandomMode")


def test_the_program_runs_from_its_first_line_to_its_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as written:
        exec(compile(USAGE, "usage.py", "exec"), {})
    assert written.getvalue()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["case1.in", "case2.in"]


def test_every_argument_that_it_names_is_known_to_the_function():
    assert len(calls()) > 35
    for call in calls():
        called = function(call)
        parameters = inspect.signature(called).parameters
        # Functions of CYaRon take anything as **kwargs; what they make of it stands in their sources.
        source = inspect.getsource(importlib.import_module(called.__module__)) if "kwargs" in parameters else ""
        for keyword in call.keywords:
            known = keyword.arg in parameters or f'kwargs.get("{keyword.arg}"' in source
            assert known, f"{ast.unparse(call)}: {keyword.arg}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Vector.random(5, [(1, 100), 10])", lambda made: len(made) == 5 and all(len(each) == 2 for each in made)),
        ("String.random((5, 10), charset='ab01')", lambda made: 5 <= len(made) <= 10 and set(made) <= set("ab01")),
        ("Graph.tree(10, 0.4, 0.3, weight_limit=9)", lambda made: made.edge_count() == 9),
        ("Graph.forest(10, 3)", lambda made: made.edge_count() == 7),
        ("Graph.flower(10)", lambda made: len(made.edges[1]) == 9),
        ("Sequence(lambda i, f: f(i - 1) + 2 * f(i - 2), [1, 1]).get(1, 5)", lambda made: made == [1, 3, 5, 11, 21]),
        ("Vector.random_float_vector(5, [(0.0, 1.0)])", lambda made: all(0 <= each[0] <= 1 for each in made)),
    ],
)
def test_what_it_says_of_a_call_is_so(name, value):
    assert value(eval(name, vars(cyaron).copy()))


def test_the_prompt_holds_the_usage_and_the_problem():
    prompt = generator_prompt("Print {n} numbers.\n")
    assert USAGE in prompt
    assert "Print {n} numbers." in prompt


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("Here it is:\n```python\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```python\nprint(1)\n```\nor better\n```\nprint(2)\n```", "print(2)\n"),
        ("```python\nprint(1", None),  # cut off
        ("```python\nprint(1\n```", None),
        ("```cpp\nint main() {}\n```", None),
        ("print(1)", None),
        ("```python\nx = '\0'\n```", None),
    ],
)
def test_the_generator_is_the_last_block_that_is_python(response, right):
    assert generator_in(response) == right
    message = [{"role": "assistant", "content": response}]
    assert has_generator([response, message], prompts=None) == [float(right is not None)] * 2
