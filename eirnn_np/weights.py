"""Weighted time: the weight of each time step of each trial in the loss. Imports numpy alone.

Shapes: T time steps, B trials, O outputs.
"""

import numpy as np

from .checks import check_array, check_unmasked


def check_weights(weights, shape, dtype):
    """Weights (T, B) that sum to 1; ValueError if they cannot. None weighs all alike."""
    T, B = shape[:2]
    if weights is None:
        return np.full((T, B), 1 / (T * B), dtype)
    weights = check_array("weights", weights, (T, B), np.float64)
    if (weights < 0).any() or not 0 < weights.sum() < np.inf:
        raise ValueError("weights must be 0 or more and not all 0")
    return (weights / weights.sum()).astype(dtype, order="C")


def check_class_weights(class_weights, n_out: int) -> np.ndarray:
    """A weight for each label, (O,) float64, 0 or more; ValueError if it is none."""
    found = check_array("class_weights", class_weights, (n_out,), np.float64)
    if (found < 0).any() or not found.any():
        raise ValueError(f"class_weights must be 0 or more and not all 0, found {found.tolist()}")
    return found


def weights_of_labels(class_weights, labels, weights=None) -> np.ndarray:
    """Weights (T, B) of the steps by their labels, times those that are given.

    As the loss is divided by their sum, this is torch's ``CrossEntropyLoss(weight=class_weights)``. A step of weight 0
    may hold any label. ValueError for a label that has no weight.
    """
    check_unmasked("labels", labels)
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels must be integers for class_weights, found dtype {labels.dtype}")
    if weights is not None:
        weights = check_array("weights", weights, labels.shape, np.float64)
        labels = np.where(weights == 0, labels.dtype.type(0), labels)
    if labels.size and (labels.min() < 0 or labels.max() >= len(class_weights)):
        wrong = labels[(labels < 0) | (labels >= len(class_weights))][0]
        raise ValueError(f"labels must lie in 0 .. {len(class_weights) - 1}, found {wrong}")
    found = np.asarray(class_weights)[labels.astype(np.int64, copy=False)]
    return found if weights is None else found * weights


class WeightedStream:
    """A stream of batches (inputs, labels) with the weights of their labels as a third array; else it is the stream."""

    def __init__(self, stream, class_weights):
        self._stream, self.class_weights = stream, check_class_weights(class_weights, stream.n_out)

    def __iter__(self):
        return self

    def __next__(self):
        inputs, labels = next(self._stream)
        return inputs, labels, weights_of_labels(self.class_weights, labels)

    def __getattr__(self, name):
        if name == "_stream":  # a copy in the making
            raise AttributeError(name)
        return getattr(self._stream, name)

    def close(self):
        """End the worker, where there is one."""
        getattr(self._stream, "close", lambda: None)()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
