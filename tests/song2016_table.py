"""The paper's table once more, as plain loops over single time steps; imports nothing of the package.

`trial(name, condition, dt, durations)` gives what each channel, target and mask is at each step, from a condition
(None: a catch trial) and, where a duration varies, from that duration.
"""

TAU = {"lee": 50}
SIZES = {  # inputs, units, outputs, trials a batch
    "rdm_varstim": (3, 100, 2, 20),
    "rdm_rt": (3, 100, 2, 20),
    "rdm_nodale": (2, 100, 2, 20),
    "rdm_dense": (2, 100, 2, 20),
    "rdm_fixed": (2, 100, 2, 20),
    "mante": (6, 150, 2, 50),
    "mante_areas": (6, 150, 2, 50),
    "multisensory": (5, 150, 2, 20),
    "romo": (2, 500, 2, 20),
    "lee": (17, 200, 2, 1),
}
CATCH = {  # share in training, length
    "rdm_varstim": (1 / 11, 2000),
    "rdm_rt": (5 / 11, 2000),
    "rdm_nodale": (1 / 11, 2000),
    "rdm_dense": (1 / 11, 2000),
    "rdm_fixed": (1 / 11, 2000),
    "mante": (1 / 73, 2000),
    "mante_areas": (1 / 73, 2000),
    "multisensory": (1 / 5, 2500),
    "romo": (1 / 11, 2500),
}
CONDITIONS = {name: 10 for name in SIZES} | {"mante": 72, "mante_areas": 72, "multisensory": 24, "lee": 8}


def trial(name, condition, dt, durations=None, test=False):
    """Lists over steps of (inputs, targets, mask)."""
    durations = durations or {}
    total = CATCH[name][1] if condition is None else sum(length for _, length in periods(name, durations, test))
    rows, n = [], 1
    while n * dt <= total + 1e-6:
        rows.append(_step(name, condition, n * dt, durations, test))
        n += 1
    return [list(column) for column in zip(*rows)]


def periods(name, durations, test):
    """(name, ms) of each period, by the table's fourth column."""
    if name.startswith("rdm"):
        fixation = (500 if name == "rdm_varstim" else 300) if test else 100
        if name == "rdm_rt":
            return [("fixation", fixation), ("stimulus", 1500 if test else 800)]
        return [("fixation", fixation), ("stimulus", durations.get("stimulus", 800)), ("decision", 300)]
    if name.startswith("mante"):
        return [("fixation", 400 if test else 100), ("stimulus", 800), ("decision", 300)]
    if name == "multisensory":
        return [("fixation", 500 if test else 100), ("stimulus", 1000), ("decision", 300)]
    if name == "romo":
        delay = durations.get("delay", 3000)
        return [("fixation", 500 if test else 100), ("f1", 500), ("delay", delay), ("f2", 500), ("decision", 300)]
    return [("ITI", 1000), ("fixation", 1000), ("M1", 500), ("M2", 500), ("M3", 500)]


def _step(name, condition, t, durations, test):
    I = SIZES[name][0]
    if condition is None:
        return [0.0] * I, [0.2, 0.2], 1.0
    start, period, since = 0, None, None
    for each, length in periods(name, durations, test):
        if start < t - 1e-9 and t <= start + length + 1e-6:
            period, since = each, t - start
        start += length
    inputs, targets = [0.0] * I, [0.2, 0.2]
    mask = 1.0 if period in ("fixation", "decision") else 0.0
    if name == "lee":
        return _lee(condition, period, inputs)
    if name.startswith("rdm"):
        c = condition["coherence"]
        if period == "stimulus":
            inputs[0], inputs[1] = (1 + 3.2 * c / 100) / 2, (1 - 3.2 * c / 100) / 2
            if I == 3:
                inputs[2] = 1.0
        right, hi = (0 if c > 0 else 1 if c < 0 else None), 1.0
        if name == "rdm_rt":
            hi = 1.2
            if period == "stimulus" and since > 300 + 1e-6:
                mask, period = 1.0, "decision"
    elif name.startswith("mante"):
        if period == "stimulus":
            inputs[0 if condition["context"] == "motion" else 1] = 1.0
            for i, what in ((2, "motion"), (4, "colour")):
                inputs[i] = (1 + 5 * condition[what] / 100) / 2
                inputs[i + 1] = (1 - 5 * condition[what] / 100) / 2
        right, hi = (0 if condition[condition["context"]] > 0 else 1), 1.0
    elif name == "multisensory":
        f = condition["rate"]
        if period == "stimulus":
            inputs[4] = 1.0
            for i, sense in ((0, "vision"), (1, "audition")):
                if condition["modality"] in (sense, "both"):
                    inputs[i] = 0.4 + 0.8 * (f - 9) / 7
                    inputs[i + 2] = 0.4 + 0.8 * (16 - f) / 7
        right, hi = (0 if f > 12.5 else 1), 1.0
    else:
        if period in ("f1", "f2"):
            f = condition[period]
            inputs[0], inputs[1] = 0.4 + 0.8 * (f - 10) / 24, 0.4 + 0.8 * (34 - f) / 24
        right, hi = (0 if condition["f1"] > condition["f2"] else 1), 1.0
    if period == "decision" and right is not None:
        targets[right] = hi
    return inputs, targets, mask


_PATHS = ["510", "312", "378", "576", "512", "310", "376", "578"]
_BESIDE = {"4": "35", "1": "02", "3": "17", "5": "17", "7": "68"}


def _lee(condition, period, inputs):
    k = condition["sequence"]
    path = "4" + _PATHS[k]
    inputs[9 + k] = 1.0
    if period == "ITI":
        return inputs, None, 0.0
    if period == "fixation":
        dots, goal = "4", "4"
    else:
        move = int(period[1])
        dots, goal = path[move - 1] + _BESIDE[path[move - 1]], path[move]
    for each in dots:
        inputs[int(each)] = 1.0
    row, column = divmod(int(goal), 3)
    return inputs, [(-0.5, 0.0, 0.5)[column], (0.5, 0.0, -0.5)[row]], 1.0
