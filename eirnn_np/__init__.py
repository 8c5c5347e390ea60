"""eirnn-np: excitatory-inhibitory RNNs trained by hand-derived BPTT, in NumPy and Numba.

Song, Yang & Wang (2016), PLoS Comput Biol 12(2): e1004792. Start with the README; the equations are in
docs/derivation.md and, line by line, in reference.py. The public names, and where each lives: `__init__.pyi`.
"""

from .lazy import front_door

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = front_door(__name__)
