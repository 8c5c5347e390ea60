"""The studies: their quantities against independent ones at toy size, and each of them from end to end."""

import contextlib
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import study_page
from conftest import make_problem, relative_error

import eirnn_np as ei
from eirnn_np import algorithms, study
from eirnn_np.cli import main
from eirnn_np.optimisers import SGD, Adam
from eirnn_np.study import common, constraints, fixed_points, gradient_flow, local_rules, optimiser, rtrl, truncation
from eirnn_np.trainer import RunError

DOCS = Path(__file__).parent.parent / "docs"
SMALL = ei.ModelConfig(n_hidden=10, e_ratio=0.6)
BASIS = common.Basis(SMALL, batch_size=2, seq_len=30)


@pytest.fixture
def small(monkeypatch):
    """The studies on a small network, in a few trials."""
    monkeypatch.setattr(common, "cores", lambda: 1)  # another process knows nothing of these patches
    monkeypatch.setattr(common, "basis_of", lambda run: BASIS)
    monkeypatch.setattr(common, "TRIALS", 20)
    monkeypatch.setattr(gradient_flow, "TRIALS", 4)
    monkeypatch.setattr(gradient_flow, "PRODUCT_TRIALS", 2)
    for module in (gradient_flow, truncation, local_rules):
        monkeypatch.setattr(module, "SEEDS_UNTRAINED", 11)
    monkeypatch.setattr(common, "SEEDS_COSTLY", 2)
    monkeypatch.setattr(rtrl, "SIZES", (5,))
    monkeypatch.setattr(rtrl, "LENGTHS", (5, 10))
    monkeypatch.setattr(rtrl, "REPEATS", 1)


@pytest.mark.parametrize("name", study.STUDIES)
def test_each_study_ends_with_numbers_a_figure_and_a_table(name, small, tmp_path, capsys):
    steps = [] if name == "rtrl" else ["--steps", "12"]
    assert main(["study", name, "--seeds", "2", *steps, "--out", str(tmp_path / "out")]) == 0
    numbers = json.loads((tmp_path / "out" / "numbers.json").read_text())
    assert (numbers["study"], numbers["seeds"], numbers["steps"]) == (name, 2, 12 if steps else None)
    assert (tmp_path / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert err == ""
    assert study.table(numbers) in out
    assert main(["study", name, "--out", str(tmp_path / "out")]) == 1  # nothing is overwritten
    assert "is not an empty folder" in capsys.readouterr().err


def test_a_run_of_another_loss_is_refused(short_run, tmp_path):
    shutil.copytree(short_run, tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    settings["training"]["class_weights"] = [1, 5, 5]
    (tmp_path / "run" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="was trained with class_weights"):
        study.measure("gradient-flow", run=tmp_path / "run")


def test_a_study_gives_the_same_numbers_twice_and_reads_a_run(small, short_run, monkeypatch):
    one, two = (study.measure("truncation", seeds=1, steps=12) for _ in range(2))
    assert one == two
    monkeypatch.undo()
    numbers = study.measure("gradient-flow", run=short_run)
    assert (numbers["snapshots"], numbers["seeds"], numbers["steps"]) == (["start", "end"], 1, None)
    _, params = ei.load_params(short_run / "params.safetensors")
    weights = ei.effective_weights(ei.ModelConfig(), params.astype("float64"))
    found = np.array(numbers["eigenvalues"][1][0])
    expected = np.linalg.eigvals(weights)
    assert np.abs(found[0] + 1j * found[1]).max() == pytest.approx(np.abs(expected).max(), rel=1e-4)


def test_a_study_on_two_cores_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(common, "basis_of", lambda run: BASIS)
    one, two = (study.measure("constraints", seeds=1, steps=12, workers=n) for n in (1, 2))
    assert one == two
    with pytest.raises(ValueError, match="workers must be an integer from 1"):
        study.measure("constraints", workers=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trunctation"], "did you mean truncation?"),
        (["rtrl", "--seeds", "0"], "seeds must be an integer of at least 1"),
        (["truncation", "--steps", "1"], "steps must be an integer of at least 10"),
        (["rtrl", "--steps", "100"], "steps have no effect: rtrl trains nothing"),
        (["gradient-flow", "nowhere", "--steps", "100"], "have no effect: gradient-flow of a run"),
        (["gradient-flow", "nowhere", "--seeds", "3"], "seeds have no effect: gradient-flow of a run"),
        (["rtrl", "nowhere"], "there is no run folder nowhere"),
    ],
)
def test_bad_arguments(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):  # argparse leaves by it
        assert main(["study", *arguments]) > 0
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", ["constraints", "truncation", "local-rules", "optimiser"])
def test_a_training_that_diverges_is_a_result(name, small, tmp_path, monkeypatch):
    """Every network of one seed, and of one more rule of the other, is lost: the study ends all the same."""
    trained, train = [], common.train

    def diverging(trainer, batches, steps, on_step):
        trained.append(trainer)
        lost = trainer.seed == 1000 or len(trained) == 2

        def then(k, loss):
            on_step(k, loss)
            if lost and k == 6:
                trainer.params.w_out[...] = np.inf

        return train(trainer, batches, steps, then)

    monkeypatch.setattr(common, "train", diverging)
    numbers, _ = study.carry_out(name, seeds=2, steps=12, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "numbers.json").read_text()) == numbers
    assert all(row[1] is None for row in numbers["loss"])
    assert all(row[1] == 0 for row in numbers["accuracy"])
    lost = [row[0] is None for row in numbers["loss"]]
    assert sum(lost) == 1  # the second network that was trained
    assert all(value is not None for a, row in zip(lost, numbers["curves"]) if not a for value in row[0])
    assert re.search("diverged|inf", study.table(numbers))


