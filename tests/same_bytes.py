"""A training of 200 steps as one number (eirnn_np/bench/same_bytes.py): the same on any CPU, for any number of threads.

    python tests/same_bytes.py                       prints a hash of the parameters for each dtype
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+sse2 python tests/same_bytes.py

The hashes must be those of DIGESTS, on any machine.
"""

import sys

from eirnn_np.bench.same_bytes import DIGESTS, digest, final_params

__all__ = ["DIGESTS", "digest", "final_params"]

if __name__ == "__main__":
    for name in sys.argv[1:] or DIGESTS:
        print(name, digest(final_params(name)), flush=True)
