"""eirnn-np paper: the networks of Song, Yang & Wang (2016), trained to criterion, and their figures."""

import argparse

from ..song2016.names import MAX_TRIALS, NAMES, OMEGA, OUT, read_seeds
from .output import print_json, say


def add_arguments(parser):
    parser.add_argument(
        "name", metavar="NAME", choices=(*NAMES, "all", "figures"),
        help=f"a task ({', '.join(NAMES)}), all of them, or figures, which draws what a folder holds",
    )  # fmt: skip
    parser.add_argument("folder", nargs="?", metavar="DIR", help="of figures: the folder that was --out")
    parser.add_argument("--seeds", type=_seeds, default=[0], metavar="N",
                        help="how many networks, from seed 0; or which: 3-7, or 0,2,10-12 (default: 1)")  # fmt: skip
    parser.add_argument("--out", default=None, metavar="DIR",
                        help=f"run folders are DIR/NAME/seed-000, figures DIR/figures; what is there "
                             f"goes on (default: {OUT})")  # fmt: skip
    parser.add_argument("--omega", type=float, default=OMEGA, metavar="L", help="factor of the regulariser Omega")
    parser.add_argument("--max-trials", type=int, default=MAX_TRIALS, metavar="N",
                        help="end a training that has not reached its target by then")  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N",
                        help="networks side by side, a process each (default: those there are cores for)")  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="of a network (default: 1; all cores for one network "
                        "alone); the result does not depend on it")  # fmt: skip
    parser.add_argument("--no-figures", action="store_true", help="train only")
    parser.add_argument("--json", action="store_true", help="print what each result.json holds, and nothing else")


def run(arguments):
    from ..runs.lines import unstoppable
    from ..song2016 import paper
    from ..song2016.claims import judge

    report = (lambda line: None) if arguments.json else unstoppable(say)
    if arguments.name == "figures":
        out = arguments.folder or arguments.out or OUT
        for path in paper.draw(out, report):
            report(str(path))
    else:
        if arguments.folder is not None:
            raise ValueError(f"unexpected {arguments.folder!r}: the folder of the runs is given by --out")
        out = arguments.out or OUT
        paper.carry_out(
            arguments.name, arguments.seeds, out, omega=arguments.omega, max_trials=arguments.max_trials,
            threads=arguments.threads, workers=arguments.workers, figures=not arguments.no_figures, report=report,
        )  # fmt: skip
    if arguments.json:
        return print_json([found.result for found in paper.find_runs(out)])
    if arguments.name == "figures" or not arguments.no_figures:
        for verdict in judge(paper.collect(out, report)):
            if verdict.found != "not trained":
                report(
                    f"{verdict.verdict:16}  figure {verdict.figure}, {verdict.task}: {verdict.text} ({verdict.found})"
                )


def _seeds(text):
    try:
        return read_seeds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
