"""What docs/study.md says, made from docs/study/*.json: its tables, and every sentence with a number in it.

Each function returns the sentences of one section. A comparison in words ("lower", "in every network") is asserted
beside the sentence. `missing` says what of all that a page lacks, `unaccounted` which of its numbers come from no file.
"""

import re

import numpy as np

import eirnn_np as ei
from eirnn_np import study
from eirnn_np.analysis import ideal_observer
from eirnn_np.study import common, constraints, fixed_points, gradient_flow, local_rules, optimiser, rtrl, truncation
from eirnn_np.study.common import paired, paired_interval, spread


def plain_text(markdown):
    """Without emphasis and line breaks, so that sentences can be looked for."""
    return " ".join(markdown.replace("**", "").replace("\n* ", "\n").split())


def percent(values, digits=0):
    return f"{spread(100 * np.asarray(values), digits)} %"


def lower(first, second):
    """Is `first` below `second`, beyond the interval of the paired difference?"""
    return paired_interval(first, second)[2] < 0


def open_question(first, second):
    """Does the interval of the paired difference hold 0?"""
    _, low, high = paired_interval(first, second)
    return np.isfinite(low) and low <= 0 <= high


def method():
    config, basis = ei.ModelConfig(), common.basis_of()
    untrained = [module.SEEDS_UNTRAINED for module in (gradient_flow, local_rules, truncation)]
    steps = {gradient_flow.STEPS, constraints.STEPS, local_rules.STEPS, optimiser.STEPS}
    assert len(steps) == 1
    assert common.seeds(3) == [0, 1000, 2000]
    assert rtrl.STEPS is None
    assert study.SEEDS == 5
    ideal = ideal_observer([0, 6.4, 12.8, 25.6, 51.2], 1.0, config.dt, int(500 / config.dt)).mean()
    return [
        "five seeds, 0, 1000, 2000 ...",
        f"{steps.pop():,} training steps, {truncation.STEPS:,} for truncation and fixed-points",
        f"the first {common.SEEDS_COSTLY} seeds at most",
        f"{untrained[0]} (gradient-flow), {untrained[1]} (local-rules) or {untrained[2]} (truncation) networks",
        f"{config.n_hidden} units, batches of {basis.batch_size} x {basis.seq_len} steps",
        '"Final loss" is the mean of the last 200 steps, '
        f'"accuracy" that of {common.TRIALS:,} new trials at 500/500 ms; '
        f"ideal is {ideal:.4f}",
        "the median of the differences and its interval of at least 95 %, by order statistics",
    ]


