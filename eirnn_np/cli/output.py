"""What a command prints: lines for a person, JSON for a script, one line for an error."""

import json
import sys


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


def fail(message, status):
    """One line on standard error; returns `status`."""
    print(f"eirnn-np: {' '.join(str(message).split())}", file=sys.stderr)
    return status
