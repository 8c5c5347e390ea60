"""Names that a help text needs; imports nothing."""

# In the order in which `eirnn-np paper all` trains them: the quickest first.
NAMES = (
    "rdm_nodale", "rdm_dense", "rdm_fixed", "rdm_rt", "rdm_varstim", "multisensory", "mante", "mante_areas", "lee",
    "romo",
)  # fmt: skip
OUT = "paper"
MAX_TRIALS = 10_000_000  # a network of mante_areas stood still until 2,600,000 trials and then learnt
OMEGA = 2.0
EVALUATION = "evaluation.json"


def read_seeds(text: str) -> list[int]:
    """Seeds from "5" (0 .. 4), "3-7", or a list such as "0,2,10-12"; ValueError where two overlap."""
    seeds: list[int] = []
    parts = text.split(",")
    try:
        for part in parts:
            first, _, last = part.strip().partition("-")
            if len(parts) == 1 and not last:
                seeds = list(range(int(first)))
            else:
                seeds += range(int(first), int(last or first) + 1)
    except ValueError:
        seeds = []
    if not seeds or not all(part.strip() for part in parts) or max(seeds) > 2**32 - 1:
        raise ValueError(f"seeds must be a number of them (5), a range (3-7) or a list (0,2,10-12), found {text!r}")
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}) if len(seeds) < 10_000 else []
    if twice:
        raise ValueError(f"seeds overlap: {', '.join(map(str, twice))} would be trained twice, in {text!r}")
    return seeds