def test_gradient_flow_of_a_network_that_diverged_names_seed_and_rate(small, monkeypatch):
    monkeypatch.setattr(common, "basis_of", lambda run: dataclasses.replace(BASIS, lr=1e30))
    with pytest.raises(RunError, match=r"the network of seed 0 diverged at lr 1e\+30"):
        study.measure("gradient-flow", seeds=1, steps=12)


def test_the_folder_is_there_before_the_work_begins(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    monkeypatch.setattr(rtrl, "measure", lambda *_: pytest.fail("it began"))
    for out, message in (("file", "cannot make|not an empty"), ("file/in", "cannot make"), ("full", "not an empty")):
        with pytest.raises(RunError, match=message):
            study.carry_out("rtrl", out=tmp_path / out)
    with pytest.raises(ValueError, match="seeds must be"):
        study.carry_out("rtrl", seeds=0, out=tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "full"}


@pytest.fixture(scope="module")
def kept():
    """The numbers files of docs/study, by study."""
    return {name: json.loads((DOCS / "study" / f"{name}.json").read_text()) for name in study.STUDIES}


def test_the_page_says_what_its_numbers_say(kept):
    """Every table and sentence is there, as made from the files, and no other number is."""
    page = (DOCS / "study.md").read_text()
    assert [numbers["study"] for numbers in kept.values()] == list(study.STUDIES)
    for name in study.STUDIES:
        assert f"figures/study_{name.replace('-', '_')}.png" in page
    wanted = study_page.expected(kept)
    assert study_page.missing(page, *wanted) == []
    assert study_page.unaccounted(page, *wanted) == []


def test_a_wrong_number_on_the_page_is_found(kept):
    """Each number of the page's tables and text, one at a time, made wrong in its last digit."""
    page = (DOCS / "study.md").read_text()
    wanted, tried = study_page.expected(kept), 0
    for at in study_page.positions(page):
        wrong = f"{page[:at]}{(int(page[at]) + 1) % 10}{page[at + 1 :]}"
        assert study_page.missing(wrong, *wanted) + study_page.unaccounted(wrong, *wanted), page[at - 40 : at + 10]
        tried += 1
    assert tried > 500


def test_a_number_that_comes_from_no_file_is_found(kept):
    page = (DOCS / "study.md").read_text()
    wanted = study_page.expected(kept)
    planted = page.replace("## Constraints", "About 7 % of all networks do.\n\n## Constraints")
    assert study_page.missing(planted, *wanted) == []
    assert study_page.unaccounted(planted, *wanted) == ["7"]


@pytest.mark.parametrize("name", study.STUDIES)
def test_other_numbers_ask_for_another_page(name, kept):
    """Each part of a numbers file, off by 20 %: the page lacks something, or a comparison in words does not hold."""
    page = (DOCS / "study.md").read_text()
    unused = set()
    for key, value in kept[name].items():
        if isinstance(value, dict) or not isinstance(np.ravel(value)[0], int | float) or isinstance(value, int):
            continue
        changed = np.array(value, float) * 1.2
        other = {**kept, name: {**kept[name], key: changed.tolist()}}
        with contextlib.suppress(AssertionError, KeyError):
            if not study_page.missing(page, *study_page.expected(other)):
                unused.add(key)
    # In figures alone, or (J4) made of them.
    drawn = {"curves", "norms_alpha", "mean", "product", "expected", "coherences", "eigenvalues"}
    assert unused <= {"at", "lr", "snapshots", "radii", "alphas", "apart_from", *drawn}, unused


def test_a_comparison_that_does_not_hold_is_found(kept):
    """Two variants that change places: the sentence about them is not made."""
    for name, key, (a, b) in (
        ("constraints", "loss", (0, 1)), ("truncation", "loss", (2, 5)), ("optimiser", "loss", (1, 2)),
        ("local-rules", "loss", (0, 2)), ("gradient-flow", "norms", (0, 2)),
    ):  # fmt: skip
        values = list(kept[name][key])
        values[a], values[b] = values[b], values[a]
        with pytest.raises(AssertionError):
            study_page.SECTIONS[name]({**kept[name], key: values})


def test_the_page_prints_what_it_says(capsys):
    page = (DOCS / "study.md").read_text()
    code, printed = re.search(r"```python\n(import eirnn_np.*?)```\n```\n(.*?)```", page, re.S).groups()
    exec(compile(code, "docs/study.md", "exec"), {})
    assert capsys.readouterr().out == printed


# --- gradient flow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_state_gradients_and_jacobians_are_those_of_differences(dynamics):
    """Push the state of one trial at one time by noise there, and see what the loss and the last state do."""
    problem = make_problem(dynamics=dynamics, n_batch=2, tau=tuple(np.linspace(30.0, 200.0, 7)))
    config, params, noise = problem.config, problem.params, problem.noise.copy()
    weights = np.zeros((11, 2))
    weights[-1] = 0.5
    x, dx = gradient_flow.state_gradients(config, params, problem.inputs, problem.labels, noise, weights)
    products = gradient_flow.product_singular_values(config, params, x)
    step, t, b = 1e-6, 4, 1
    columns, losses = [], []
    for unit in range(7):
        ends = []
        for sign in (1, -1):
            pushed = noise.copy()
            pushed[t, b, unit] += sign * step
            run = ei.forward(config, params, problem.inputs, pushed)
            loss, _ = ei.loss_and_grads(config, params, problem.inputs, problem.labels, pushed, weights)
            ends.append((run.states[-1, b], loss))
        columns.append((ends[0][0] - ends[1][0]) / (2 * step))
        losses.append((ends[0][1] - ends[1][1]) / (2 * step))
    assert relative_error(losses, dx[t, b]) < 1e-7
    found = products[10 - t - 1, b]  # k = T - t steps, counted from 1
    assert relative_error(np.linalg.svd(np.transpose(columns), compute_uv=False), found) < 1e-7


def test_norms_by_lag_and_factor_per_step():
    dx = 0.5 ** np.arange(20)[::-1][:, None, None] * np.ones((20, 3, 4))
    norms = gradient_flow.norms_by_lag(dx)
    np.testing.assert_allclose(norms, 0.5 ** np.arange(20))
    for steps in (20, 6, 3, 2):
        assert gradient_flow.factor_per_step(norms[:steps]) == pytest.approx(0.5)


def test_without_recurrent_weights_only_the_leak_is_left():
    problem = make_problem()
    problem.params.w_rec[...] = 0
    weights = np.zeros((11, 3))
    weights[-1] = 1 / 3
    _, dx = gradient_flow.state_gradients(
        problem.config, problem.params, problem.inputs, problem.labels, problem.noise, weights
    )
    np.testing.assert_allclose(gradient_flow.norms_by_lag(dx), 0.8 ** np.arange(11), rtol=1e-12)


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_spectrum_of_a_large_random_network(seed):
    """Disc, outliers and their absence, at a size where the statistics hold."""
    config = ei.ModelConfig(n_hidden=200)
    params = ei.init_params(config, seed, "float64")
    found = gradient_flow.spectrum(config, params)
    eigenvalues = found["eigenvalues"][0] + 1j * found["eigenvalues"][1]
    largest = eigenvalues[np.abs(eigenvalues).argmax()]
    expected = found["outliers"][0] + 1j * found["outliers"][1]
    assert np.abs(largest) > 1.8 * found["radius"]
    assert min(np.abs(largest - expected)) < 0.1 * np.abs(largest)
    assert np.mean(np.abs(eigenvalues) > 1.1 * found["radius"]) < 0.05
    assert found["balanced"] < 1.3 * found["radius"]
    # With more excitation than inhibition and balanced rows the sum of the means is an eigenvalue.
    params.w_rec[:, :160] *= 3
    weights = ei.effective_weights(config, params)
    v = np.repeat([weights[:, :160].mean(), weights[:, 160:].mean()], [160, 40])
    rest = weights - v
    balanced = v + rest - rest.mean(axis=1, keepdims=True)
    assert np.abs(np.linalg.eigvals(balanced) - v.sum()).min() < 1e-10
    assert gradient_flow.spectrum(config, params)["balanced"] == pytest.approx(v.sum())


@pytest.mark.parametrize("diagonal", [False, True])
def test_zero_diagonal_makes_the_pair(diagonal):
    """(J6) against 20,000 small networks drawn here: without the diagonal v^T J u is negative, with it 0 on average."""
    config = ei.ModelConfig(n_hidden=7, e_ratio=0.6)
    config = common.self_connected(config) if diagonal else config
    rng, E, H = np.random.default_rng(3), 4, 7
    found, expected = [], []
    for _ in range(20000):
        weights = rng.uniform(0, 1, (H, H)) * np.r_[[0.75] * E, [-1.0] * (H - E)]
        if not diagonal:
            np.fill_diagonal(weights, 0)
        v = np.repeat([weights[:, :E].mean(), weights[:, E:].mean()], [E, H - E])
        found.append(v @ (weights - v) @ np.ones(H))
        expected.append(gradient_flow.expected_product(config, v))
        if not diagonal:  # the same in the letters of (J6)
            assert expected[-1] == pytest.approx(((v.sum()) ** 2 - H * (v @ v)) / (H - 1))
    error = np.std(np.subtract(found, expected)) / np.sqrt(20000)
    assert abs(np.mean(found) - np.mean(expected)) < 4 * error
    assert (abs(np.mean(found)) < 4 * error) == diagonal
    if not diagonal:
        assert abs(np.mean(found) + np.mean(np.square(v).sum())) > 10 * error  # -sum v^2 alone is not all of it


def test_spectrum_gives_the_terms_of_its_prediction():
    config = ei.ModelConfig(n_hidden=10, e_ratio=0.6)
    params = ei.init_params(config, 3, "float64")
    found, weights = gradient_flow.spectrum(config, params), ei.effective_weights(config, params)
    v = np.array([weights[:, :6].sum() / 60] * 6 + [weights[:, 6:].sum() / 40] * 4)
    product = sum(v[i] * (weights[i, j] - v[j]) for i in range(10) for j in range(10))
    assert found["product"] == pytest.approx(product)
    assert found["mean"] == pytest.approx(v.sum())
    roots = np.roots([1, -v.sum(), -product])  # (J4)
    np.testing.assert_allclose(
        np.sort_complex(found["outliers"][0] + 1j * found["outliers"][1]), np.sort_complex(roots)
    )
    assert np.hypot(*found["largest"]) == pytest.approx(np.abs(np.linalg.eigvals(weights)).max())


def test_random_feedback_has_an_opposite():
    """F and -F give opposite gradients, angles that sum to 180 degrees: the mean over feedbacks is 90 by symmetry."""
    problem = make_problem()
    config, params, batch = problem.config, problem.params, (problem.inputs, problem.labels, problem.noise)
    whole = common.recurrent_part(ei.loss_and_grads(config, params, *batch)[1])
    angles = []
    for seed in range(4):
        feedback = algorithms.random_feedback(config, seed)
        one, other = (
            common.recurrent_part(algorithms.eprop(config, params, *batch, feedback=sign * feedback)[1])
            for sign in (1, -1)
        )
        np.testing.assert_array_equal(one, -other)
        angles.append((common.angle(one, whole), common.angle(other, whole)))
    np.testing.assert_allclose(np.sum(angles, axis=1), 180)
    assert np.ptp(angles) > 5  # and they do differ
    draws = np.array([algorithms.random_feedback(config, seed) for seed in range(400)])
    assert abs(draws.mean()) < 4 * draws.std() / np.sqrt(draws.size)  # F is as likely as -F
    np.testing.assert_allclose(np.quantile(draws, [0.1, 0.9]).sum(), 0, atol=0.02)


def test_scaled_has_the_alpha_and_the_radius():
    config, params = gradient_flow.scaled(SMALL, ei.init_params(SMALL, 1, "float64"), 0.5, 1.5)
    assert config.alpha[0] == 0.5
    assert np.abs(np.linalg.eigvals(ei.effective_weights(config, params))).max() == pytest.approx(1.5)


# --- the others ------------------------------------------------------------------------------------


def test_constraint_variants_differ_in_what_they_say():
    weights = {}
    for variant in constraints.variants(BASIS, 4):
        assert variant.gradient is None  # all by BPTT
        weights[variant.key] = ei.effective_weights(variant.config, variant.params)
        assert variant.params.flat.size == ei.init_params(SMALL).flat.size
    plain = weights["all"]
    np.testing.assert_array_equal(weights["free"], plain)  # the same network to start with
    np.testing.assert_array_equal(weights["quiet"], plain)
    off = ~np.eye(10, dtype=bool)
    np.testing.assert_array_equal(weights["diagonal"][off], plain[off])
    assert (np.sign(np.diag(weights["diagonal"])) == [1] * 6 + [-1] * 4).all()
    np.testing.assert_array_equal(weights["rows"], plain.T)
    mixed = weights["mixed"]
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(mixed)), np.sort(np.linalg.eigvals(plain)), atol=1e-6)
    signs = [np.sign(column[column != 0]) for column in mixed.T]
    assert all(len(set(column)) == 1 for column in signs)  # Dale's principle holds
    assert {column[0] for column in signs[:6]} == {1.0, -1.0}  # and both kinds are read out


