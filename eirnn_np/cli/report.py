"""eirnn-np report: one HTML page of a trained run."""

from .output import say


def add_arguments(parser):
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--out", metavar="FILE", help="(default: report.html in the run folder)")


def run(arguments):
    from ..song2016.folder import is_paper_run

    if is_paper_run(arguments.run):
        from ..song2016.report import write_report
    else:
        from ..runs.report import write_report
    say(f"Report in {write_report(arguments.run, arguments.out)}")
