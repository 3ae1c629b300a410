"""The long fuzz: mutated inputs of every instrument, outcome classes, time and peak memory.

``python bench/fuzz.py [--inputs 2000] [--instrument NAME]... [--first SEED] [--out FILE]``: prints a table, and every
try that was neither refused nor made into a product; the file has all of them as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import perijove  # noqa: F401  (claims the project's package names)
from pipeline import registry
from pipeline.testing.fuzz import GOOD, Fuzzer, Try, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000, help="of each instrument")
    parser.add_argument("--instrument", action="append", help="only this one; may be repeated")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--folder", type=Path, help="where simulated passes are kept")
    parser.add_argument("--out", type=Path, help="JSON lines of all tries")
    arguments = parser.parse_args()
    names = arguments.instrument or [i.name for i in registry.available() if i.simulate]
    tries: list[Try] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            fuzzer = Fuzzer(name, (arguments.folder or Path(scratch)) / name)
            for one in fuzzer.tries(range(arguments.first, arguments.first + arguments.inputs)):
                tries.append(one)
                if one.outcome not in GOOD:
                    print(one, flush=True)
                if arguments.out:
                    with arguments.out.open("a") as file:
                        file.write(json.dumps(asdict(one)) + "\n")
    for row in table(tries):
        print("  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