def test_free_signs_change_and_others_do_not():
    """After as many steps: Dale's principle holds in each variant but the one without it."""
    batches = list(zip(range(20), ei.make_batches(batch_size=2, seq_len=30, seed=3)))
    for variant in constraints.variants(BASIS, 4)[:3]:
        before = np.sign(ei.effective_weights(variant.config, variant.params))
        trainer = ei.Trainer(variant.config, variant.params, lr=0.05)
        for _, batch in batches:
            trainer.step(*batch)
        after = np.sign(ei.effective_weights(variant.config, variant.params))
        assert (after != before).any() == (variant.key == "free"), variant.key
        assert not np.diag(after).any() or variant.key == "diagonal"


def test_compare_gives_0_degrees_and_ratio_1_where_nothing_is_cut_off():
    params = ei.init_params(SMALL, 0, "float64")
    angles, ratios = truncation.compare(BASIS, params, 0, [1, 30], n_batches=2).values()
    assert angles[1] < 1e-5
    assert ratios[1] == pytest.approx(1)
    assert angles[0] > 1
    assert ratios[0] != pytest.approx(1)


def test_optimiser_variants_are_what_their_keys_say():
    """Labels are for display: with other labels the study finds the same."""
    found = {variant.key: variant for variant in optimiser.variants(BASIS, 3)}
    assert len(found) == len(optimiser.variants(BASIS, 3))
    for key, variant in found.items():
        kind, _, number = key.partition("-")
        expected = {"adam": Adam, "sgd": SGD, "float64": Adam, "one": Adam}[kind]
        if key == optimiser.TWICE:
            expected = optimiser.DoubleBiasRate
        assert type(variant.optimiser) is expected, key
        assert (variant.gradient is optimiser.one_bias) == (kind == "one") == (not variant.params.b_in.any()), key
        assert variant.params.dtype == ("float64" if key == optimiser.DOUBLE else "float32"), key
        rate = float(number) if kind == "sgd" else BASIS.lr * (float(number) if kind == "adam" else 1)
        assert variant.optimiser.lr == pytest.approx(rate), key


