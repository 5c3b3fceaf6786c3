#!/usr/bin/env bats
# shellcheck disable=SC2154,SC2016 # what the shells in here expand is theirs
#
# Processes and whole trees of them, bare and preloaded: the same children, the same data between them, the same end; and
# what goes to the tree's own output, from whichever of them, is records.

load guest

setup() {
    guest_setup
    mkdir "$tmp/work"
    cd "$tmp/work" || return 1
}

processes() {
    FILTER="sort" same "$guests/process_guest" "$1"
    FILTER="sort" same_files "$guests/process_guest" "$1"
}

# script SHELL: standard input, as a script of that shell
script() {
    cat >"$tmp/script"
    same "$1" "$tmp/script"
    FILTER="sort" same_files "$1" "$tmp/script"
}

@test "each member of the exec family starts the same program with the same environment, and the child's lines are records" {
    processes exec_family
    [ "$(jq -s 'map(select(.service == "echo")) | length' "$tmp/shim.out")" -eq 8 ]
}

@test "vfork children, nested ones too, do to their own descriptors what they want" {
    processes vforks
}

@test "posix_spawn, system and popen start traced children; data in pipes stays data" {
    processes spawns
    [ "$(jq -s 'map(select(.message == "from the shell" and .service == "sh")) | length' "$tmp/shim.out")" -eq 1 ]
    processes pipes
}

@test "clone and _Fork make children that log under their own id" {
    processes clones
    [ "$(jq -s 'map(.pid) | unique | length' "$tmp/shim.out")" -eq 3 ]
}

