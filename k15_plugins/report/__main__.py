"""Write the report of a run again: python -m k15_plugins.report RUN_DIR."""

import sys

from k15_plugins.report.page import write_report

if len(sys.argv) != 2:
    sys.exit("usage: python -m k15_plugins.report RUN_DIR")
try:
    print(write_report(sys.argv[1]))
except ValueError as error:
    sys.exit(f"k15: {error}")
