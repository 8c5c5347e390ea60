"""What is told when a long silence begins: that kernels are compiled, before they are. Imports nothing heavy."""

import contextlib
import sys

SECONDS = 15  # that the kernels of a training step take, about, on one core that does nothing else


def at_a_terminal(line):
    """The way of a library: a line on standard error, if somebody watches it."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


_tell = at_a_terminal
_told: set = set()


@contextlib.contextmanager
def told_by(say):
    """Inside this context `say(line)` tells, as a command does it."""
    global _tell
    before, _tell = _tell, say
    try:
        yield
    finally:
        _tell = before


def about_to_compile(module):
    """Say so, before: once for each wing that has kernels of its own."""
    wing = module.removeprefix("eirnn_np.").partition(".")[0]
    if wing not in _told:
        _told.add(wing)
        what, about = ("", f"about {SECONDS} s") if wing == "kernels" else (f" of {wing}", "a few s")
        _tell(f"compiling the kernels{what}, once for this machine ({about})")
