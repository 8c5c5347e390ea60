"""The command eirnn-np. Parses, calls, and turns an error into one line and an exit status.

0 success; 1 a failure; 2 a usage error; 130 Ctrl-C, 143 SIGTERM. Each command is a module here, with
`add_arguments(parser)` and `run(arguments)`, which returns an exit status or None; it is imported when the command is
asked for, and imports the rest of the package when it runs, so that help and usage errors come at once.
"""

import os
import sys
import traceback

from .. import __version__
from ..notices import at_a_terminal, told_by
from ..runs.lines import unstoppable
from .output import any_character, drop_the_rest, fail, loudness, say, warnings_of_one_line
from .parser import Command, Parser

# Module (a hyphen for an underscore): what it does. In the order of --help.
COMMANDS = {
    "train": "Train a network on a task, evaluate it, draw it, and leave a run folder.",
    "sweep": "Train many networks: seeds and grids of options, on all cores or on a cluster; a table and figures.",
    "evaluate": "Evaluate a trained run on new trials and rewrite its evaluation.json.",
    "figures": "Draw the figures of a trained run again.",
    "report": "Write one HTML page of a trained run: settings, results, figures; opens offline.",
    "gradcheck": "Check the gradients against finite differences, plain NumPy, and torch if installed.",
    "study": "Study the algorithm: numbers, a figure and a table (docs/study.md).",
    "bench": "Measure this machine: the step, its share of the FMA peak, the same bytes; or compare machines.",
    "paper": "Train the networks of Song, Yang & Wang (2016) to criterion and draw their figures (docs/paper.md).",
    "golden": "Write a file to check a port against, or compare a port's file with it.",
}


def main(argv=None):
    """Run one command; returns the exit status."""
    any_character()
    try:
        arguments = make_parser().parse_args(argv)
        loudness(arguments.quiet)
        return _run(arguments)
    except KeyboardInterrupt as stopped:
        return fail(str(stopped) or "stopped", getattr(stopped, "status", 130))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing is left to say
        return 1
    except ValueError as error:
        return fail(error, 2)
    except MemoryError:
        return fail("out of memory: try smaller sizes", 1)
    except OSError as error:
        what = error.strerror or error
        return fail(f"{error.filename}: {what}" if error.filename else what, 1)
    except RuntimeError as error:
        return fail(error, 1)
    except ImportError as error:  # a dependency that --no-deps has left out, or one that does not fit another
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
        return fail(f"{error}; pip install {missing}" if missing else error, 1)
    finally:
        drop_the_rest()


def _run(arguments):
    try:
        # Where standard output is a script's, JSON and nothing else, only a terminal is told what is compiled.
        tell = at_a_terminal if getattr(arguments, "json", None) is True else say
        with warnings_of_one_line(), told_by(unstoppable(tell)):
            _check_environment()
            return arguments.command(arguments) or 0
    except Exception:
        if arguments.verbose:
            traceback.print_exc()
        raise


def _check_environment():
    """RuntimeError for a number of threads that would end the import of Numba, with a traceback."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.strip().lstrip("-").isdigit() and int(asked) < 1:
        raise RuntimeError(f"NUMBA_NUM_THREADS must be at least 1, found {asked}: correct it, or unset it")


def make_parser():
    """The parser of the whole command; what `choices` of its one positional holds are those of the commands."""
    parser = Parser(
        prog="eirnn-np", description="Train, evaluate and draw excitatory-inhibitory RNNs (Song, Yang & Wang 2016)."
    )
    parser.add_argument("--version", action="version", version=f"eirnn-np {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Command)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, description=text, module=f"{__name__}.{name.replace('-', '_')}")
    return parser
