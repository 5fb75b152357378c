"""Run a recipe from anywhere: python -m k15_plugins +recipe=kimi_rl."""

from k15_plugins.runs.cli import main

main()
