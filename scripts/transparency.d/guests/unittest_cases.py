"""
Run one module of unit tests, and note each test's outcome in a file as soon as it is known: a run that crashes or hangs
still tells how far it came. This is the guest: it is started by Debian's own interpreter, bare or preloaded.

    python3 unittest_cases.py RESULTS MODULE           CPython's and other unittest modules
    python3 unittest_cases.py --trial RESULTS MODULE   Twisted's
"""
import json
import os
import re
import sys
import unittest

# What waits for ever in a virtual machine without its host's part of it.
LEFT_OUT = re.compile(r"VSOCK")


class Notes:
    """The file of outcomes; opened for each line, so that no descriptor and no buffer of ours is in the way of a test."""

    def __init__(self, path):
        self.path = path
        self.counts = {}
        self.pid = os.getpid()

    def begin(self, test):
        name = test.id()
        self.counts[name] = self.counts.get(name, 0) + 1
        self.add(test, "hangs or crashes")

    def add(self, test, outcome, reason=""):
        name = test.id()
        count = self.counts.get(name, 1)
        key = name if count == 1 else f"{name} #{count}"
        line = json.dumps([key, outcome, str(reason)[-2000:]]) + "\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)


def unittest_result(notes):
    class Result(unittest.TestResult):
        def startTest(self, test):
            super().startTest(test)
            notes.begin(test)

        def addSuccess(self, test):
            super().addSuccess(test)
            notes.add(test, "ok")

        def addError(self, test, err):
            super().addError(test, err)
            notes.add(test, "error", self._exc_info_to_string(err, test))

        def addFailure(self, test, err):
            super().addFailure(test, err)
            notes.add(test, "failed", self._exc_info_to_string(err, test))

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            notes.add(test, "skipped", reason)

        def addExpectedFailure(self, test, err):
            super().addExpectedFailure(test, err)
            notes.add(test, "expected failure")

        def addUnexpectedSuccess(self, test):
            super().addUnexpectedSuccess(test)
            notes.add(test, "unexpected success")

        def addSubTest(self, test, subtest, err):
            super().addSubTest(test, subtest, err)
            if err is not None:
                notes.add(test, "failed", self._exc_info_to_string(err, test))

    return Result()


def run_unittest(module, notes):
    if module.startswith("test."):
        from test import support
        # None of the network, the sound card, the screen; nothing that takes gigabytes or minutes.
        support.use_resources = ["subprocess"]
        support.verbose = 0
    import faulthandler
    faulthandler.enable()
    chosen(unittest.defaultTestLoader.loadTestsFromName(module)).run(unittest_result(notes))


def chosen(tests):
    """A suite keeps its class, which may have something to set up."""
    kept = [chosen(test) if isinstance(test, unittest.TestSuite) else test for test in tests]
    return type(tests)([test for test in kept if isinstance(test, unittest.TestSuite) or not LEFT_OUT.search(test.id())])


def run_trial(module, notes):
    from twisted.trial import reporter, runner

    class Reporter(reporter.Reporter):
        def startTest(self, test):
            super().startTest(test)
            notes.begin(test)

        def addSuccess(self, test):
            super().addSuccess(test)
            notes.add(test, "ok")

        def addError(self, test, error):
            super().addError(test, error)
            notes.add(test, "error", error)

        def addFailure(self, test, fail):
            super().addFailure(test, fail)
            notes.add(test, "failed", fail)

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            notes.add(test, "skipped", reason)

        def addExpectedFailure(self, test, error, todo=None):
            super().addExpectedFailure(test, error, todo)
            notes.add(test, "expected failure")

        def addUnexpectedSuccess(self, test, todo=None):
            super().addUnexpectedSuccess(test, todo)
            notes.add(test, "unexpected success")

    tests = runner.TestLoader().loadByName(module, recurse=True)
    runner.TrialRunner(Reporter, workingDirectory="trial").run(tests)


def main():
    trial = sys.argv[1] == "--trial"
    results, module = sys.argv[1 + trial:3 + trial]
    # Tests look at sys.argv; they are to see what an ordinary start leaves there.
    sys.argv[1:] = []
    (run_trial if trial else run_unittest)(module, Notes(results))


if __name__ == "__main__":
    main()