@test "whatever way a process forks, and whoever prints first in the child, its lines carry its own id" {
    local forks lines
    for forks in forks:7 forks_with_handlers:3 forks_unseen:2; do
        lines=${forks#*:}
        into_files shim env LD_PRELOAD="$so" "$guests/process_guest" "${forks%:*}"
        jq -c 'select(.pid != (.message | capture("I am (?<pid>[0-9]+)").pid | tonumber))' "$tmp/shim.out" >"$tmp/wrong"
        [ ! -s "$tmp/wrong" ] || { cat "$tmp/wrong"; false; }
        [ "$(jq -s 'map(select(.pid == .tid)) | length' "$tmp/shim.out")" -eq "$lines" ]
    done
}

@test "after clearenv the program is traced as before, and its children are not" {
    into bare "$guests/process_guest" clears_environment
    into shim env LD_PRELOAD="$so" "$guests/process_guest" clears_environment
    FILTER="sort" loosely bare shim
    [ "$(grep -c '^{.*still a log' "$tmp/shim.out")" -eq 1 ]
    [ "$(grep -c '^from the' "$tmp/shim.out")" -eq 3 ]
}

@test "a process that changes its root and gives up its rights goes on logging records" {
    same "$guests/process_guest" changes_root
}

@test "without memory every byte passes raw" {
    into bare "$guests/process_guest" little_memory
    into shim env LD_PRELOAD="$so" "$guests/process_guest" little_memory
    loosely bare shim
}

for_each_shell='
x=$(echo data; echo more data); echo "$x" | tr a-z A-Z
for i in 1 2 3; do echo "line $i"; done | while read -r line; do echo "read: $line"; done
printf "several "; printf "pieces "; echo "of a line"
(echo in a subshell; exit 3); echo "status $?"
echo to stderr >&2
{ echo both; echo ways >&2; } 2>&1 | sort
cat <<EOF
here document
EOF
echo in the file > file; cat file
exec 5>&1; echo "through five" >&5; exec 5>&-
/bin/echo external; echo "sum $(expr 1 + 2) $(printf "%s" "$(echo nested "$(echo deeper)")")"
set -- a b c; echo "$# $*"
wc -c < file
trap "echo at exit" EXIT
kill -0 $$ && echo alive
sh -c "kill -TERM \$\$"; echo "killed: $?"
false || echo "false: $?"
printf "no newline at the end"
exit 7'

@test "scripts of bash and dash: substitutions, pipes, redirections, traps and the status" {
    local shell
    for shell in bash dash; do
        script $shell <<<"$for_each_shell"
        [ "$(<"$tmp/shim.status")" -eq 7 ]
        [ "$(<file)" = "in the file" ]
    done
}

@test "background jobs, coprocesses and process substitution" {
    FILTER="sort" script bash <<'EOF'
coproc cat
echo through the coprocess >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"; echo "$line"
exec {COPROC[1]}>&-
diff <(echo a; echo b) <(echo a; echo c)
for i in 1 2 3 4 5; do (echo "job $i") & done; wait
mapfile -t lines < <(seq 3); echo "${#lines[@]}"
rm -f copy; tee >(cat >copy) <<<"teed" >/dev/null; until [ -s copy ]; do sleep 0.02; done; cat copy
EOF
}

@test "a script with an interpreter of its own, an env -i, and a preload that is set for one command" {
    printf '#!/bin/sh\necho "script $1"\n' >run.sh
    printf '#!/usr/bin/env -S /usr/bin/python3 -u\nimport os\nprint("python", os.getcwd())\n' >run.py
    chmod +x run.sh run.py
    FILTER="sort" script bash <<'EOF'
./run.sh 1; ./run.py; exec ./run.sh 2
EOF
    into bare bash -c 'env -i /bin/echo bare; echo traced'
    into shim env LD_PRELOAD="$so" bash -c 'env -i /bin/echo bare; echo traced'
    loosely bare shim
    [ "$(head -n 1 "$tmp/shim.out")" = bare ]
    [ "$(grep -c '^{' "$tmp/shim.out")" -eq 1 ]
}

@test "python's subprocess and multiprocessing, perl, and their exit statuses" {
    cat >"$tmp/work/sub.py" <<'EOF'
import multiprocessing, os, subprocess, sys
print(subprocess.check_output(["echo", "captured"]), flush=True)
print(subprocess.run("cat; exit 4", shell=True, input=b"given", capture_output=True), flush=True)
subprocess.run(["echo", "inherited"], close_fds=True)
subprocess.run(["echo", "in another folder"], cwd="/", start_new_session=True, preexec_fn=lambda: None)
p = subprocess.Popen(["sh", "-c", "read x; echo got $x; echo err >&2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
print(p.communicate(b"line\n"), p.returncode, flush=True)
try:
    subprocess.run(["/nowhere"])
except OSError as e:
    print(e, flush=True)
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(abs, range(-5, 0)), flush=True)
print(os.popen("echo popen").read(), os.system("exit 3"), os.spawnlp(os.P_WAIT, "true", "true"), flush=True)
pid, fd = os.forkpty()
if pid == 0:
    os.write(1, b"in a terminal %d\n" % os.isatty(1))
    os._exit(0)
print(os.read(fd, 100), os.waitpid(pid, 0)[1], flush=True)
sys.exit(9)
EOF
    same /usr/bin/python3 sub.py
    [ "$(<"$tmp/shim.status")" -eq 9 ]
    same perl -e '$|=1; print "a", "b", "\n"; print STDERR "x", 1, "\n"; system("echo from a child"); print `echo data`; open(F, "-|", "seq 3"); print "got $_" while <F>; close F; if (!fork) { print "child\n"; exit } wait; printf "%d\n", $? >> 8; exec "sh", "-c", "echo last; exit 5"'
    [ "$(<"$tmp/shim.status")" -eq 5 ]
}

@test "gcc, make, tar, git, find and xargs do the same work" {
    cat >work.sh <<'EOF'
set -e
printf '#include <stdio.h>\nint main(void) { puts("built"); return 3; }\n' >a.c
printf 'all: a\n\t./a || echo "status $$?"\na: a.c\n\tgcc -o a a.c\nbad:\n\tfalse\n' >Makefile
make -j2; make bad || echo "make: $?"
gcc -c nowhere.c || echo "gcc: $?"
mkdir d; seq 1000 >d/numbers; tar cf - d | gzip -n | gunzip | tar tf -; tar czf d.tgz d; tar xzf d.tgz -O | md5sum
find d -name 'n*' -print0 | xargs -0 -n 1 wc -l
seq 20 | xargs -P 4 -n 5 echo | wc -l
git init -q . ; git add a.c; git -c user.name=a -c user.email=a@b commit -qm "first" --date=@0 --author='a <a@b>'
git log --format=%s; git diff --stat; git show --stat --format=%an HEAD
find . -name '*.c' -exec grep -c puts {} +
sort -R d/numbers | sort -n | tail -n 1; awk '{ s += $1 } END { print s; system("echo from awk") }' d/numbers
ls | sed 's/^/f /'; dd if=d/numbers bs=1 count=10 status=none | od -c
EOF
    mkdir one two
    (cd one && into bare bash ../work.sh)
    (cd two && into shim env LD_PRELOAD="$so" bash ../work.sh)
    agree bare shim
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    cmp one/d.tgz two/d.tgz || diff <(tar xzOf one/d.tgz) <(tar xzOf two/d.tgz)
}

@test "progress bars with carriage returns keep every byte, and terminals are left alone" {
    cat >bar.py <<'EOF'
import sys
for i in range(5):
    sys.stdout.write("\r%3d%%" % (i * 25))
    sys.stdout.flush()
print()
print("\x1b[31mred\x1b[0m\ttab \x07")
EOF
    same /usr/bin/python3 bar.py
    # A terminal of its own, by a library and by a tool.
    cat >terminal.py <<'EOF'
import pty, sys
sys.exit(pty.spawn(sys.argv[1:]))
EOF
    into bare /usr/bin/python3 terminal.py /usr/bin/python3 bar.py
    into shim /usr/bin/python3 terminal.py env LD_PRELOAD="$so" /usr/bin/python3 bar.py
    cmp "$tmp/bare.out" "$tmp/shim.out"
    grep -q '75%' "$tmp/shim.out"
    into bare script -qec 'stty -a; ls --color=auto /; echo end' /dev/null
    into shim script -qec "export LD_PRELOAD=$so; stty -a; ls --color=auto /; echo end" /dev/null
    cmp "$tmp/bare.out" "$tmp/shim.out"
    grep -q 'end' "$tmp/shim.out"
}

@test "output that is redirected inside the tree is data; what goes to the tree's own output is a log, by identity" {
    cat >tree.sh <<'EOF'
echo "to a file" >file; sh -c 'echo "again"' >>file
(echo "to the log, through another number" >&7) 7>&1
sh -c 'exec 9>&1 1>/dev/null; echo nothing; echo "nine" >&9'
echo "opened again" >/dev/stdout
echo data | tee copy
EOF
    same bash tree.sh
    [ "$(<file)" = $'to a file\nagain' ]
    [ "$(<copy)" = data ]
    [ "$(wc -l <"$tmp/shim.out")" -eq 4 ]
}

@test "the identity of the tree's output is handed down, and the program does not see it" {
    into shim env LD_PRELOAD="$so" /usr/bin/python3 -u -c '
import os, subprocess
print("TRACESHIM_STDIO" in os.environ)
print(subprocess.run(["sh", "-c", "echo to the pipe; echo to the log >&2"], stdout=subprocess.PIPE).stdout)'
    [ "$(unwrap "$tmp/shim.out")" = "False
b'to the pipe\\n'" ]
    [ "$(jq -r .message "$tmp/shim.err")" = "to the log" ]
}

@test "a request that a child answers gives its id to no answer of the parent" {
    cat >"$tmp/server.py" <<'END'
import os, socket, subprocess, sys
answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1], "w") as port:
    print(listener.getsockname()[1], file=port)
conn = listener.accept()[0]
os.set_inheritable(conn.fileno(), True)
script = ["sh", "-c", "printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n' >&%d" % conn.fileno()]
while head := conn.recv(4096):
    how = head.split()[1].strip(b"/")
    if how == b"fork" and (pid := os.fork()) == 0:
        os.write(conn.fileno(), answer)
        os._exit(0)
    elif how == b"fork":
        os.waitpid(pid, 0)
    elif how == b"spawn":
        os.waitpid(os.posix_spawn("/bin/sh", script, os.environ), 0)
    elif how == b"vfork":
        subprocess.run(script, close_fds=False, pass_fds=(conn.fileno(),), check=True)
    else:
        conn.send(answer)
END
    for how in fork spawn vfork; do
        rm -f "$tmp/port"
        TRACESHIM_RESPONSE_HEADER=x-trace LD_PRELOAD=$so /usr/bin/python3 "$tmp/server.py" "$tmp/port" >"$tmp/log" 2>&1 3>&- &
        for _ in {1..3000}; do [ -s "$tmp/port" ] && break || sleep 0.02; done
        url=http://127.0.0.1:$(<"$tmp/port")
        curl -sS --max-time 20 -i -H "traceparent: 00-$(printf '%032x-%016x' 1 1)-01" "$url/own" \
            --next -sS --max-time 20 -i -H "traceparent: 00-$(printf '%032x-%016x' 2 2)-01" "$url/$how" \
            --next -sS --max-time 20 -i -H "traceparent: 00-$(printf '%032x-%016x' 3 3)-01" "$url/own" | tr -d '\r' >"$tmp/answers"
        wait $!
        [ "$(grep -c '^HTTP/1.1 200' "$tmp/answers")" -eq 3 ]
        # The first one's own; of what comes from the child, its own or none; behind it none.
        grep '^x-trace' "$tmp/answers" >"$tmp/ids"
        [ "$(head -n 1 "$tmp/ids")" = "x-trace: $(printf %032x 1)" ]
        awk 'NR == 2 && !/2$/ || NR > 2 { exit 1 }' "$tmp/ids"
    done
}

@test "a child that had the connection before the request came answers it, and gives its id to no answer of the parent" {
    cat >"$tmp/server.py" <<'END'
import os, socket, sys
answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
how, port = sys.argv[1:]
here, there = socket.socketpair()

def help(conn):
    here.close()
    while there.recv(1):
        conn = socket.recv_fds(there, 1, 1)[1][0] if conn is None else conn
        os.write(conn, answer)
        there.send(b".")
    os._exit(0)

def ask(conn):
    here.send(b".")
    if how == "sent" and ask not in told:
        told.append(ask)
        socket.send_fds(here, [b"."], [conn])
    here.recv(1)

told = []
if how == "sent" and os.fork() == 0:
    help(None)
if how != "inherited":
    listener = socket.create_server(("127.0.0.1", 0))
    with open(port, "w") as file:
        print(listener.getsockname()[1], file=file)
    conn = listener.accept()[0]
else:
    conn = socket.socket(fileno=0)
if how == "sent":
    ask(conn.fileno())
elif os.fork() == 0:
    help(conn.fileno())
there.close()
number = 0
while head := conn.recv(4096):
    number += 1
    print("begin", number, flush=True)
    if head.startswith(b"GET /own"):
        conn.send(answer)
    else:
        ask(conn.fileno())
    print("end", number, flush=True)
END
    cat >"$tmp/client.py" <<'END'
import os, socket, subprocess, sys
how, port, log, *server = sys.argv[1:]
if how == "inherited":
    listener = socket.create_server(("127.0.0.1", 0))
    conn = socket.create_connection(listener.getsockname(), timeout=60)
    peer = listener.accept()[0]
    run = subprocess.Popen(["env", *server], stdin=peer, stdout=open(log, "w"))
    peer.close()
else:
    conn = socket.create_connection(("127.0.0.1", int(open(port).read())), timeout=60)
answers = 0
def answer():
    got = b""
    while not got.endswith(b"ok\n"):
        more = conn.recv(1000)
        assert more, got
        got += more
    sys.stdout.write(got.decode())
if how == "sent":
    answer() # the helper has the connection
    print("HTTP")
for n, path in enumerate(["own", "child", "own", "child", "own"], 1):
    conn.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\ntraceparent: 00-%032x-%016x-01\r\n\r\n" % (path.encode(), n, n))
    answer()
conn.close()
if how == "inherited":
    run.wait()
END
    for how in forked sent inherited; do
        rm -f "$tmp/port"
        local -a server=(TRACESHIM_RESPONSE_HEADER=x-trace "LD_PRELOAD=$so" /usr/bin/python3 "$tmp/server.py" "$how" "$tmp/port")
        if [ "$how" != inherited ]; then
            env "${server[@]}" >"$tmp/log" 2>&1 3>&- &
            for _ in {1..3000}; do [ -s "$tmp/port" ] && break || sleep 0.02; done
        fi
        /usr/bin/python3 "$tmp/client.py" "$how" "$tmp/port" "$tmp/log" "${server[@]}" | tr -d '\r' >"$tmp/answers"
        wait
        [ "$how" != sent ] || sed -i '1,/^HTTP$/d' "$tmp/answers"
        [ "$(grep -c '^HTTP/1.1 200' "$tmp/answers")" -eq 5 ]
        # What an answer or a line says is its own request's id, or nothing; the first one's is known.
        awk '/^HTTP/ { n++ } /^x-trace: / && $2 + 0 != n { exit 1 }' "$tmp/answers"
        [ "$(grep -m 1 '^x-trace' "$tmp/answers")" = "x-trace: $(printf %032x 1)" ]
        jq -e -s 'all(.[]; .trace_id == null or (.trace_id | tonumber) == (.message[-1:] | tonumber))' "$tmp/log"
        [ "$(jq -r 'select(.message == "begin 1") | .trace_id' "$tmp/log")" = "$(printf %032x 1)" ]
    done
}

@test "a request that is read unseen does not get the id of the one before" {
    cat >"$tmp/server.py" <<'END'
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1], "w") as port:
    print(listener.getsockname()[1], file=port)
