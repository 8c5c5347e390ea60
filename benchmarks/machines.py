"""Every machine that `eirnn-np bench --json` was run on, side by side.

    eirnn-np bench --json benchmarks/results/machines/NAME.json     on the machine
    python benchmarks/machines.py [--check]                          fills the table of README.md, and the figure

Results of one kind of registers stand in one table: AVX-512, AVX2, NEON. --check only says whether the page is current.
"""

import argparse
import sys
from pathlib import Path

import common

from eirnn_np import bench

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "results" / "machines", FOLDER / "README.md"


def tables(results):
    """A table for each kind of registers, the widest first."""
    kinds = sorted({(-r["vectors"]["bytes"], r["vectors"]["kind"]) for r in results})
    parts = []
    for _, kind in kinds:
        parts.append(f"**{kind}**\n\n" + bench.comparison([r for r in results if r["vectors"]["kind"] == kind]))
    return "\n\n".join(parts) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="status 1 if the table is not that of the files")
    arguments = parser.parse_args(argv)
    results = [bench.read_result(path) for path in sorted(RESULTS.glob("*.json"))]
    if not results:
        parser.error(f"no results in {RESULTS}: eirnn-np bench --json makes one")
    text = tables(results)
    if arguments.check:
        return 0 if f"<!-- machines -->\n{text}<!-- /machines -->" in PAGE.read_text() else 1
    common.fill_marked(PAGE, "machines", text)
    common.write_figure(RESULTS.parent / "machines.png", bench.draw(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
