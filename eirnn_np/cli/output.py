"""What a command prints: lines for a person, JSON for a script, one line for an error."""

import contextlib
import json
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
    """A warning of ours is one line on standard error, as an error is, without a path and a piece of source."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def one_line(message, category, *where, **how):
            if not issubclass(category, UserWarning):
                show(message, category, *where, **how)
            elif not _Output.quiet:
                fail(message, 0)

        warnings.showwarning = one_line
        yield


def fail(message, status):
    """One line on standard error; returns `status`."""
    print(f"eirnn-np: {' '.join(str(message).split())}", file=sys.stderr)
    return status