conn = listener.accept()[0]
space = ctypes.create_string_buffer(65536)

class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]

class Aio(ctypes.Structure): # struct aiocb: LIO_READ, SIGEV_NONE
    _fields_ = [("fd", ctypes.c_int), ("opcode", ctypes.c_int), ("priority", ctypes.c_int), ("bytes", ctypes.c_void_p), ("len", ctypes.c_size_t),
                ("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_char * 120)]

def read_vector(call):
    vector = Vector(ctypes.addressof(space), len(space))
    return call(conn.fileno(), ctypes.byref(vector), 1, ctypes.c_long(-1), 0)

def read_later(call, *mode):
    aio = Aio(conn.fileno(), 0, 0, ctypes.addressof(space), len(space), None, 0, 1)
    one = (ctypes.c_void_p * 1)(ctypes.addressof(aio))
    assert call(*mode, one, 1, None) == 0 if mode else call(ctypes.byref(aio)) == 0
    while libc.aio_error(ctypes.byref(aio)) == 115: # EINPROGRESS
        pass
    return libc.aio_return(ctypes.byref(aio))

number = 0
while number < 4:
    number += 1
    if number % 2:
        got = len(conn.recv(65536))
    elif sys.argv[2].startswith("preadv"):
        got = read_vector(getattr(libc, sys.argv[2]))
    elif sys.argv[2].startswith("aio"):
        got = read_later(getattr(libc, sys.argv[2]))
    elif sys.argv[2].startswith("lio"):
        got = read_later(getattr(libc, sys.argv[2]), number // 2 % 2) # LIO_NOWAIT, LIO_WAIT
    else:
        got = libc.syscall(0, conn.fileno(), space, len(space))
    assert got > 0
    print("begin", number, flush=True)
    conn.send(answer)
    print("end", number, flush=True)
END
    cat >"$tmp/client.py" <<'END'
import socket, sys
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
for n in range(1, 5):
    conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\ntraceparent: 00-%032x-%016x-01\r\n\r\n" % (n, n))
    got = b""
    while b"ok\n" not in got:
        got += conn.recv(65536)
    print(b"ok" in got)
END
    for how in preadv2 preadv64v2 aio_read aio_read64 lio_listio lio_listio64 number; do
        rm -f "$tmp/port"
        LD_PRELOAD=$so /usr/bin/python3 "$tmp/server.py" "$tmp/port" "$how" >"$tmp/log" 2>&1 3>&- &
        for _ in {1..3000}; do [ -s "$tmp/port" ] && break || sleep 0.02; done
        [ "$(/usr/bin/python3 "$tmp/client.py" "$(<"$tmp/port")" | grep -c True)" -eq 4 ]
        wait $!
        cat "$tmp/log"
        jq -e -s 'length == 8 and all(.[]; .trace_id == null or (.trace_id | tonumber) == (.message[-1:] | tonumber)) and
            .[0].trace_id != null' "$tmp/log"
    done
}

@test "of requests read at once, one that is answered unseen gives its id to none behind it" {
    cat >"$tmp/server.py" <<'END'
import ctypes, os, socket, subprocess, sys
libc = ctypes.CDLL(None)
answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
here, there = socket.socketpair()
if os.fork() == 0:
    here.close()
    while fds := socket.recv_fds(there, 1, 1)[1]:
        os.write(fds[0], answer)
        os.close(fds[0])
        there.send(b".")
    os._exit(0)
there.close()
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1], "w") as port:
    print(listener.getsockname()[1], file=port)
conn = listener.accept()[0]
os.set_inheritable(conn.fileno(), True)
script = "printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n' >&%d" % conn.fileno()
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("len", ctypes.c_size_t)]

