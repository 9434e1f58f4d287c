"""Seconds of `p2net --help` beside those of a bare typer app: `python tests/help_time.py [ROUNDS]`."""

import statistics
import subprocess
import sys
import time

BARE = """
import typer
app = typer.Typer(help="A bare app.", rich_markup_mode="markdown")
@app.command(epilog="Example: `bare one`")
def one(number: int = 0):
    "One verb."
@app.command(epilog="Example: `bare two`")
def two(number: int = 0):
    "Another verb."
app()
"""
COMMANDS = {"bare typer": ["-c", BARE, "--help"], "p2net": ["-m", "p2net_tf", "--help"]}


def main(rounds: int) -> None:
    seconds = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, words in COMMANDS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - begin)
    for name, measured in seconds.items():
        print(f"{name:12} median {statistics.median(measured):.3f} s, least {min(measured):.3f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
