"""What is told when a long silence begins: that kernels are compiled, before they are. Imports nothing heavy."""

import contextlib
import sys

SECONDS = 10  # that the kernels of a training step take, about, on one core that does nothing else


def at_a_terminal(line):
    """The way of a library: a line on standard error, if somebody watches it."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


_tell = at_a_terminal
_told: dict[str, set[str]] = {}  # wing: the dtypes of what was announced, "" for integers alone


@contextlib.contextmanager
def told_by(say):
    """Inside this context `say(line)` tells, as a command does it."""
    global _tell
    before, _tell = _tell, say
    try:
        yield
    finally:
        _tell = before


def about_to_compile(module, types=""):
    """Say so, before: once for each wing that has kernels of its own, and again for the other dtype of a step.

    `types` are those of the arguments of what Python calls, written out. The first kernel of a step has integers alone:
    it speaks for the dtype that comes next.
    """
    wing = module.removeprefix("eirnn_np.").partition(".")[0]
    dtype = next((name for name in ("float32", "float64") if name in types and wing == "kernels"), "")
    told = _told.setdefault(wing, set())
    if told and (dtype in told or not dtype):
        return
    again = told - {""}
    if again or not told:
        what, about = (f" for {dtype}" if again else "", f"about {SECONDS} s")
        if wing != "kernels":
            what, about = f" of {wing}", "a few s"
        _tell(f"compiling the kernels{what}, once for this machine ({about})")
    told.add(dtype)