def test_labels_decide_nothing(small, monkeypatch):
    expected = study.measure("optimiser", seeds=1, steps=12)
    variants = optimiser.variants
    monkeypatch.setattr(
        optimiser, "variants",
        lambda *a: [dataclasses.replace(v, label=f"label {i}") for i, v in enumerate(variants(*a))],
    )  # fmt: skip
    found = study.measure("optimiser", seeds=1, steps=12)
    assert found.pop("names") != expected.pop("names")
    assert found == expected


def test_collect_and_outcome():
    rows = {"a": [{"x": 1, "y": [2, 3]}, {"x": 4, "y": [5, 6]}], "b": [{"x": 7, "y": [8, 9]}, {"x": 0, "y": [1, 2]}]}
    found = common.collect(rows)
    assert found["x"].tolist() == [[1, 4], [7, 0]]
    assert found["y"].tolist() == [[[2, 3], [5, 6]], [[8, 9], [1, 2]]]
    variant = common.bptt(BASIS, 0)
    kept = common.outcome(BASIS, variant, np.arange(200.0), 0, extra=7)
    assert kept["curves"].tolist() == [24.5, 74.5, 124.5, 174.5]
    assert (kept["loss"], kept["extra"]) == (189.5, 7)
    assert 0 <= kept["accuracy"] <= 1


