"""eirnn-np study: one study of the algorithm."""

from .output import print_json, say


def add_arguments(parser):
    from ..study import STUDIES

    listed = "; ".join(f"{name}: {text}" for name, text in STUDIES.items())
    parser.add_argument("name", choices=STUDIES, metavar="NAME", help=listed)
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="take network, task, sizes and learning rate from this run folder"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="how many: 0, 1000, 2000 ... (default: 5)")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="training steps of each network (default: the study's own)"
    )
    parser.add_argument("--workers", type=int, metavar="N",
                        help="processes (default: a core each); the numbers do not depend on it")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="(default: the next free studies/NAME-NNN)")
    parser.add_argument("--json", action="store_true", help="print what numbers.json holds, and nothing else")


def run(arguments):
    from .. import study

    numbers, paths = study.carry_out(arguments.name, arguments.run, arguments.seeds, arguments.steps, arguments.out,
                                     arguments.workers)  # fmt: skip
    if arguments.json:
        return print_json(numbers)
    say(study.table(numbers))
    for path in paths:
        say(path)
