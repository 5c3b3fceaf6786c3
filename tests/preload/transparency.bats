#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # variables come from guest.bash
#
# Suites that others wrote come out as bare; what they found.

load guest

setup() {
    guest_setup
}

@test "suites that others wrote come out as bare" {
    run "$root/scripts/transparency" --quick --modes logs,everything --json "$tmp/found.json"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output =~ ([0-9]+)\ cases,\ 0\ different ]]
    [ "${BASH_REMATCH[1]}" -ge 1500 ]
}

@test "an object that changes what programs do is found out, test by test" {
    cat >"$tmp/changed.c" <<'END'
#include <errno.h>
int pipe2(int fds[2], int flags)
{
	(void)fds, (void)flags;
	errno = EMFILE;
	return -1;
}
END
    gcc -shared -fPIC -o "$tmp/changed.so" "$tmp/changed.c"
    run "$root/scripts/transparency" --object "$tmp/changed.so" --modes traced --json "$tmp/found.json" python/test_popen
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"DIFFERENT python/test_popen (traced): test.test_popen.PopenTest.test_popen: ok bare, "* ]]
    [ "$(jq '.suites.python.different | length > 2' "$tmp/found.json")" = true ]
}

@test "a server that does not start, or whose lines are no records, is found out" {
    cat >"$tmp/changed.c" <<'END'
#include <errno.h>
int listen(int fd, int backlog)
{
	(void)fd, (void)backlog;
	errno = EADDRINUSE;
	return -1;
}
END
    gcc -shared -fPIC -o "$tmp/changed.so" "$tmp/changed.c"
    run "$root/scripts/transparency" --object "$tmp/changed.so" --modes traced --json "$tmp/found.json" servers/redis
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"DIFFERENT servers/redis (traced): redis: starts: ok bare, not traced"* ]]
    echo >"$tmp/empty.c"
    gcc -shared -fPIC -o "$tmp/empty.so" "$tmp/empty.c"
    run "$root/scripts/transparency" --object "$tmp/empty.so" --modes logs --json "$tmp/found.json" servers/redis
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"DIFFERENT servers/redis (logs): redis: records: all bare, "*" lines are none preloaded"* ]]
    [ "$(jq '.suites.servers.different | length' "$tmp/found.json")" -eq 1 ]
}

# Says on stdout, then on stderr: which of the two comes out first tells whether stdout is buffered.
order='import sys; print("out"); sys.stderr.write("err\n")'

@test "Python keeps its buffer where its output is no log" {
    # shellcheck disable=SC2016 # the inner shell is to expand it
    same sh -c 'x=$(/usr/bin/python3 -c "$1" 2>&1); echo "$x"; /usr/bin/python3 -c "$1" 2>&1 | cat' sh "$order"
    [ "$(head -1 "$tmp/bare.out")" = err ]
}

@test "Python keeps its buffer below a Python whose output is a log, whatever is between" {
    code="import subprocess, sys
for command in ([sys.executable, '-c', sys.argv[1]], ['sh', '-c', '/usr/bin/python3 -c \"\$1\"', 'sh', sys.argv[1]]):
    got = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(got.stdout)"
    same /usr/bin/python3 -c "$code" "$order"
    grep -q '^b.err.nout' "$tmp/bare.out"
}

@test "what a Python starts does not see that the Python is not to keep lines back" {
    # shellcheck disable=SC2016 # for the inner shells
    same /usr/bin/python3 -c 'import os, subprocess, sys
subprocess.run(["sh", "-c", "echo ${PYTHONUNBUFFERED-unset}"])
print(subprocess.run([sys.executable, "-c", "import os; print(os.environ.get(\"PYTHONUNBUFFERED\"))"], stdout=subprocess.PIPE).stdout)
sys.stdout.flush()
os.system("x=$(/usr/bin/python3 -c \"import os; print(os.environ.get(\\\"PYTHONUNBUFFERED\\\"))\"); echo $x")'
    [ "$(head -1 "$tmp/bare.out")" = unset ]
    # But for the user's own word.
    export PYTHONUNBUFFERED=yes
    # shellcheck disable=SC2016
    same /usr/bin/python3 -c 'import subprocess; subprocess.run(["sh", "-c", "echo ${PYTHONUNBUFFERED-unset}"])'
    [ "$(cat "$tmp/bare.out")" = yes ]
}

@test "a Python whose user wants it unbuffered is unbuffered everywhere" {
    export PYTHONUNBUFFERED=1
    same sh -c '/usr/bin/python3 -c "$1" 2>&1 | cat' sh "$order"
    [ "$(head -1 "$tmp/bare.out")" = out ]
}