class Aio(ctypes.Structure): # struct aiocb: LIO_WRITE, SIGEV_NONE
    _fields_ = [("fd", ctypes.c_int), ("opcode", ctypes.c_int), ("priority", ctypes.c_int), ("bytes", ctypes.c_char_p), ("len", ctypes.c_size_t),
                ("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_char * 120)]

def write_later(call):
    aio = Aio(conn.fileno(), 1, 0, answer, len(answer), None, 0, 1)
    assert call(ctypes.byref(aio)) == 0
    end_write(aio)

def write_listed(call, mode):
    aio = Aio(conn.fileno(), 1, 0, answer, len(answer), None, 0, 1)
    assert call(mode, (ctypes.c_void_p * 2)(None, ctypes.addressof(aio)), 2, None) == 0
    end_write(aio)

def end_write(aio):
    while libc.aio_error(ctypes.byref(aio)) == 115: # EINPROGRESS
        pass
    assert libc.aio_return(ctypes.byref(aio)) == len(answer)

while conn.recv(65536, socket.MSG_PEEK).count(b"\r\n\r\n") < 4:
    pass
named = 0
for number, head in enumerate(conn.recv(65536).split(b"\r\n\r\n")[:4], 1):
    how = head.split()[1].strip(b"/")
    print("begin", number, flush=True)
    make = {b"fork": os.fork, b"syscall": lambda: libc.syscall(57)}.get(how)
    if make is not None and (pid := make()) == 0:
        os.write(conn.fileno(), answer)
        os._exit(0)
    elif make is not None:
        os.waitpid(pid, 0)
    elif how == b"spawn":
        os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ), 0)
    elif how == b"vfork":
        subprocess.run(["sh", "-c", script], pass_fds=(conn.fileno(),), check=True)
    elif how == b"system":
        os.system(script)
    elif how == b"sent":
        socket.send_fds(here, [b"."], [conn.fileno()])
        here.recv(1)
    elif how == b"number":
        libc.syscall(1, conn.fileno(), answer, len(answer))
    elif how == b"pwritev2":
        named += 1
        call = libc.pwritev2 if named % 2 else libc.pwritev64v2
        assert call(conn.fileno(), ctypes.byref(Vector(answer, len(answer))), 1, ctypes.c_long(-1), 0) == len(answer)
    elif how == b"aio":
        named += 1
        write_later(libc.aio_write if named % 2 else libc.aio_write64)
    elif how == b"listed":
        named += 1
        write_listed(libc.lio_listio if named % 2 else libc.lio_listio64, named % 2) # LIO_NOWAIT, LIO_WAIT
    elif how == b"copy":
        os.write(copy := libc.syscall(32, conn.fileno()), answer)
        os.close(copy)
    else:
        conn.send(answer)
    print("end", number, flush=True)
