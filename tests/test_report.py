"""The report of a run: complete, well-formed, needing nothing from outside, and readable without seeing."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import needs_neurogym

import eirnn_np as ei
from eirnn_np import figures, tasks
from eirnn_np.cli import main
from eirnn_np.model import input_noise
from eirnn_np.runs import RunError, Settings, read_run, report

VOID = {"meta", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Collects tags; fails on one that is closed but not open, or left open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, wanted):
        return [attributes for tag, attributes in self.tags if tag == wanted]


@pytest.fixture(scope="module")
def built(short_run, tmp_path_factory):
    """The page of the short run; its folder is left as it was."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    before = {p: p.read_bytes() for p in short_run.rglob("*") if p.is_file()}
    assert main(["report", str(short_run), "--out", str(path)]) == 0
    assert {p: p.read_bytes() for p in short_run.rglob("*") if p.is_file()} == before
    return path.read_text()


def test_every_figure_is_there_with_an_alternative_text(built):
    page = Page(built)
    figures = [attributes["id"] for attributes in page.all("figure")]
    assert sorted(figures) == sorted(report.CAPTIONS)
    pictures = [attributes for attributes in page.all("svg")]
    assert len(pictures) == len(figures)
    for picture in pictures:
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 30
    for level in ("h1", "title"):
        assert len(page.all(level)) == 1
    assert page.all("html")[0]["lang"] == "en"


def test_nothing_comes_from_outside(built):
    page = Page(built)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed"} == set()
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "data"):
                assert value.startswith("data:image/png;base64,") or value[1:] in ids, (name, value)
            assert not name.startswith("on")
    for target in re.findall(r"url\(([^)]*)\)", built):
        assert target.startswith("#")
        assert target[1:] in ids
    assert "@import" not in built


def test_dark_light_and_print(built):
    style = re.search(r"<style>(.*?)</style>", built, re.S)[1]
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    used = set(re.findall(r"var\(--(\w+)\)", built))
    light, dark = (set(re.findall(r"--(\w+):", part)) for part in style.split("@media", 2)[:2])
    assert used <= light
    assert light == dark
    # Nothing but the bodies of images and colour maps keeps a colour of its own.
    fixed = set(re.findall(r"#[0-9a-f]{6}", built)) - set(re.findall(r"#[0-9a-f]{6}", style))
    assert not any(code[1:3] == code[3:5] == code[5:7] for code in fixed), fixed


def test_numbers_are_those_of_the_run(built, short_run):
    settings, config, params, losses = read_run(short_run)
    text = " ".join("".join(Page(built).text).split())
    assert f"{np.mean(losses):.4f} nats" in text
    start = ei.init_params(config, settings.seed, settings.dtype)
    norms = report.gradient_norms(settings, config, (start, params))
    for key, _ in params.items():
        assert f"{norms[0][key]:.2e}{norms[1][key]:.2e}" in text.replace(" ", "")
    # Independently: one batch's gradient has a norm of the same size.
    inputs, labels = next(ei.make_batches(seed=settings.evaluation_stream(tasks.PROBE)))
    _, grads = ei.loss_and_grads(config, start, inputs, labels, backend="numpy")
    for key, gradient in grads.items():
        assert 0.5 < np.linalg.norm(gradient) / norms[0][key] < 2, key


