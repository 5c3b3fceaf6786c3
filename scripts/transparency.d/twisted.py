"""Twisted's own tests, which its package holds: reactors, processes, and most protocols of the internet's first decades."""
import glob
import os

from harness import Unit
from python import run_module

ROOT = "/usr/lib/python3/dist-packages"
FOLDERS = ["internet", "web", "protocols", "logger", "mail", "_threads", "runner", "application", "trial", "names", "python"]
# They make keys for minutes, or wait for what today's OpenSSL does not say: the limit cuts them off at another test each time.
LEFT_OUT = ["twisted.test.test_sslverify", "twisted.protocols.test.test_tls"]


def units(quick):
    for folder in ["twisted/test", *(f"twisted/{name}/test" for name in FOLDERS)]:
        for path in sorted(glob.glob(f"{ROOT}/{folder}/test_*.py")):
            module = os.path.relpath(path, ROOT)[:-3].replace("/", ".")
            if not quick and module not in LEFT_OUT:
                yield Unit(module.removeprefix("twisted."), lambda run, module=module: run_module(run, module, trial=True))
