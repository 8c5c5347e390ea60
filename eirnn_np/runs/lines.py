"""Lines for a person: what cannot be printed does not stop the work that it is about."""

import sys
import warnings


def unstoppable(report):
    """`report` (takes a line), but what standard output cannot take does not end the caller.

    A character that it has no code for is written as its escape. Where it has been closed, or its disk is full, one
    warning says so, and the lines from there on are dropped. Other errors of a `report` of your own are raised.
    """
    silent = False

    def tell(line):
        nonlocal silent
        if silent:
            return
        try:
            try:
                report(line)
            except UnicodeEncodeError:
                report(str(line).encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and "closed file" not in str(error):
                raise
            silent = True
            why = getattr(error, "strerror", None) or error
            warnings.warn(f"no more lines, as they cannot be printed ({why}); the work goes on", stacklevel=2)

    return tell


def terminal():
    """Does standard error go to a person's screen, for a progress bar?"""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # it has been closed
        return False