def test_paired_interval_covers_the_median():
    """Its ranks are the binomial's; it holds the true median as often as it says, infinite differences among them."""
    rng = np.random.default_rng(5)
    for n, rank in ((6, 1), (8, 1), (9, 2), (12, 3), (20, 6)):
        values = rng.permutation(n).astype(float)
        assert common.paired_interval(values, np.zeros(n)) == ((n - 1) / 2, rank - 1, n - rank), n
    assert common.paired_interval(np.arange(5.0), np.zeros(5)) == (2, -np.inf, np.inf)
    hits = 0
    for _ in range(2000):
        second = rng.normal(size=12)
        first = second + np.where(rng.random(12) < 0.1, np.inf, rng.standard_cauchy(12))
        centre, low, high = common.paired_interval(first, second)
        hits += low <= np.tan(np.pi * (0.5 / 0.9 - 0.5)) <= high  # the median of 0.9 Cauchy and 0.1 at infinity
        assert low <= centre <= high
    assert 0.95 < hits / 2000 < 0.975  # 0.961 by the binomial
    assert common.paired_interval([np.inf] * 6, [np.inf] * 6) == (0, 0, 0)
    assert common.paired([2.0] * 6, [1.0] * 6, 2) == "+1.00 [+1.00, +1.00]"
    assert common.paired([2.0] * 3, [1.0] * 3, 2) == "+1.00"