@test "a Python that writes to the log again, below one that does not, is unbuffered" {
    into shim env LD_PRELOAD="$so" sh -c 'exec 3>&1; /usr/bin/python3 -c "$1" | cat' sh '
import os, subprocess, sys
code = "import os; print(1, end=chr(10)); os._exit(0)"
subprocess.run([sys.executable, "-c", code])
subprocess.run([sys.executable, "-c", code], stdout=3, close_fds=False, pass_fds=[3])'
    [ "$(unwrap "$tmp/shim.out")" = 1 ]
}

@test "what the caller of the suites ignores is not ignored in the tests, as it is in a shell's background jobs" {
    run bash -c 'trap "" INT QUIT HUP; LIMIT=60 exec "$@"' bash "$root/scripts/transparency" --modes traced --json "$tmp/found.json" \
        python/test_asyncio.test_runners
    echo "$output"
    [ "$status" -eq 0 ]
    # Its first ignored interrupt waits for ever.
    [ "$(jq '.suites.python.cases' "$tmp/found.json")" -ge 24 ]
}

@test "who is told to stop ends what runs" {
    local driver
    cat >"$tmp/sleeper.py" <<'END'
import signal, sys
open(sys.argv[1], "w").write("x")
signal.pause()
END
    env -u LD_PRELOAD /usr/bin/python3 -B - "$root/scripts/transparency" "$tmp" <<'END' 3>&- &
import importlib.machinery, importlib.util, os, sys
loader = importlib.machinery.SourceFileLoader("driver", sys.argv[1])
driver = importlib.util.module_from_spec(importlib.util.spec_from_loader("driver", loader))
loader.exec_module(driver)
import harness, python
tmp = sys.argv[2]
python.units = lambda quick: [harness.Unit("sleeps", lambda run: {"x": str(run.call([sys.executable, f"{tmp}/sleeper.py", f"{tmp}/ready.{os.path.basename(run.folder)}"]).status)})]
sys.argv[1:] = ["--modes", "traced", "--jobs", "2", "--json", f"{tmp}/found.json", "python"]
sys.exit(driver.main())
END
    driver=$!
    for _ in {1..600}; do
        [ "$(find "$tmp" -name 'ready.*' | wc -l)" -lt 2 ] || break
        sleep 0.1
    done
    [ "$(find "$tmp" -name 'ready.*' | wc -l)" -eq 2 ]
    pgrep -f "$tmp/sleeper.py"
    kill -TERM "$driver"
    status=0
    wait "$driver" || status=$?
    [ "$status" -eq 143 ]
    run pgrep -f "$tmp/sleeper.py"
    [ "$status" -eq 1 ]
}

# drive CODE [JOBS]: the driver with units of our own, whose `cases` is what CODE defines
drive() {
    TRACESHIM_BUILD=$build run /usr/bin/python3 - "$root" "$tmp" <<PY
import argparse, importlib.machinery, importlib.util, sys
sys.dont_write_bytecode = True
root, tmp = sys.argv[1:]
loader = importlib.machinery.SourceFileLoader("transparency", root + "/scripts/transparency")
driven = importlib.util.module_from_spec(importlib.util.spec_from_loader("transparency", loader))
loader.exec_module(driven)
import service
$1
options = argparse.Namespace(jobs=${2:-2}, modes=["logs"], quick=True, verbose=False, object="/dev/null")
unit = driven.harness.Unit("unit", cases)
driven.print_table(driven.judge(driven.Driver(options, tmp), [(driven.Verdict("suite", "unit"), unit)]))
PY
    echo "$output"
}

@test "what a suite needs and this machine lacks is an error that names it, and never an equal outcome" {
    drive '
def cases(run):
    service.account("no-such-user-here")'
    [ "$status" -eq 1 ]
    [[ $output == "transparency: suite/unit needs the user '"'no-such-user-here'"', which this machine lacks"* ]]
    # Also where the runs that are left out because of that are asked first.
    drive '
driven.concurrent.futures.as_completed = reversed
def cases(run):
    service.account("no-such-user-here")' 1
    [ "$status" -eq 1 ]
    [[ $output == "transparency: suite/unit needs the user '"'no-such-user-here'"', which this machine lacks"* ]]
    drive '
def cases(run):
    with driven.harness.child(["/no/such/program"]):
        return {"it runs": "ok"}'
    [ "$status" -eq 0 ]
    [[ $output == *"DIFFERENT suite/unit (logs): the run itself: bare: FileNotFoundError"* ]]
    drive '
def cases(run):
    return {"it runs": "ok"}'
    [[ $output == *"all                1       1          0           0     0"* ]]
}
