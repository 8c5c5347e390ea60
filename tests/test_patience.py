"""A child that works is waited for; one that hangs is not."""

import subprocess
import sys
import time

import patience
import pytest


def child(code):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses /proc")
def test_who_does_nothing_or_works_for_ever_hangs():
    for code, limits in (("import time; time.sleep(60)", {"idle": 0.5}), ("while 1: pass", {"most": 0.2, "idle": 0.5})):
        process = child(code)
        with pytest.raises(AssertionError, match=r"hangs after [\d.]+ s of CPU"):
            patience.finish(process, **limits)
        assert process.returncode == -9


def test_the_work_of_a_child_s_child_counts():
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    process = child(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); import time; time.sleep(600)"
    )
    while patience.cpu_seconds(process.pid) < 0.3:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()


def test_output_and_status_are_those_of_the_child():
    done = patience.run([sys.executable, "-c", "import sys; print(7); sys.exit('no')"])
    assert (done.returncode, done.stdout, done.stderr) == (1, "7\n", "no\n")
    with pytest.raises(AssertionError, match="no"):
        patience.run([sys.executable, "-c", "import sys; sys.exit('no')"], check=True)
