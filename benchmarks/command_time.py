"""How long `k15 --help` and a composed config take, in seconds on the clock: the wait before anything is seen.

`python benchmarks/command_time.py` prints the median and the range of some calls.
"""

import argparse
import statistics
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for words in (["--help"], ["+recipe=kimi_rl", "--cfg", "job", "--resolve"]):
        seconds = []
        for _ in range(rounds):
            began = time.monotonic()
            subprocess.run([sys.executable, "-m", "k15_plugins", *words], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.monotonic() - began)
        print(f"k15 {' '.join(words)}: {statistics.median(seconds):.2f} [{min(seconds):.2f}, {max(seconds):.2f}] s")


if __name__ == "__main__":
    main()
