"""What a network does, in pictures: trials, training, rates in one trial, choices."""

import numpy as np

from .canvas import EXCITATORY, INHIBITORY, ORANGE, PURPLE, canvas

MOST_NAMES = 6  # that fit beside an axis


def sample_trials(trials, dt, actions=None, ax=None):
    """Inputs and right actions of a few trials of the task, one after the other; `ax` is a pair of Axes.

    `actions` names the actions, {number: name}; by default they are `action_names` of these trials.
    """
    figure, axes = canvas(ax, 7.2, 4.4, 2, nrows=2, sharex=True, height_ratios=[2, 1])
    inputs = np.concatenate([trial.inputs for trial in trials])
    labels = np.concatenate([trial.labels for trial in trials])
    time = np.arange(len(labels)) * dt
    names = ["fixation cue"] + [f"stimulus {i}" for i in range(1, inputs.shape[1])]
    colours = ["0.2", ORANGE, PURPLE]
    for i, channel in enumerate(inputs.T):
        axes[0].plot(time, channel, label=names[i] if inputs.shape[1] == 3 else f"input {i}", lw=1.2,
                     color=colours[i] if inputs.shape[1] == 3 else None)  # fmt: skip
    axes[0].set_ylabel("Input")
    if inputs.shape[1] <= 4:
        axes[0].legend(ncols=inputs.shape[1], loc="lower left", bbox_to_anchor=(0, 1))
    axes[1].step(time, labels, where="post", color="0.2", lw=1.5)
    axes[1].set(ylabel="Right action", xlabel="Time (ms)")
    actions = action_names(trials) if actions is None else actions
    if labels.dtype.kind in "iu" and set(labels.tolist()) <= set(actions) and len(actions) <= MOST_NAMES:
        axes[1].set_yticks(list(actions), list(actions.values()))
    else:
        axes[1].yaxis.get_major_locator().set_params(integer=True)
    for ax in axes:
        for end in np.cumsum([len(trial.labels) for trial in trials])[:-1] * dt:
            ax.axvline(end, color="0.8", lw=1, ls="--", zorder=0)
    return figure


def action_names(trials, n_out=None):
    """{action: name}: "fixate" and "choice 1" ... for tasks that begin with fixation, {} where they have no names.

    `n_out` is how many actions there are; by default as many as the trials show.
    """
    if not all("fixation" in trial.periods and trial.labels.dtype.kind in "iu" for trial in trials):
        return {}
    most = max(int(trial.labels.max()) for trial in trials) if n_out is None else n_out - 1
    return {0: "fixate", **{k: f"choice {k}" if most > 1 else "act" for k in range(1, most + 1)}}


def centred_mean(values, smooth):
    """Mean of about `smooth` values around each one, as many on either side, up to the last that has them all.

    At step k it holds at most k values, so that where a loss falls steeply the mean falls with it. At the end it holds
    no fewer than before: a mean of ever fewer values would wander like one of them.
    """
    values, widest = np.asarray(values, float), (smooth - 1) // 2
    at = np.arange(len(values))
    half = np.minimum(widest, at // 2)
    at, half = (of[at + half < len(values)] for of in (at, half))
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[at + half + 1] - total[at - half]) / (2 * half + 1)


