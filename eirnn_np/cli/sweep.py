"""eirnn-np sweep: many networks, from their start or from where they stopped."""

import contextlib

from . import train
from .output import fail, say
from .parser import Given, given_options


def add_arguments(parser):
    group = parser.add_argument_group("sweep")
    group.add_argument(
        "--seeds", metavar="0:20", help="a network for each: 0:20 is 0 to 19; 0:100:10; 1,4,9 (default: 0)"
    )
    group.add_argument("--grid", action="append", default=[], metavar="NAME=A,B", help="a network for each value of an "
                       "option below (lr, sigma_rec, hidden ...); of several grids, for every combination")  # fmt: skip
    group.add_argument("--out", metavar="DIR", help="its folder (default: the next free sweeps/sweep-NNN)")
    group.add_argument("--resume", metavar="DIR", help="go on with this sweep after a kill, a reboot, a lost node")
    group.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: a core each)")
    group.add_argument("--scheduler", metavar="ADDRESS", help="of dask, such as tcp://HOST:8786: its workers train "
                       "(docs/sweeps.md)")  # fmt: skip
    group.add_argument("--scheduler-file", metavar="FILE", help="that dask scheduler wrote, in place of its address")
    group.add_argument("--retries", type=int, default=1, metavar="N",
                       help="tries more for a network whose worker died, from its checkpoint")  # fmt: skip
    train.add_options(parser, alone=False)
    group.add_argument("--max-trials", action=Given, type=int, metavar="N",
                       help="of a task of the paper (--task song2016/rdm_dense): end there at the latest")  # fmt: skip


OWN = ("resume", "seeds", "out", "workers", "scheduler", "scheduler_file", "retries")  # no options of a network


def run(arguments):
    from .. import sweeps
    from ..sweeps.cluster import connect
    from ..sweeps.plan import parse_grid, parse_seeds

    given = {name: value for name, value in given_options(arguments).items() if name not in OWN}
    if arguments.scheduler and arguments.scheduler_file:
        raise ValueError("--scheduler and --scheduler-file are two ways to say one thing: give one of them")
    if arguments.workers is not None and (arguments.scheduler or arguments.scheduler_file):
        raise ValueError("--workers are those of this machine; those of a scheduler are its own")
    if arguments.resume is not None:
        extra = [name for name in ("seeds", "out") if getattr(arguments, name)] + ["grid"] * bool(arguments.grid)
        extra += [name.replace("_", "-") for name in given]
        if extra:
            raise ValueError(
                f"--{extra[0]} cannot be given with --resume: {arguments.resume} holds what its networks are"
            )
    else:
        grid = {}
        for text in arguments.grid:
            name, values = parse_grid(text)
            if name in grid:
                raise ValueError(f"--grid {name} is given twice: put its values into one")
            grid[name] = values
        seeds = [0] if arguments.seeds is None else parse_seeds(arguments.seeds)
        plan = sweeps.Plan(given, grid, seeds)
    how = {
        "workers": arguments.workers,
        "retries": arguments.retries,
        "figures": not arguments.no_figures,
        "report": say,
    }
    with contextlib.ExitStack() as stack:
        if arguments.scheduler or arguments.scheduler_file:
            how["executor"] = stack.enter_context(connect(arguments.scheduler, arguments.scheduler_file))
        if arguments.resume is not None:
            table = sweeps.resume_sweep(arguments.resume, **how)
        else:
            table = sweeps.sweep(plan, arguments.out, **how)
    failed = int((table["status"] == "failed").sum())
    return fail(f"{failed:,} of {len(table['run']):,} networks failed; results.csv has the reasons", 1) if failed else 0
