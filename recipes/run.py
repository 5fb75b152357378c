"""Run a recipe: python recipes/run.py +recipe=kimi_rl."""

from k15_plugins.runs.cli import main

if __name__ == "__main__":
    main()