def flow(n):
    """gradient-flow"""
    norms, factor, singular = np.array(n["norms"]), np.array(n["factor"]), np.array(n["singular"])
    seeds, length = norms.shape[1:]
    largest, smallest = 10 ** singular[..., 0], singular[:, :, -1, 2]
    mean = 10 ** (singular[..., -1, 1] / (length - 1))
    hundredth = np.array([np.argmax(each < 0.01) for each in norms[0]])
    assert (norms[-1, :, 10:26] > norms[0, :, 10:26]).all()
    assert (largest[0] < 1).all()
    assert (smallest[-1] < smallest[0]).all()
    assert (np.abs(mean - 0.8) < 0.003).all()
    peak = largest[-1].max(axis=1)
    peak_at = largest[-1].argmax(axis=1) + 1
    sentences = [
        f"followed back to the start, {length - 1} steps of {n['dt']:g} ms",
        f"it falls by {spread(factor[0], 3)} a step (n = {seeds}), the leak alone by 1 - alpha = 0.8. A hundredth is "
        f"left {spread(hundredth, 1)} steps before the loss",
        f"Training lengthens the reach, in every network: after {n['snapshots'][-1]:,} steps "
        f"{percent(norms[-1, :, 10])} of the gradient is left after 10 steps (before training "
        f"{percent(norms[0, :, 10])}), and {percent(norms[-1, :, 25])} half a second before the loss (k = 25; "
        f"{percent(norms[0, :, 25], 1)})",
        f"after training the largest of the Jacobian product rises to {spread(peak, 1)} (at k = {peak_at.min()} to "
        f"{peak_at.max()}) before it falls, transient growth of a non-normal matrix; before training it is below 1 "
        "at every k. The smallest falls faster than before, in every network",
        f"Their geometric mean stays where it was, at {spread(mean[-1], 4)} a step, the leak's "
        f"({mean[-1].min():.4f} to {mean[-1].max():.4f})",
    ]

    factors, actives = np.array(n["factors"]), np.array(n["actives"])
    median, grows, gone = np.median(factors, axis=2), (factors > 1).mean(axis=2), (factors == 0).mean(axis=2)
    alphas, radii = n["alphas"], n["radii"]
    assert (alphas[0], alphas[-1], radii[2:]) == (0.05, 1.0, [1.0, 2.0, 4.0, 8.0])
    assert (grows[:, :3] == 0).all()
    assert (median[:, 3] < 1).all()
    assert (median[:, 4] > 1).all()
    assert gone[:-1].max() <= 1 / seeds < gone[-1, 4]
    assert not gone[:, :4].any()
    sentences += [
        f"at alpha = {alphas[0]:g} its factor is {median[0].min():.2f} to {median[0].max():.2f} over all radii "
        f"(medians, n = {seeds}), at alpha = 1 it is {median[-1, 0]:.2f} at radius {radii[0]:g}",
        "At a radius of 1 or less it grows in no network, at radius 2 in "
        f"{grows[:, 3].min():.0%} to {grows[:, 3].max():.0%} of the networks, depending on alpha, at radius 4 in "
        f"{grows[:, 4].min():.0%} to {grows[:, 4].max():.0%}".replace("%", " %"),
        f"at radius 4 only {actives[:, 4].mean(axis=1).min():.0%} to {actives[:, 4].mean(axis=1).max():.0%} of the "
        f"units "
        "are active (means)".replace("%", " %"),
        f"At alpha = 1 no unit that is read out is active at the end in {gone[-1, 4]:.0%} of the networks at radius 4 "
        f"and "
        f"in {gone[-1, 5]:.0%} at radius 8: no gradient at all (0.00 in the map); at a smaller alpha in "
        f"{round(gone[:-1].max() * seeds)} of {seeds} networks at most".replace("%", " %"),
    ]

    lam = np.array(n["eigenvalues"])  # (P, seed, 2, H)
    lam = lam[:, :, 0] + 1j * lam[:, :, 1]
    inside = (np.abs(lam) < np.array(n["radius"])[..., None]).mean(axis=2)
    outliers = np.array(n["outliers"])
    outliers = outliers[:, :, 0] + 1j * outliers[:, :, 1]
    found = np.array(n["largest"])
    expected = np.take_along_axis(outliers, np.abs(outliers).argmax(axis=2)[..., None], axis=2)
    distance = (np.abs(lam - expected) / np.abs(expected)).min(axis=2)
    assert (outliers[-1].real > 0).all()
    u = {key: np.array(values) for key, values in n["untrained"].items()}
    size, pair = np.hypot(*np.moveaxis(u["largest"], 2, 0)), u["largest"][..., 1] > 0
    predicted = np.hypot(*np.moveaxis(u["outliers"], 2, 0)).max(axis=2)
    count, H = size.shape[1], lam.shape[2]
    squares = (u["mean"][0] ** 2 - (H - 1) * u["expected"][0]) / H  # sum v^2, by (J6)
    error = u["product"].std(axis=1, ddof=1) / np.sqrt(count)
    assert abs(u["product"][0].mean() - u["expected"][0].mean()) < 2 * error[0]
    assert abs(u["product"][1].mean()) < 2 * error[1]
    assert lower(u["balanced"][0], size[0])
    assert lower(size[1], size[0])
    left = int((found[-1, :, 0] < 0).sum())
    sentences += [
        f"Before training {percent(inside[0])} of them lie in the disc of (J3)",
        f"Of {count} untrained networks {pair[0].mean():.0%} have a complex pair as the largest, at an imaginary part "
        f"of "
        f"±{spread(u['largest'][0, pair[0], 1], 2)}".replace("%", " %"),
        f"(J6) expects v^T J u = {u['expected'][0].mean():.4f} (-sum v^2 alone is {-squares.mean():.4f}); found is "
        f"{spread(u['product'][0])}, a mean with a standard error of {error[0]:.4f}, and negative in "
        f"{(u['product'][0] < 0).mean():.0%} of the networks. With self-connections it is {spread(u['product'][1])}, "
        f"standard "
        f"error {error[1]:.4f}, negative in {(u['product'][1] < 0).mean():.0%}, and the pair is complex in "
        f"{pair[1].mean():.0%}".replace("%", " %"),
        f"(J4) expects a size of {spread(predicted[0], 2)}, found is {spread(size[0], 2)}, with a correlation of "
        f"{np.corrcoef(predicted[0], size[0])[0, 1]:.2f} over the networks. With each row balanced, (J5), "
        f"{spread(u['balanced'][0], 2)} is left",
        "After training the outliers are larger and of several kinds. (J4) expects them on the right; the "
        f"eigenvalue nearest to the one that it expects is off by {percent(distance[-1])} of its size, and in {left} "
        f"of {seeds} networks the largest eigenvalue stands on the left. Balancing the rows leaves "
        f"{spread(n['balanced'][-1], 2)} of {spread(np.hypot(*found[-1].T), 2)}",
    ]
    return sentences