def training_loss(losses, smooth=200, ax=None):
    """Loss of every step, and its mean over about `smooth` steps around each."""
    figure, ax = canvas(ax)
    losses = np.asarray(losses, float)
    steps = np.arange(1, len(losses) + 1)
    ax.plot(steps, losses, color="0.8", lw=0.6, label="each step")
    smooth = max(1, min(smooth, len(losses) // 10 or 1))
    mean = centred_mean(losses, smooth)
    ax.plot(steps[: len(mean)], mean, color="0.1", lw=1.8, label=f"mean of {smooth} steps around it")
    ax.set(xlabel="Training step", ylabel="Loss (nats per time step)", xlim=(0, len(losses)), ylim=(0, None))
    ax.legend()
    return figure


def activity(trial, rates, n_exc, dt, choice=None, ax=None):
    """Rates of all units in one trial: excitatory blue, inhibitory red; the periods above.

    Above them what the trial was: its coherence, the right choice and, if given, that of the network.
    """
    figure, ax = canvas(ax, 6.4, 4.0)
    time = np.arange(1, len(rates) + 1) * dt
    for units, colour, label in (
        (slice(n_exc), EXCITATORY, "excitatory"),
        (slice(n_exc, None), INHIBITORY, "inhibitory"),
    ):
        lines = ax.plot(time, rates[:, units], color=colour, lw=1.0, alpha=0.7)
        if lines:
            lines[0].set_label(label)
    for at in {at for start, stop in trial.periods.values() if stop - start > 2 for at in (start, stop)}:
        if at < len(rates):  # where one ends and none begins, too
            ax.axvline(at * dt, color="0.85", lw=1, zorder=0)
    for name, (start, stop) in trial.periods.items():
        if stop - start > 2:
            ax.text((start + stop) / 2 * dt, 1.01, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom",
                    fontsize=10, color="0.35")  # fmt: skip
    ax.set(xlabel="Time (ms)", ylabel="Rate (a.u.)", xlim=(0, time[-1]), ylim=(0, None))
    ax.legend(loc="upper left")
    ax.set_title(trial_text(trial, choice), pad=20)  # above the names of the periods
    return figure


def trial_text(trial, choice=None):
    """A trial in words: "25.6 % coherence, right: choice 2, chosen: choice 2"; "" where nothing is known."""
    names = action_names([trial])
    coherence = trial.info.get("coh")
    words = []
    if isinstance(coherence, int | float | np.number):
        words.append(f"{coherence:g} % coherence")
    if names:
        words.append(f"right: {_name(names, trial.labels[-1])}")
        if choice is not None:
            words.append(f"chosen: {_name(names, choice)}")
    return ", ".join(words)


def _name(names, action):
    """What an action is called; a network may choose one that this trial does not show, or none (-1)."""
    action = int(action)
    return names.get(action, f"choice {action}" if action > 0 else "none")


def psychometric_curve(rows, ideal=None, ax=None):
    """Share of choice 2 among the answers against signed coherence, or what `rows` are about, with 95 % intervals.

    `ideal` is the ideal observer's accuracy, {coherence: accuracy}, as densely as it shall be drawn: see
    `analysis.ideal_curve`. Where trials were left unanswered, their share too.
    """
    figure, ax = canvas(ax, 5.6, 3.8)
    key, xlabel = ("coherence", "Signed coherence (%)") if "coherence" in rows[0] else ("value", "Signed value")
    coherence = np.array([row[key] for row in rows])
    nothing = float("nan"), float("nan")  # no trial was answered: no point
    share = np.array([float("nan") if row["share"] is None else row["share"] for row in rows])
    low, high = np.array([row["interval_95"] or nothing for row in rows]).T
    silent = np.array([row.get("unanswered", 0) for row in rows])
    if ideal is not None:
        signed = np.unique([[-c, c] for c in ideal])
        right = np.array([ideal[abs(c)] for c in signed])
        ax.plot(signed, np.where(signed < 0, 1 - right, right), "--", color="0.5", label="ideal observer")
    error = np.maximum(0, [share - low, high - share])  # not below 0 by a rounding
    ax.errorbar(coherence, share, error, fmt="o-", color="0.1", ms=4, lw=1.4, capsize=2,
                label="network (95 % interval)")  # fmt: skip
    if silent.any():
        ax.plot(coherence, silent, "x:", color=INHIBITORY, ms=4, lw=1.0, label="trials without a choice")
    ax.set(xlabel=xlabel, ylabel="Share of choice 2 among the answers", ylim=(-0.03, 1.03))
    ax.legend(loc="lower right")
    return figure