def test_regions_that_are_not_there_agree_with_nothing(monkeypatch):
    """Of tanh units there are none: "2 of 2" would be said where nothing was compared."""
    other = dataclasses.replace(BASIS, config=dataclasses.replace(SMALL, activation="tanh"))
    monkeypatch.setattr(common, "basis_of", lambda run: other)
    monkeypatch.setattr(common, "TRIALS", 20)
    monkeypatch.setattr(fixed_points, "STARTS", 3)
    numbers = study.measure("fixed-points", seeds=2, steps=10, workers=1)
    assert numbers["agree"] == [None, None]
    assert "not compared" in study.table(numbers)
    assert "1 of 2" in study.table({**numbers, "agree": [1.0, 0.0]})
    assert "1 of 1" in study.table({**numbers, "agree": [1.0, None]})


def test_tables_are_the_same_in_both_forms():
    head, rows = ["a", "bb"], [["x", "1"], ["yyy", "20"]]
    assert common.text_table(head, rows) == ["a    bb", "x     1", "yyy  20"]
    assert common.markdown_table(head, rows) == ["| a | bb |", "| --- | --- |", "| x | 1 |", "| yyy | 20 |"]


def test_angle():
    assert common.angle([1, 0], [0, 2]) == pytest.approx(90)
    assert common.angle([1, 1], [-2, -2]) == pytest.approx(180)
    assert common.angle([0, 0], [1, 0]) == 90