def constrained(n):
    """constraints"""
    at = {key: a for a, key in enumerate(n["keys"])}
    loss, right, quiet, curves = (np.array(n[key]) for key in ("loss", "accuracy", "accuracy_quiet", "curves"))
    all_, free, own, silent, mixed, rows, brainpy = (
        at[key] for key in ("all", "free", "diagonal", "quiet", "mixed", "rows", "brainpy")
    )
    assert lower(loss[free], loss[all_])
    assert open_question(right[free], right[all_])
    assert open_question(loss[own], loss[all_])
    assert open_question(right[own], right[all_])
    assert lower(loss[silent], loss[all_])
    assert lower(right[silent], right[all_])
    assert lower(right[silent] - quiet[silent], right[all_] - quiet[all_])
    assert open_question(quiet[silent], quiet[all_])
    assert lower(loss[mixed], loss[all_])
    assert open_question(right[mixed], right[all_])
    assert lower(loss[all_], loss[rows])
    assert lower(right[rows], right[all_])
    assert lower(loss[all_], loss[brainpy])
    assert open_question(right[brainpy], right[all_])
    early = 1000 // common.BIN
    assert lower(curves[all_, :, early], curves[brainpy, :, early])
    config = ei.ModelConfig()
    tenth = curves.shape[2] // 10
    falls = [
        paired(curves[a, :, -2 * tenth : -tenth].mean(axis=1), curves[a, :, -tenth:].mean(axis=1))
        for a in (all_, brainpy)
    ]
    assert lower(curves[all_, :, -tenth:].mean(axis=1), curves[all_, :, -2 * tenth : -tenth].mean(axis=1))
    assert lower(curves[brainpy, :, -tenth:].mean(axis=1), curves[brainpy, :, -2 * tenth : -tenth].mean(axis=1))
    return [
        f"All have {ei.init_params(config).flat.size:,} numbers",
        "Without Dale's principle the loss after the same number of steps is lower, by "
        f"{paired(loss[free], loss[all_])}. No difference of accuracy is shown: {paired(right[free], right[all_], 3)}",
        f"Nor is a cost of the zero diagonal: {paired(loss[own], loss[all_])} nats and "
        f"{paired(right[own], right[all_], 3)} of accuracy with self-connections",
        f"Without it the loss is lower, {paired(loss[silent], loss[all_])}. But noise that is switched on afterwards "
        f"costs such a network {paired(right[silent], quiet[silent], 3)} of accuracy, one trained with it "
        f"{paired(right[all_], quiet[all_], 3)}; the difference of the two is "
        f"{paired(right[silent] - quiet[silent], right[all_] - quiet[all_], 3)}. With the noise off no difference is "
        f"shown, {paired(quiet[silent], quiet[all_], 3)}",
        f"of {config.n_exc * config.n_exc // config.n_hidden} E and "
        f"{config.n_exc - config.n_exc**2 // config.n_hidden} I units instead of {config.n_exc} E lowers the loss a "
        f"little, {paired(loss[mixed], loss[all_])}; for accuracy nothing is shown, "
        f"{paired(right[mixed], right[all_], 3)}",
        f"BrainPy's signs, by row, end at a higher loss, {paired(loss[rows], loss[all_])}, and a lower accuracy, "
        f"{paired(right[rows], right[all_], 3)}",
        f"BrainPy's full dynamics has its own, wider initialisation. After {early * common.BIN:,} steps its loss is "
        f"higher by {paired(curves[brainpy, :, early], curves[all_, :, early], 3)}, at the end by "
        f"{paired(loss[brainpy], loss[all_])}; its seeds spread by {loss[brainpy].std(ddof=1):.4f} (with all "
        f"constraints {loss[all_].std(ddof=1):.4f}). For accuracy no difference is shown, "
        f"{paired(right[brainpy], right[all_], 3)}. Its loss is still falling: by {falls[1]} from the last tenth but "
        f"one to the last, {falls[0]} with all constraints",
    ]


