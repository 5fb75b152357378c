"""The command `k15`, which is `python -m k15_plugins` too: k15 +recipe=kimi_rl."""

import sys

from k15_plugins.extras import optional_import


def main() -> None:
    """Run the command line."""
    try:
        with optional_import():
            from k15_plugins.runs.cli import main as run
    except ModuleNotFoundError as error:
        print(f"k15: {error}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
