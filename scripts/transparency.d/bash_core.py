"""Bash's own tests, out of its sources: each script of them, and what comes out of it."""
import os
import pathlib

import sources
from harness import Unit, scripted

# What lets them see arguments and files as they are; made by the compiler, once a run.
TOOLS = ["recho", "zecho", "printenv", "xcase"]
# All at once; terminals and the machine's own names; what lets 10 us race with a read, compares with the clock, or shares a file in /tmp.
LEFT_OUT = {"run-all", "run-minimal", "run-gprof", "run-histexpand", "run-history", "run-intl", "run-jobs", "run-read", "run-printf", "run-test"}


def tests(run, names):
    sources.copied("bash", ["tests", *(f"support/{tool}.c" for tool in TOOLS)], run.folder)
    folder = os.path.join(run.folder, "tests")
    # They have files of fixed names in /tmp, which the other configurations' runs have as well.
    for path in pathlib.Path(folder).iterdir():
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"/tmp", os.fsencode(run.folder)))
    pathlib.Path(run.folder, "support", "bashansi.h").write_text("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n", encoding="ascii")
    for tool in TOOLS:
        built = run.call(["/usr/bin/gcc", "-w", "-include", "bashansi.h", "-I", f"{run.folder}/support", "-o", f"{folder}/{tool}", f"{run.folder}/support/{tool}.c"])
        if built.status != 0:
            return {f"{tool} is built": str(built.status)}
    extra = {"THIS_SH": "/bin/bash", "BUILD_DIR": run.folder, "TSTOUT": f"{run.folder}/out", "BASH_TSTOUT": f"{run.folder}/out", "PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"}
    # Each compares what comes out with what should. Bytes that are no text are none in a record either, so cat tells them.
    return scripted(run, {name: f"cd {folder}; sh {name} 2>&1 | sed -e 's/[0-9]\\{{4,\\}}/N/g' | cat -v" for name in names}, extra=extra)


def units(quick):
    if quick:
        return
    names = sorted(name for name in os.listdir(os.path.join(sources.tree("bash"), "tests")) if name.startswith("run-") and name not in LEFT_OUT)
    for number, part in enumerate(sources.several(names, 20), 1):
        yield Unit(f"tests {number}", lambda run, part=part: tests(run, part))
