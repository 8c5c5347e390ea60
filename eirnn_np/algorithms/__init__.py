"""What else computes a gradient: truncated BPTT, real-time recurrent learning, e-prop and RFLO."""

from .seam import (
    ALGORITHMS,
    GradientTrainer,
    algorithm,
    check_truncation,
    eprop,
    make_trainer,
    random_feedback,
    rflo,
    rtrl,
    truncated_bptt,
)

__all__ = [
    "ALGORITHMS",
    "GradientTrainer",
    "algorithm",
    "check_truncation",
    "eprop",
    "make_trainer",
    "random_feedback",
    "rflo",
    "rtrl",
    "truncated_bptt",
]