def test_best_takes_the_rate_with_the_lowest_median():
    numbers = {"keys": ["bptt", "eprop", "eprop"], "loss": [[1, 1, 1], [1, 9, 9], [2, 2, 99]]}
    assert local_rules.best(numbers) == {"bptt": 0, "eprop": 2}


def test_one_bias_at_twice_the_rate_is_two_biases():
    problem = make_problem()
    two, one = problem.params, optimiser.with_one_bias(problem.params)
    a = study.common.GradientTrainer(problem.config, two, lr=0.01)
    b = study.common.GradientTrainer(
        problem.config, one, optimiser.one_bias, optimiser=optimiser.DoubleBiasRate(0.01)
    )  # fmt: skip
    for _ in range(20):
        a.step(problem.inputs, problem.labels)
        b.step(problem.inputs, problem.labels)
    np.testing.assert_allclose(one.b_rec, two.b_rec + two.b_in, rtol=1e-9)
    assert not one.b_in.any()
    np.testing.assert_allclose(one.w_rec, two.w_rec, rtol=1e-9)


def test_sgd_clips_the_norm():
    problem = make_problem()
    _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels, problem.noise)
    norm = np.linalg.norm(grads.flat)
    for clip, length in ((norm / 2, norm / 2), (2 * norm, norm), (np.inf, norm)):
        params, sgd = problem.params.copy(), SGD(0.1, clip)
        sgd.update(params, grads)
        np.testing.assert_allclose(
            problem.params.flat - params.flat, 0.1 * length / norm * grads.flat, rtol=1e-9, atol=1e-17
        )
        assert (sgd.clipped, sgd.k) == (int(clip < norm), 1)
    sgd.update(params, ei.Params.like(problem.config, "float64"))  # a gradient of 0 does not divide by 0
    assert np.isfinite(params.flat).all()
    for wrong in ((0, 1), (0.1, 0), (np.nan, 1), (0.1, -1)):
        with pytest.raises(ValueError, match="must be a (finite )?number"):
            SGD(*wrong)
    with pytest.raises(ValueError, match="like params"):
        sgd.update(params, grads.astype("float32"))


def test_work_and_memory_by_formula():
    """J P alone: T B times (H, H) by (H, H S); two arrays of influence."""
    work, _ = rtrl.flop(H=3, T=5, B=2, I=1)
    assert work == 5 * 2 * 2 * 3 * 3 * (3 * 5)
    assert rtrl.memory(H=3, T=5, B=2, I=1)[0] == 2 * 8 * np.zeros((2, 3, 3, 5)).size