def truncated(n):
    """truncation"""
    angle, ratio = np.array(n["angle"]), np.array(n["ratio"])  # (P, seed, K)
    start, start_ratio = np.array(n["untrained"]["angle"]), np.array(n["untrained"]["ratio"])
    curves, loss, right = (common.array(n[key]) for key in ("curves", "loss", "accuracy"))
    seeds, few = angle.shape[1], loss.shape[1]
    assert n["lengths"] == [1, 2, 5, 10, 20, 50]
    assert n["names"] == ["K = 1", "K = 2", "K = 5", "K = 10", "K = 20", "BPTT"]
    end, longest = n["snapshots"][2:]
    assert (angle[-1, :, :5] > angle[0, :, :5]).all()
    over = int((ratio[1, :, 4] > 1).sum())
    burst = (curves[:, :, 8:].max(axis=2) > curves[:, :, 0]).sum(axis=1)  # after 400 steps, above where it began
    assert burst[0]
    assert not burst[1:].any()
    assert open_question(loss[4], loss[-1])
    assert open_question(right[4], right[-1])
    assert open_question(loss[3], loss[-1])
    assert lower(loss[-1], loss[2])
    return [
        f"Before training one step's gradient is {spread(start[:, 0], 1)}° off the whole one (n = {len(start)}), at "
        f"{spread(start_ratio[:, 0], 2)} of its length",
        f"In all of {seeds} networks the angle grows. After {end:,} steps one step's gradient is "
        f"{spread(angle[2, :, 0], 1)}° off, ten steps' {spread(angle[2, :, 3], 1)}°; after {longest:,} it is "
        f"{spread(angle[3, :, 0], 1)}° and {spread(angle[3, :, 3], 1)}°",
        f"K = 20, 400 ms or four time constants, is {spread(angle[2, :, 4], 1)}° off after {end:,} steps and "
        f"{spread(angle[3, :, 4], 1)}° after {longest:,} ({angle[3, :, 4].min():.1f}° to "
        f"{angle[3, :, 4].max():.1f}°). In {end:,} steps no difference of the loss is shown, "
        f"{paired(loss[4], loss[-1])} (n = {few}), nor of the accuracy, {paired(right[4], right[-1], 3)}",
        f"K = 5 learns too, to a loss higher by {paired(loss[2], loss[-1])}; for K = 10 no difference is shown, "
        f"{paired(loss[3], loss[-1])}",
        f"K = 1 can be unstable: after the first 400 steps the loss rises above where it began in {burst[0]} of {few} "
        "seeds, in none with a longer K",
        f"for K = 20 after {n['snapshots'][1]} steps it is above in {over} of {seeds} networks, "
        f"{spread(ratio[1, :, 4], 2)}",
    ]


