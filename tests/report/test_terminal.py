"""What a run shows: lines of 80 columns, one an iteration, and in a real terminal what goes on below them."""

import io

import pytest
from rich.console import Console
from test_history import metric_lines

from k15_plugins.report.terminal import Terminal, duration


def written(terminal: Terminal) -> list[str]:
    return terminal.console.file.getvalue().splitlines()


def plain(**settings) -> Terminal:
    return Terminal(console=Console(file=io.StringIO(), width=settings.pop("width", 80)), began=0.0, **settings)


def test_a_line_an_iteration_and_held_out_figures_counted_alike():
    terminal = plain(max_steps=8, updates_per_iteration=2)
    for line in metric_lines(2):
        terminal.show(line)
    assert written(terminal) == [
        "held-out after iteration 0/4  right 0.000",
        "iteration 1/4  reward 0.00  right 0.00  |rho| 0.100  ETA 12 s",
        "iteration 2/4  reward 0.10  right 0.10  |rho| 0.100  ETA 8 s",
        "held-out after iteration 2/4  right 0.200",
    ]


def test_held_out_figures_in_the_middle_of_an_iteration_and_without_any():
    terminal = plain(max_steps=8, updates_per_iteration=2)
    terminal.show({"step": 3, "iteration": 1, "seconds": 0.0, "eval_k15/accuracy": 0.5})
    without_rollouts = plain(max_steps=8)
    without_rollouts.show({"step": 5, "iteration": 0, "seconds": 10.0, "loss": 0.25})
    without_rollouts.show({"step": 8, "iteration": 0, "seconds": 12.0, "eval_k15/accuracy": 0.5})
    assert written(terminal) == ["held-out after iteration 1.5/4  right 0.500"]
    assert written(without_rollouts) == ["update 5/8  loss 0.2500  ETA 6 s", "held-out after update 8/8  right 0.500"]


def test_the_pace_counts_iterations_that_no_line_was_logged_for():
    terminal = plain(max_steps=40, updates_per_iteration=2, done_steps=4)
    for step in (14, 20):
        terminal.show({"step": step, "iteration": step // 2 - 1, "seconds": float(step - 4), "reward": 0.5})
    assert written(terminal)[-1] == "iteration 10/20  reward 0.50  ETA 20 s"


@pytest.mark.parametrize(("width", "label"), [(80, 0), (200, 0), (75, 5)])
def test_no_line_is_wider_than_80_columns(width, label):
    terminal = plain(max_steps=80_000, updates_per_iteration=16, width=width)
    line = {
        "step": 16_000,
        "iteration": 999,
        "seconds": 0.0,
        "reward": -0.123,
        "k15/accuracy": 0.5,
        "completions/mean_length": 31_234.5,
        "k15/rho_abs_mean": 12.3,
    }
    terminal.show(line)
    terminal.show({"step": 16_000, "seconds": 1.0, "eval_k15/accuracy": 0.5, "eval_completions/mean_length": 31_234.5})
    first, held_out = written(terminal)
    assert first.startswith("iteration 1000/5000  reward -0.12  right 0.50  tokens 31234")
    assert "ETA" in first
    assert max(len(first), len(held_out)) + label <= 80
    assert "tokens 31234" in held_out


def test_lines_are_whole_and_literal_in_a_narrow_window():
    terminal = Terminal(8, 2, Console(file=io.StringIO(), width=30, force_terminal=True, color_system=None))
    terminal.doing("writing rollouts")
    for line in metric_lines(1):
        terminal.show(line)
    terminal.close()
    assert "held-out after iteration 0/4  right 0.000\n" in terminal.console.file.getvalue()


def test_a_terminal_keeps_the_lines_above_the_bar_and_loses_the_bar():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    terminal = Terminal(8, 2, console)
    terminal.doing("measuring held-out problems", 256, 512)
    shown = console.file.getvalue()
    for line in metric_lines(1):
        terminal.show(line)
    terminal.close()
    assert "0/4 iterations  measuring held-out problems 256/512" in shown
    text = console.file.getvalue()
    assert "iteration 1/4  reward 0.00" in text
    assert "1/4 iterations  measuring held-out problems" in text
    assert text.endswith("\x1b[2K")  # the line of the bar is wiped


def test_held_out_problems_are_counted_where_there_is_no_bar():
    quick, slow = plain(max_steps=8), plain(max_steps=8, every_seconds=0.0)
    for terminal in (quick, slow):
        for done in (256, 512, 768):
            terminal.doing("measuring held-out problems", done, 768)
        terminal.doing("writing rollouts")
    assert written(quick) == []
    assert written(slow) == ["measuring held-out problems 256/768", "measuring held-out problems 512/768"]


def test_a_terminal_without_utf8_is_written_to():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal = Terminal(8, 2, Console(file=file, width=80, force_terminal=True))
    terminal.doing("writing rollouts")
    for line in metric_lines(2):
        terminal.show(line)
    terminal.close()


def test_durations():
    assert [duration(each) for each in (0.4, 47.2, 720, 12_600)] == ["0 s", "47 s", "12 min", "3.5 h"]
