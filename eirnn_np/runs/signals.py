"""Ctrl-C and SIGTERM at a moment that suits the training."""

import signal
import threading


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a run; `status` is the exit status that tells a shell so."""

    def __init__(self, message, status=130):
        super().__init__(message)
        self.status = status


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP raise Stopped: at once, or, where `wait` is set, when `check` is called next.

    A second signal does not wait. Outside the main thread, and for signals that are ignored (nohup), nothing
    is changed.
    """

    wait = False
    caught = None

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        first, self.caught = self.caught is None, number
        if not (self.wait and first):
            self.check()

    def check(self):
        if self.caught is not None:
            raise Stopped(f"stopped by {signal.Signals(self.caught).name}", 128 + self.caught)
