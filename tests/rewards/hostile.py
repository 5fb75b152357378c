"""Answers that try to run code in a scorer, to take it over, or to overwhelm it."""

TAKE_OVER = (
    "import k15_plugins.rewards.score_reasoning_gym as m; "
    "m._scorer=lambda *a: type(chr(65), (), dict(score_answer=lambda *a: 1.0))(); m._NAMES.clear(); "
    "m.has_form=m.is_right=lambda *a: True"
)
ISSUE = "x.__class__._eval_subs.__globals__['__builtins__']['exec']({code!r})"


def payloads(code, canary):
    """Ways to run code, or to write to a file, from within an expression."""
    touch = f"__import__('pathlib').Path({canary!r}).touch()"
    letters = "+".join(f"chr({ord(letter)})" for letter in code)
    return [
        ISSUE.format(code=code),
        f"__import__('builtins').exec({code!r})",
        touch,
        f"[{touch}]",
        f"[[{touch}]]",
        f"({touch},)",
        f"{{'a': {touch}}}",
        f"open({canary!r}, 'w').close()",
        f"eval({touch!r})",
        f"exec({letters})",
        f"sympify({touch!r})",
        f"lambda: {touch}",
        f"(lambda: {touch})()",
        f"[{touch} for a in [1]]",
        f"f'{{{touch}}}'",
        f"().__class__.__base__.__subclasses__()[0].__init__.__globals__ or {touch}",
        f"ｅｘｅｃ({code!r})",
        f"__import__\n('pathlib').Path({canary!r}).touch()",
        f"789 if {touch} else 2",
        f"sin(x, key={touch})",
        f"exp(*[{touch}])",
        f"Symbol('x').__class__._eval_subs.__globals__['__builtins__']['exec']({code!r})",
        f"S({touch!r})",
        f"789; {touch}",
    ]


def malformed(canary):
    """Texts that overwhelm a parser, or that formatting, unpickling or a shell would run."""
    return [
        "9**9**9**9",
        "(" * 100_000 + "1" + ")" * 100_000,
        "1\x00" + f"__import__('os').system('touch {canary}')",
        f"cposix\nsystem\n(S'touch {canary}'\ntR.",
        "{0.__class__.__init__.__globals__}%s%n{x!r:>{y}}",
        f"$(touch {canary}) `touch {canary}`; touch {canary} #",
        f"!!python/object/apply:os.system ['touch {canary}']",
        f'{{"__reduce__": ["os.system", "touch {canary}"]}}',
        rf"\input{{|touch {canary}}} \write18{{touch {canary}}}",
    ]
