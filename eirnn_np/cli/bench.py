"""eirnn-np bench: how fast this machine is, verified, and several machines side by side."""

from pathlib import Path

from .output import fail, say


def add_arguments(parser):
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured, to compare it later")
    parser.add_argument("--compare", nargs="+", metavar="FILE", help="measure nothing: such files side by side")
    parser.add_argument("--figure", metavar="PNG",
                        help="draw it (with --compare by default: the next free bench-NNN.png)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S",
                        help="for the rounds of steps; some ten seconds more for the rest (default: 20)")  # fmt: skip
    parser.add_argument("--float64", action="store_true", help="verify the bytes of a training in float64, too")
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it run?")


def run(arguments):
    from .. import bench
    from ..checks import check_float
    from ..figures import save_figure
    from ..files import write_json

    if arguments.compare:
        results = [bench.read_result(path) for path in arguments.compare]
        say(bench.comparison(results))
        path = arguments.figure or _next_free()
    else:
        seconds = check_float("--seconds", arguments.seconds, above=0)
        for path in filter(None, (arguments.json, arguments.figure)):  # before a minute's work, not after
            if not Path(path).resolve().parent.is_dir():
                raise ValueError(f"{path} cannot be written: there is no folder {Path(path).parent}")
        results = [bench.measure(seconds, arguments.float64, arguments.quick, say)]
        path = arguments.figure
        if arguments.json:
            write_json(arguments.json, results[0])
            say(f"Numbers in {arguments.json}; eirnn-np bench --compare FILE FILE ... puts machines side by side")
    if path:
        save_figure(path, bench.draw(results))
        say(f"Figure in {path}")
    errors = [error for result in results for error in result["errors"]]
    return fail("; ".join(errors), 1) if errors else 0


def _next_free():
    return next(path for k in range(1, 1000) if not (path := Path(f"bench-{k:03}.png")).exists())