def real_time(n):
    """rtrl"""
    at = {tuple(case): c for c, case in enumerate(n["cases"])}
    seconds, flop = np.array(n["seconds"]), np.array(n["flop"], float)[:, 0]
    kernel, error, peak = np.array(n["seconds_kernel"]), np.array(n["error"]), np.array(n["bytes"])
    half, full = at[40, 20, 4], at[80, 20, 4]
    middle = np.median(seconds, axis=2)
    rate = flop / middle[:, 0]
    assert rate[full] > rate[half]
    lengths = sorted(T for H, T, _ in at if H == 20)
    long, mid = at[20, lengths[-1], 4], at[20, lengths[-2], 4]
    predicted = np.array(n["bytes_predicted"])
    H, S = 20, 20 + ei.ModelConfig().n_in + 1
    tensors = [peak[at[20, T, 4], 0] for T in lengths]
    assert np.ptp(tensors) < 0.02 * np.mean(tensors)  # whatever T is
    assert (np.diff([np.median(peak[at[20, T, 4], 1]) for T in lengths]) > 0).all()
    assert predicted[at[20, 80, 4], 1] < predicted[at[20, 80, 4], 0] < predicted[at[20, 160, 4], 1]
    works = 2 * 100 * 16 * 50**3 * (50 + 3 + 1)
    assert rtrl.flop(50, 100, 16, 3)[0] == works
    return [
        f"no tensor of its gradient differs from BPTT's by more than {error.max():.1e} of the tensor's norm "
        f"(float64, n = {error.shape[1]})",
        f"Medians over n = {error.shape[1]} seeds of the fastest of {rtrl.REPEATS} calls",
        f"From H = 40 to 80 it takes {middle[full, 0] / middle[half, 0]:.1f} times as long (largest and smallest "
        f"seed: {(seconds[full, 0] / seconds[half, 0]).min():.1f} and "
        f"{(seconds[full, 0] / seconds[half, 0]).max():.1f}), for {flop[full] / flop[half]:.1f} times the "
        "operations, at a rate that still rises",
        f"from T = {lengths[-2]} to {lengths[-1]} {middle[long, 0] / middle[mid, 0]:.2f} times as long",
        f"At H = 80 RTRL takes {middle[full, 0] / middle[full, 1]:.0f} times as long as BPTT in NumPy, and "
        f"{middle[full, 0] / np.median(kernel[full]):.0f} times as long as the kernels",
        f"At the tutorial's size a gradient is {works / 1e9:.0f} GFLOP",
        f"They cross at T = 2 H S / 7 with S = H + I + 1, {2 * H * S / 7:.0f} at H = {H}",
    ]


def local(n):
    """local-rules"""
    at = {(key, f"{lr:g}"): a for a, (key, lr) in enumerate(zip(n["keys"], n["lr"]))}
    loss, right, curves, real = (common.array(n[key]) for key in ("loss", "accuracy", "curves", "max_real"))
    own, on_bptt, start, turned = (
        common.array(n[key]) for key in ("angle_own", "angle_bptt", "untrained", "angle_read_out")
    )
    few, seeds, count = loss.shape[1], on_bptt.shape[1], start.shape[1]
    bptt = at["bptt", "0.001"]
    fast = [at[key, "0.001"] for key in ("eprop", "random", "rflo")]
    slow = [at[key, "0.0003"] for key in ("eprop", "random", "rflo")]
    eprop, random, rflo = slow
    ratios = np.median(loss[slow], axis=1) / np.median(loss[bptt])
    tenth = curves.shape[2] // 10
    assert all(lower(loss[bptt], loss[a]) for a in slow)
    below = [int((loss[a] < curves[a, :, 0]).sum()) for a in slow]
    assert min(below) >= few - 1
    assert (loss[bptt] < curves[bptt, :, 0]).all()
    assert open_question(loss[eprop], loss[rflo])
    assert open_question(right[eprop], right[rflo])
    assert open_question(loss[random], loss[rflo])
    assert lower(right[random], right[rflo])
    late = [(curves[a, :, -tenth:].mean(axis=1) < curves[a, :, -2 * tenth : -tenth].mean(axis=1)).sum() for a in slow]
    ran = [int((loss[a] > curves[a, :, 0]).sum()) for a in fast]
    opposite = [np.abs(start[r].mean() - 90) * np.sqrt(count) / start[r].std(ddof=1) for r in (2, 3)]
    assert max(opposite) < 2
    assert lower(turned[rflo, :, -1], turned[rflo, :, 0])
    assert all(open_question(turned[a, :, -1], turned[a, :, 0]) for a in (random, eprop, bptt))
    change = lambda a: paired(turned[a, :, -1], turned[a, :, 0], 1)  # noqa: E731
    assert lower(own[eprop, :, -1], on_bptt[1, :few, -1])
    return [
        f"the median of n = {few} seeds",
        f"at lr 0.0003 their losses end at {ratios.min():.1f} to {ratios.max():.1f} times BPTT's (medians), below "
        f"where they began in {below[0]} (e-prop), {below[1]} (random feedback) and {below[2]} (RFLO) of {few} seeds, "
        f"and still fall over the last tenth in {late[0]}, {late[1]} and {late[2]}",
        f"e-prop against RFLO: {paired(loss[eprop], loss[rflo], 3)} nats and {paired(right[eprop], right[rflo], 2)} "
        "of accuracy, no difference is shown; random feedback to excitatory units alone against RFLO: "
        f"{paired(loss[random], loss[rflo], 3)} nats, not shown either, and a lower accuracy, "
        f"{paired(right[random], right[rflo], 2)}",
        f"at lr 0.001 the loss ends above where it began in {ran[0]} (e-prop), {ran[1]} (random feedback) and "
        f"{ran[2]} (RFLO) of {few} seeds, by BPTT in none",
        f"past 1, to {np.median(real[fast, :, -1], axis=1).min():.1f} - "
        f"{np.median(real[fast, :, -1], axis=1).max():.1f} (medians)",
        f"BPTT at the same rate ends at {real[bptt, :, -1].min():.2f} to {real[bptt, :, -1].max():.2f}, above 1 in "
        f"{(real[bptt, :, -1] > 1).sum()} of {few} seeds",
        f"e-prop starts {spread(start[1], 1)}° from the true gradient (n = {count})",
        f"at its own weights it ends at {spread(own[eprop, :, -1], 1)}° (n = {few}), at those that BPTT has trained "
        f"at {spread(on_bptt[1, :, -1], 1)}° (n = {seeds}, from {on_bptt[1, :, -1].min():.1f}° to "
        f"{on_bptt[1, :, -1].max():.1f}°); paired, {paired(own[eprop, :, -1], on_bptt[1, :few, -1], 1)}°",
        f"the mean over feedbacks is 90° by symmetry. Over {count} networks it is {spread(start[2], 1)}° (to E) and "
        f"{spread(start[3], 1)}° (to all)",
        f"At lr 0.0003 they end at {spread(own[random, :, -1], 0)}° and {spread(own[rflo, :, -1], 0)}° at their own "
        "weights",
        f"the angle between the two changes by {change(rflo)}° with RFLO, {change(random)}° with random feedback to "
        f"E, {change(eprop)}° with symmetric e-prop and {change(bptt)}° with BPTT",
    ]