def test_gradient_norms_are_those_of_the_loss_that_was_trained(monkeypatch):
    """With weights of the labels, and noise in the inputs."""
    monkeypatch.setattr(report, "GRADIENT_BATCHES", 2)
    settings = Settings(env_kwargs={"dt": 20}, batch_size=3, seq_len=40, seed=5, class_weights=[1.0, 7.0, 3.0])
    config = ei.ModelConfig(n_hidden=9, sigma_in=0.3)
    params = ei.init_params(config, 1, "float64")
    (found,) = report.gradient_norms(settings, config, (params,))
    expected, seed = dict.fromkeys(found, 0.0), tasks.evaluation_noise_seed(5)
    batches = ei.make_batches(settings.task, 3, 40, settings.evaluation_stream(tasks.PROBE), {"dt": 20})
    for k, (inputs, labels) in zip(range(2), batches):
        drawn = [make(config, seed, k, 40, 3, "float64") for make in (ei.recurrent_noise, input_noise)]
        weights = np.array([1.0, 7.0, 3.0])[labels]
        _, grads = ei.loss_and_grads(config, params, inputs, labels, drawn[0], weights, "numpy", input_noise=drawn[1])
        for key, gradient in grads.items():
            expected[key] += np.sqrt((gradient**2).sum()) / 2
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_same_run_gives_the_same_page(built, short_run):
    again = report.build_report(short_run.name, *read_run(short_run))
    assert again == built


def test_the_page_says_where_evaluation_json_is_of_another_timing(built, short_run, tmp_path, capsys):
    assert report.OTHER not in built
    run = shutil.copytree(short_run, tmp_path / "run")
    assert main(["evaluate", str(run), "--timing", '{"stimulus": 1000}', "--trials", "60"]) == 0
    assert "evaluation.json; report and figures show the timing of the training" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert report.OTHER in page
    assert "fixation 500, stimulus 500, decision 100 ms" in page


@needs_neurogym
def test_a_task_without_choices_and_a_name_with_markup(tmp_path):
    folder = tmp_path / "a <b> & c"
    arguments = ["--task", "ReadySetGo-v0", "--steps", "2", "--hidden", "6", "--trials", "5", "--no-figures"]
    assert main(["train", *arguments, "--batch-size", "2", "--seq-len", "10", "--out", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    built = (folder / "report.html").read_text()
    figures = {attributes["id"] for attributes in Page(built).all("figure")}
    assert set(report.CAPTIONS) - figures == {"psychometric", "selectivity", "fixed_points"}
    assert "a &lt;b&gt; &amp; c: ReadySetGo-v0" in built


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a finished run"):
        report.write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_algorithm_is_called_by_its_name(tmp_path):
    run, page = tmp_path / "run", tmp_path / "page.html"
    options = "--algorithm tbptt --truncation 3 --steps 4 --trials 20 --no-figures --hidden 8".split()
    options += ["--class-weights", "1", "2", "2.5"]
    assert main(["train", "--quiet", "--out", str(run), *options]) == 0
    assert main(["report", str(run), "--out", str(page)]) == 0
    text = " ".join(Page(page.read_text()).text)
    assert "trained by backpropagation through time, truncated after 3 time steps" in text
    assert re.search(r"nats per time step, a mean weighted by label \(1, 2, 2\.5\)", text)


def test_a_page_that_cannot_be_written_is_one_line(short_run, tmp_path, capsys):
    target = tmp_path / "missing" / "page.html"
    assert main(["report", str(short_run), "--out", str(target)]) == 1
    assert capsys.readouterr().err == f"eirnn-np: cannot write the report {target}: No such file or directory\n"


def test_matrices_show_the_page_where_a_weight_is_0():
    """No white in them: on a dark page they are dark. A small weight can be told from 0, a large one is opaque."""
    values = figures.SIGNED(np.array([0.0, 0.25, 0.45, 0.5, 0.55, 0.75, 1.0]))
    np.testing.assert_allclose(values[:, 3], [1, 0.5, 0.1, 0, 0.1, 0.5, 1], atol=0.01)
    assert (values[:3, 0] > values[:3, 2]).all()
    assert (values[4:, 2] > values[4:, 0]).all()
    figure = figures.connectivity(np.diag([-1.0, 0.0, 1.0]), np.arange(3), 2)
    report.picture("connectivity", figure, report.CAPTIONS["connectivity"])
    assert figure.axes[0].images[0].get_cmap().name == "signed"
