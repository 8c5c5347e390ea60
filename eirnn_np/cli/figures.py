"""eirnn-np figures: the pictures of a trained run, drawn again."""

from pathlib import Path

from .output import say


def add_arguments(parser):
    parser.add_argument("run", metavar="RUN", help="run folder")


def run(arguments):
    from ..song2016.folder import is_paper_run

    if is_paper_run(arguments.run):
        from ..song2016 import paper

        for path in paper.draw_run(arguments.run, say):
            say(path)
        return
    from ..runs import draw_run, evaluate_run, read_run

    folder = Path(arguments.run)
    settings, config, params, losses = read_run(folder)
    evaluation, result = evaluate_run(settings, config, params)  # the pictures need the trials
    for name in draw_run(settings, config, params, losses, evaluation, result, folder):
        say(folder / "figures" / name)