def still(n):
    """fixed-points"""
    S, C = len(n["accuracy"]), len(n["conditions"])
    points, stable, slowest = (common.array(n[key]) for key in ("points", "stable", "slowest"))
    one = (points == 1) & (stable == 1)
    zero = n["conditions"].index("0.0")
    tau = n["network"]["tau"]
    assert (slowest[one] > 0).all()
    assert np.median(slowest[zero]) > tau
    slow = slowest[zero]
    longer = int((slow > tau).sum())
    line, order = common.array(n["line"]), common.array(n["order"])
    known = np.isfinite(line)
    return [
        f"In {int(one.sum())} of {one.size} cases, {S} networks under {C} inputs each, there is one fixed point and "
        "it is stable",
        f"At coherence 0 the slowest time constant is {np.median(slow):.0f} ms (median; {slow.min():.0f} to "
        f"{slow.max():.0f}), and above the {tau:g} ms of a unit by itself in {longer} of {S} networks",
        f"hold {100 * np.median(line[known]):.0f} % (median; {100 * line[known].min():.0f} to "
        f"{100 * line[known].max():.0f} %) of their variance along one line",
        f"correlates with coherence by {np.median(order[known]):.3f} (median; {order[known].min():.3f} to "
        f"{order[known].max():.3f})",
        f"n = {S} networks after {n['steps']:,} steps, each searched from {fixed_points.STARTS} starts",
    ]


