"""eirnn-np evaluate: a trained run on new trials."""

from .output import print_json, say
from .parser import json_object


def add_arguments(parser):
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--trials", type=int, metavar="N", help="(default: as in training)")
    parser.add_argument("--seed", type=int, help="of the trials (default: the run's own)")
    parser.add_argument("--timing", type=json_object, metavar="JSON", help="periods of the trials, ms, such as "
                        "'{\"stimulus\": 800}' (default: as trained; 500 ms of fixation and of stimulus where that is "
                        "the tutorial's timing)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print what evaluation.json holds, and nothing else")


def run(arguments):
    from ..song2016.folder import is_paper_run

    if is_paper_run(arguments.run):
        return _paper(arguments)
    from ..runs import evaluate_run, performance_lines, read_run, write_evaluation

    settings, config, params, _ = read_run(arguments.run)
    _, result = evaluate_run(settings, config, params, arguments.trials, arguments.seed, arguments.timing)
    write_evaluation(arguments.run, result)
    if arguments.json:
        return print_json(result)
    for line in performance_lines(result):
        say(line)
    for row in result["performance"].get("by_coherence", []):
        low, high = row["interval_95"]
        ideal = result["ideal_observer"]
        beside = f"; ideal observer {ideal['by_coherence'][row['coherence']]:.4f}" if ideal else ""
        say(f"  coherence {row['coherence']:5.1f} %: {row['accuracy']:.4f} of {row['n_trials']} "
            f"({low:.4f} - {high:.4f}){beside}")  # fmt: skip
    if arguments.timing is not None:
        say(f"  in {arguments.run}/evaluation.json; report and figures show the timing of the training")


def _paper(arguments):
    """A network of the paper: its own measures, at the paper's dt."""
    from ..song2016 import paper
    from ..song2016.evaluation import evaluate_and_keep

    if arguments.timing is not None:
        raise ValueError("--timing is for runs of eirnn-np train: the paper's tasks have test timings of their own")
    found = evaluate_and_keep(arguments.run, arguments.seed, arguments.trials)
    if arguments.json:
        return print_json(found)
    for line in paper.lines(found):
        say(line)
