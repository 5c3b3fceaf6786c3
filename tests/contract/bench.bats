#!/usr/bin/env bats
#
# What scripts/bench promises beside numbers.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/scripts/bench.d"
}

@test "what is stopped takes its group along, insists where it has to, and is nobody else's any more once it has been waited for" {
    /usr/bin/python3 - "$build" <<'END'
import pathlib, subprocess, sys, time
import harness

def ends(pid):
    """Whether it does in a while, waited for or not."""
    stat, until = pathlib.Path(f"/proc/{pid}/stat"), time.monotonic() + 60
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] not in "ZX" and time.monotonic() < until:
        time.sleep(0.01)
    return time.monotonic() < until

with harness.Bench(pathlib.Path(sys.argv[1]), True) as bench:
    master = bench.start(["sh", "-c", "sleep 600 & echo $!; exec sleep 600"], stdout=subprocess.PIPE, text=True)
    worker = int(master.stdout.readline())
    bench.stop(master)
    assert master.returncode == -15 and not bench.running and ends(worker)
    deaf = bench.start(["sh", "-c", "trap '' TERM; echo; while :; do sleep 600; done"], stdout=subprocess.PIPE)
    deaf.stdout.readline()
    bench.stop(deaf, 0.2)
    assert deaf.returncode == -9
    gone = bench.start(["true"])
    gone.wait()
    harness.os.killpg = None
    bench.stop(gone)
    assert gone.returncode == 0 and not bench.running
END
}