def optimised(n):
    """optimiser"""
    at = {key: a for a, key in enumerate(n["keys"])}
    loss, right, curves = (common.array(n[key]) for key in ("loss", "accuracy", "curves"))
    apart, since = common.array(n["apart"]), np.array(n["apart_from"])
    clipped, moved, missing_way = (np.array(n[key]) for key in ("clipped", "bias_moved", "bias_apart"))
    main, best, sgd = at[optimiser.MAIN], at["adam-3"], at["sgd-1"]
    one, twice, double = at[optimiser.ONE], at[optimiser.TWICE], at[optimiser.DOUBLE]
    assert lower(loss[sgd], loss[main])
    assert lower(curves[sgd, :, 10], curves[main, :, 10])
    assert lower(loss[best], loss[main])
    assert open_question(loss[main], loss[double])
    assert open_question(right[main], right[double])
    assert open_question(loss[main], loss[one])
    early = curves[one, :, :10].mean(axis=1), curves[main, :, :10].mean(axis=1)
    assert lower(early[1], early[0])
    assert open_question(loss[twice], loss[main])
    hundred, after = since < 100, np.searchsorted(since, 500)
    shares = [100 * clipped[at[f"sgd-{rate}"]].mean() for rate in ("0.1", "0.3", "1", "3")]
    return [
        "at a rate of 1, with the norm clipped at 1, SGD ends below Adam's default rate of 0.001, "
        f"{paired(loss[sgd], loss[main])} (n = {loss.shape[1]}), and above Adam's best of the three, "
        f"{paired(loss[sgd], loss[best])}",
        f"Clipping acts in {min(shares):.1f} to {max(shares):.1f} % of the steps (means)",
        f"0.003 ends lower, {paired(loss[best], loss[main])}",
        f"The losses of both dtypes agree to {apart[:, hundred].max():.0e} over the first hundred steps",
        f"after 500 steps the losses differ by {apart[:, after].min():.0e} to {apart[:, after].max():.0e}, at the "
        f"end the weights by {percent(n['apart_params'])} of their norm",
        f"float32 minus float64 is {paired(loss[main], loss[double])} of loss and "
        f"{paired(right[main], right[double], 3)} of accuracy",
        f"after 100 steps in float64 {percent(missing_way[0], 1)} of the pair's way is missing with a single bias, "
        f"and {missing_way[1].max():.0e} at most with one at twice the rate",
        f"In the end the pair has moved {spread(moved[0] / moved[1], 2)} times as far as one bias",
        f"One bias is behind by {paired(*early)} nats over the first 500 steps. At the end no difference of the loss "
        f"is shown, neither for it, {paired(loss[one], loss[main])}, nor for one at twice the rate, "
        f"{paired(loss[twice], loss[main])}",
    ]


SECTIONS = {
    "gradient-flow": flow, "constraints": constrained, "truncation": truncated, "rtrl": real_time, "local-rules": local,
    "fixed-points": still, "optimiser": optimised,
}  # fmt: skip


def expected(kept):
    """All that the page has to say: lines of tables, and sentences. `kept` maps a study to its numbers."""
    lines = [line for numbers in kept.values() for line in study.table(numbers, markdown=True).splitlines() if line]
    return lines, method() + [each for name, numbers in kept.items() for each in SECTIONS[name](numbers)]


def missing(page, lines, sentences):
    """What the page should say of these numbers and does not."""
    rows, text = set(page.splitlines()), plain_text(page)
    return [line for line in lines if line not in rows] + [each for each in sentences if plain_text(each) not in text]


# Code, links, references and names: numbers in them are no results.
ELSEWHERE = re.compile(
    r"```.*?```|^    [^\n]*$|`[^`]*`|\]\([^)]*\)|\([A-Z]\d+\)|float(?:32|64)|sections \d+ to \d+"
    r"|\[\d+ of the derivation\]",
    re.S | re.M,
)


def blanked(page):
    """The page with what is `ELSEWHERE` replaced by as many blanks."""
    return ELSEWHERE.sub(lambda found: re.sub(r"\S", " ", found[0]), page)


def positions(page):
    """Where the last digits of the page's numbers are."""
    return [found.end() - 1 for found in re.finditer(r"\d+", blanked(page))]


def unaccounted(page, lines, sentences):
    """Numbers of the page's text that are in no table and in no sentence made from numbers."""
    lines = set(lines)
    page = "\n".join(line for line in page.splitlines() if line not in lines)
    text = plain_text(re.sub(r"^    [^\n]*$|```.*?```", " ", page, flags=re.M | re.S))
    for each in sorted(map(plain_text, sentences), key=len, reverse=True):
        text = text.replace(each, " ")
    return re.findall(r"\S*\d\S*", ELSEWHERE.sub(" ", text))
