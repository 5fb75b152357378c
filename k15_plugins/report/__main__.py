"""Write the report of a run again: python -m k15_plugins.report RUN_DIR."""

import sys

from k15_plugins.extras import optional_import

if len(sys.argv) != 2:
    sys.exit("usage: python -m k15_plugins.report RUN_DIR")
try:
    with optional_import():
        from k15_plugins.report.page import write_report
    print(write_report(sys.argv[1]))
except (ValueError, ModuleNotFoundError) as error:
    sys.exit(f"k15: {error}")
