"""eirnn-np: excitatory-inhibitory RNNs trained by hand-derived BPTT, in NumPy and Numba.

Song, Yang & Wang (2016), PLoS Comput Biol 12(2): e1004792. Start with the README; the equations are in
docs/derivation.md and, line by line, in reference.py. The public names, and where each lives: `__init__.pyi`.
"""

import os

from .lazy import front_door

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = front_door(__name__)

# GNU OpenMP lets a thread that waits spin for milliseconds. Where another program, or the threads of a BLAS in this
# process, have taken the core of the thread that is waited for, that one cannot run meanwhile, and a step takes up to a
# hundred times as long. Read when OpenMP starts, perhaps for another package: so it is set here, before anything is
# imported, in pauses of unknown length; before our own threads start, threads.py makes a time of it. It knows this
# number, which nobody else sets, also in a child process.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10007")
