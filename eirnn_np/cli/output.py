"""What a command prints: lines for a person, JSON for a script, one line for an error."""

import contextlib
import json
import os
import sys
import warnings


class _Output:
    """How much the command that runs prints."""

    quiet = False


def loudness(quiet):
    """Set what `say` does from here on."""
    _Output.quiet = quiet


def say(line):
    """A line for a person: nothing if --quiet."""
    if not _Output.quiet:
        print(line, flush=True)


def print_json(value):
    """What a script asked for: printed alone."""
    print(json.dumps(value, indent=2), flush=True)


@contextlib.contextmanager
def warnings_of_one_line():
    """A warning is one line on standard error, as an error is, without a path and a piece of source."""
    with warnings.catch_warnings():

        def one_line(message, *where, **how):
            if not _Output.quiet:
                fail((str(message).splitlines() or [""])[0], 0)  # Numba adds a traceback

        warnings.showwarning = one_line
        yield


def fail(message, status):
    """One line on standard error; returns `status`."""
    with contextlib.suppress(OSError, ValueError):  # where not even that can be printed, the status says it
        print(f"eirnn-np: {' '.join(str(message).split())}", file=sys.stderr, flush=True)
    return status


def any_character():
    """What standard output has no code for is printed as its escape (an ASCII terminal, a folder named Ω)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_the_rest():
    """Throw away what could not be written to standard output; else Python complains of it when it ends."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