conn.close()
print("behind", flush=True)
END
    cat >"$tmp/client.py" <<'END'
import socket, sys
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
conn.sendall(b"".join(b"GET /%s HTTP/1.1\r\nHost: x\r\ntraceparent: 00-%032x-%016x-01\r\n\r\n" % (path.encode(), n, n)
                      for n, path in enumerate(sys.argv[2:], 1)))
while got := conn.recv(65536):
    sys.stdout.write(got.decode())
END
    for how in fork spawn vfork system syscall sent number pwritev2 aio listed copy; do
        for first in own "$how"; do
            rm -f "$tmp/port"
            TRACESHIM_RESPONSE_HEADER=x-trace LD_PRELOAD=$so /usr/bin/python3 "$tmp/server.py" "$tmp/port" >"$tmp/log" 2>&1 3>&- &
            for _ in {1..3000}; do [ -s "$tmp/port" ] && break || sleep 0.02; done
            /usr/bin/python3 "$tmp/client.py" "$(<"$tmp/port")" "$first" "$how" own "$how" | tr -d '\r' >"$tmp/answers"
            wait $!
            [ "$(grep -c '^HTTP/1.1 200' "$tmp/answers")" -eq 4 ]
            # What an answer or a line says is its own request's id, or nothing.
            awk '/^HTTP/ { n++ } /^x-trace: / && $2 + 0 != n { exit 1 }' "$tmp/answers"
            jq -e -s 'all(.[]; .trace_id == null or
                (.message | test("^(begin|end) ")) and (.trace_id | tonumber) == (.message[-1:] | tonumber))' "$tmp/log"
            [ "$how" != copy ] || [ "$(grep -c '^x-trace' "$tmp/answers")" -eq 4 ]
            # The lines of requests that were read at once are nobody's, but the first answer, which is seen, is the first one's.
            [ "$first" = "$how" ] || grep -m 1 -A 3 '^HTTP' "$tmp/answers" | grep -q "^x-trace: $(printf %032x 1)"
        done
    done
}
