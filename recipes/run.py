"""Run a recipe: python recipes/run.py +recipe=kimi_rl."""

from k15_plugins.__main__ import main

if __name__ == "__main__":
    main()
