"""
Shell scripts: pipelines, substitutions, redirections, traps and jobs in bash, dash and busybox, programs that shell scripts
live on, and a configure script with its make run.
"""
import re

from harness import Unit, scripted


# For each shell alike.
COMMON = {
    "substitution": 'x=$(echo a; echo b); echo "[$x]"; y=`echo c`; echo "$y"',
    "nested substitution": 'echo $(echo $(echo $(echo deep)))',
    "substitution of stderr": 'x=$(ls /nonexistent 2>&1); echo "[$x] $?"',
    "substitution with status": 'x=$(exit 3); echo $?',
    "substitution of much": 'x=$(seq 20000); echo ${#x}',
    "substitution, no newline": 'x=$(printf abc); echo "[$x]"; x=$(printf "a\n\n\n"); echo "[$x]"',
    "substitution in a function": 'f() { echo one; echo two >&2; return 4; }; x=$(f); echo "$x $?"',
    "pipeline": 'seq 100 | grep 1 | sort -rn | head -5',
    "long pipeline": 'seq 1000 | cat | cat | cat | cat | cat | cat | cat | tail -3',
    "pipeline, status": 'true | false; echo $?; false | true; echo $?',
    "pipeline closed early": 'seq 1000000 | head -2; yes | head -1',
    "pipeline into a loop": 'seq 5 | while read -r n; do echo "got $n"; done',
    "loop into a pipeline": 'for i in 1 2 3; do echo $i; done | sort -r',
    "pipeline of functions": 'f() { while read -r l; do echo "f:$l"; done; }; seq 3 | f | f',
    "binary in a pipeline": 'head -c 100000 /dev/zero | tr "\\0" "\\377" | sha256sum',
    "stderr in a pipeline": 'ls /nonexistent 2>&1 | sed s/^/said:/',
    "swapped": '{ echo out; echo err >&2; } 3>&1 1>&2 2>&3 | sed s/^/piped:/',
    "to a file": 'echo one >f; echo two >>f; cat f',
    "stderr to a file": 'ls /nonexistent 2>f; cat f',
    "both to a file": '{ echo a; echo b >&2; } >f 2>&1; cat f',
    "both, other order": '{ echo a; echo b >&2; } 2>&1 >f; cat f',
    "closed stdout": 'echo x >&-; echo "status $?"; ls >&- 2>e; test -s e && echo told',
    "closed stdin": 'cat <&-; echo $?',
    "all closed": '(exec <&- >&- 2>&-; echo x; ls) ; echo $?',
    "exec redirects": 'exec 5>f; echo five >&5; exec 5>&-; cat f; exec 6<f; read -r x <&6; echo $x',
    "exec stdout to a file and back": 'exec 3>&1 >f; echo in the file; exec >&3 3>&-; echo out; cat f',
    "exec stderr into stdout": 'exec 2>&1; ls /nonexistent; echo after',
    "read and write": 'echo abc >f; exec 7<>f; read -r x <&7; echo def >&7; cat f; echo $x',
    "here document": 'cat <<E\na $((1 + 1)) $(echo sub)\nE\ncat <<"E"\n$raw\nE',
    "big here document": 'eval "cat <<E | wc -c\n$(seq 20000)\nE"',
    "dev stdout": 'echo a >/dev/stdout; echo b >/dev/stderr; echo c | cat /dev/stdin',
    "dev fd": 'echo x | cat /dev/fd/0; echo y >/dev/fd/1',
    "dev full": 'echo x >/dev/full; echo $?; cat /etc/passwd >/dev/full; echo $?',
    "dev null": 'ls / >/dev/null; echo $?',
    "no newline at the end": 'printf abc',
    "partial lines": 'printf a; printf b; printf "c\n"; printf d >&2; printf "e\n" >&2',
    "partial lines of two processes": '/usr/bin/printf a; sh -c "printf b"; echo c',
    "empty lines": 'echo; echo; printf "\n\n\n"',
    "long line": 'head -c 70000 /dev/zero | tr "\\0" x; echo',
    "very long lines": 'for i in 1 2 3; do head -c 200000 /dev/zero | tr "\\0" $i; echo; done | cut -c 1-20,199990-',
    "many lines": 'seq 5000',
    "tabs and quotes": 'printf "a\\tb \\"c\\" \\\\\\\\ d\\n"',
    "unicode": 'echo "äöü €"; printf "\\303\\244\\n"',
    "JSON lines through a pipe": 'echo "{\\"a\\": 1}" | cat | tr a b | od -c | head -3',
    "CR in a pipe": 'printf "a\\r\\nb\\rc\\n" | od -c',
    "background": 'sleep 0 & wait $!; echo $?',
    "background output": '{ echo bg; } & wait; echo fg',
    "several jobs": 'for i in 1 2 3; do (exit $i) & p="$p $!"; done; for q in $p; do wait $q; echo $?; done',
    "killed child": 'sleep 100 & kill $!; wait $! 2>/dev/null; echo $?',
    "killed by its own hand": 'sh -c "kill -9 \\$\\$" 2>/dev/null; echo $?',
    "segmentation fault": 'sh -c "kill -SEGV \\$\\$" 2>/dev/null; echo $?',
    "pipe signal": 'sh -c "trap - PIPE; yes" | head -1; sh -c "trap \\"\\" PIPE; echo a; sleep 0; echo b 2>e" | cat',
    "trap on exit": 'trap "echo bye" EXIT; echo hello',
    "trap on exit, status": '(trap "echo bye; exit 5" EXIT; exit 3); echo $?',
    "trap on a signal": 'trap "echo got it" USR1; kill -USR1 $$; echo after',
    "trap while waiting": 'trap "echo got it" USR1; (kill -USR1 $$) ; wait; echo after',
    "trap in a substitution": 'x=$(trap "echo bye" EXIT; echo in); echo $x',
    "set -e": '(set -e; false; echo not here); echo $?',
    "set -x": '(set -x; echo a $(echo b)) 2>&1',
    "set -u": '(set -u; echo $nosuch) 2>/dev/null; test $? -ne 0 && echo refused',
    "command not found": 'nosuchcommand 2>/dev/null; echo $?',
    "not executable": 'echo x >f; ./f 2>/dev/null; echo $?',
    "no interpreter line": 'echo "echo ran" >f; chmod +x f; ./f',
    "interpreter line": 'printf "#!/bin/sh\necho \\$0 \\$@\n" >f; chmod +x f; ./f a b',
    "missing interpreter": 'printf "#!/nonexistent\n" >f; chmod +x f; ./f 2>/dev/null; echo $?',
    "exec": '(exec echo replaced; echo not here)',
    "exec with a name": '(exec sh -c "echo \\$0" name)',
    "empty environment": 'env -i /bin/echo x; env -i /usr/bin/env',
    "environment of a child": 'A=1 sh -c "echo \\$A"; export B=2; sh -c "echo \\$B"; unset B; sh -c "echo [\\$B]"',
    "own preload": 'LD_PRELOAD= sh -c "echo x; x=\\$(echo y); echo \\$x"',
    "path": 'PATH=/nonexistent; ls 2>/dev/null; echo $?; /bin/echo x',
    "subshell": '(cd /; pwd); (x=1; echo $x); echo "[$x]"',
    "deep subshells": '(((((echo deep))))); ( ( (exit 7) ) ); echo $?',
    "eval and source": 'echo "v=1; echo sourced" >f; . ./f; eval echo "\\$v"',
    "case, glob": 'touch a.c b.c; for f in *.c; do case $f in a*) echo "A $f";; *) echo "o $f";; esac; done',
    "arithmetic": 'i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done; echo $i',
    "getopts": 'set -- -a -b x y; while getopts ab: o; do echo "$o $OPTARG"; done',
    "read with IFS": 'echo a:b:c | { IFS=: read -r x y; echo "$y $x"; }',
    "read from a file": 'seq 3 >f; while read -r l; do echo "<$l>"; done <f',
    "read shares its input": 'seq 5 | { read -r a; read -r b; echo "$a $b"; cat; }',
    "ulimit": '(ulimit -n 20; ls / >/dev/null; echo $?); (ulimit -f 1; head -c 100000 /dev/zero >f; echo $?) 2>/dev/null; ls -l f | cut -d" " -f5',
    "umask": '(umask 077; echo >f); (umask 022; echo >g)',
    "times": 'times >f.any; test -s f.any && echo told',
    "fifo": 'mkfifo p.any; echo through >p.any & cat p.any; wait',
    "coproc by hand": 'mkfifo a.any b.any; cat <a.any >b.any & exec 3>a.any 4<b.any; echo ping >&3; read -r x <&4; echo $x; exec 3>&- 4<&-; wait',
    "tee": 'echo x | tee f | cat; seq 3 | tee g >/dev/null; echo y | tee /dev/stderr',
    "tail -f": 'echo one >f; timeout 5 tail -n +1 -f f --pid=$$ >g.any 2>/dev/null & p=$!; while ! test -s g.any; do sleep 0.01; done; kill $p; wait $p; cat g.any',
    "tail of the own output": '{ echo a; echo b; } | tail -1',
    "xargs": 'seq 20 | xargs -n 3 echo; seq 6 | xargs -P 3 -I{} sh -c "echo {} >x{}"; cat x*',
    "xargs, status": 'echo 1 | xargs sh -c "exit 5"; echo $?; echo | xargs -r false; echo $?',
    "find -exec": 'mkdir d; touch d/a d/b; find d -type f -exec echo found {} \\; | sort; find d -type f -print0 | sort -z | xargs -0 ls',
    "sed -i": 'seq 3 >f; sed -i s/2/two/ f; cat f; sed -n "2w g" f; cat g; sed "1r g" f',
    "sed e and w": 'echo "echo ran" | sed e; echo x | sed "w /dev/stdout"',
    "awk": 'seq 5 | awk "{s += \\$1} END {print s}"; awk "BEGIN {printf \\"%s\\", \\"no newline\\"}"',
    "awk pipes": 'awk "BEGIN {\\"echo sub\\" | getline x; print x; print \\"b\\na\\" | \\"sort\\"; close(\\"sort\\"); system(\\"echo sys\\"); print \\"e\\" > \\"/dev/stderr\\"}"',
    "awk coprocess": 'gawk "BEGIN {c = \\"sort -r\\"; for (i = 0; i < 5; i++) print i |& c; close(c, \\"to\\"); while ((c |& getline x) > 0) print x}"',
    "awk files": 'seq 9 | awk "{print > (\\"f\\" \\$1 % 3)}"; cat f0 f1 f2',
    "mawk buffers": 'seq 3 | mawk -W interactive "{print; fflush()}"; seq 3000 | mawk "{print}" | tail -1',
    "sort": 'seq 3000 | sort -R | sort -n | sha256sum; printf "b 2\na 1\n" | sort -k2n -o f; cat f',
    "comm, join, paste": 'seq 1 5 >a; seq 3 7 >b; comm a b; join a b; paste a b; diff a b; cmp a b; echo $?',
    "uniq, cut, tr, fold": 'printf "a\na\nb\n" | uniq -c; echo abc | tr a-c x-z; echo a:b | cut -d: -f2; seq 30 | tr "\\n" " " | fold -w 20',
    "split and csplit": 'seq 100 | split -l 30 - part; wc -l part*; seq 10 | csplit -s - 4 7; cat xx01',
    "split --filter": 'seq 100 | split -l 40 --filter "sha256sum >\\$FILE.sum"; cat *.sum',
    "dd": 'dd if=/dev/zero of=f bs=1k count=10 2>/dev/null; dd if=f bs=3 count=1 2>e.any | od -c; head -1 e.any',
    "dd to stdout": 'echo text | dd 2>/dev/null; dd if=/dev/zero bs=5 count=2 status=none | od -An -c',
    "cat to itself": 'echo x >f; cat f f - </dev/null; cat f >>f; echo $?; cat f',
    "cp to stdout": 'echo x >f; cp f /dev/stdout; cat <f >/dev/stdout; cp --sparse=always f g; cat g',
    "sponge by hand": 'seq 3 >f; x=$(cat f); printf "%s\\n" "$x" | tac >f; cat f',
    "tar": 'mkdir d; seq 10 >d/a; ln -s a d/l; tar -cf - --mtime=@0 --owner=0 --group=0 --sort=name d | tee f.any | sha256sum; tar -tf f.any; mkdir o; tar -C o -xf f.any; ls o/d',
    "tar with a filter": 'mkdir d; seq 1000 >d/a; for c in gzip bzip2 xz zstd; do tar --use-compress-program=$c -cf d.any d; tar --use-compress-program=$c -tf d.any; done',
    "cpio by pipe": 'mkdir d; seq 3 >d/a; find d | sort | busybox cpio -o -H newc 2>/dev/null | busybox cpio -t 2>/dev/null',
    "gzip": 'seq 5000 | gzip -n | sha256sum; seq 5000 >f; gzip -n f; zcat f.gz | tail -1; zgrep -c 1 f.gz; gunzip f.gz; wc -l f',
    "bzip2, xz, zstd": 'seq 5000 >f; for c in bzip2 xz "zstd -q"; do $c -c f | sha256sum; $c -c f | $c -dc | tail -1; done',
    "base64, od": 'seq 100 | base64 | base64 -d | sha256sum; echo abc | od -An -tx1; echo x | sha1sum -; echo x >f; md5sum f >s; md5sum -c s',
    "bc and expr": 'echo "2^100; scale=3; 1/3" | bc; expr 6 \\* 7; expr abc : "a\\(.*\\)"',
    "date and printf": 'date -u -d @0 +%F; printf "%05d|%-5s|%x\\n" 42 ab 255; printf "%b" "a\\tb\\n"',
    "timeout": 'timeout 0.05 sleep 5; echo $?; timeout 5 sh -c "exit 9"; echo $?; timeout -s KILL 0.05 sleep 5 2>/dev/null; echo $?',
    "nohup, nice, setsid, env": 'nohup sh -c "echo n" 2>/dev/null </dev/null; cat nohup.out 2>/dev/null; nice echo nice; setsid -w echo s; env A=b sh -c "echo \\$A"; stdbuf -oL echo l',
    "script in a terminal": 'command -v script >/dev/null && script -qec "echo in a terminal; tty | cut -c1-8" /dev/null </dev/null | tr -d "\\r"; echo $?',
    "flock": 'flock f.any sh -c "echo held; flock -n f.any echo not || echo busy"',
    "install, ln, stat": 'echo x >f; install -m 640 f g; ln g h; stat -c "%a %h" g; realpath h | xargs basename; readlink -f . | xargs dirname >/dev/null',
    "mktemp and trap": 't=$(mktemp -d); trap "rm -rf $t" EXIT; echo x >"$t/f"; cat "$t/f"',
    "id and uname": 'test "$(id -u)" = "$(id -ru)" && echo same; uname -s; getent passwd root | cut -d: -f1',
    "file": 'echo text >f; file -b f; file -b /bin/ls | cut -c1-10; printf "\\037\\213" | file -b -',
    "ldd": 'ldd /bin/true | grep -c libc.so; ldd /nonexistent 2>/dev/null; echo $?',
    "run-parts": 'mkdir d; printf "#!/bin/sh\necho one\n" >d/a; printf "#!/bin/sh\nexit 2\n" >d/b; chmod +x d/*; run-parts d; echo $?; run-parts --test d',
    "make": 'printf "all: b\n\t@echo all\nb:\n\techo made >b\n\t@cat b\n" >Makefile; make; make -n; make -s b; make nosuch 2>/dev/null; echo $?',
    "make -j": 'printf "all: 1 2 3 4\n%%: \n\t@sleep 0; echo x >made\\$@\nX := \\$(shell echo sub)\n\\$(info \\$X)\n" >Makefile; make -j4 all; ls; make -j2 -O all',
    "make sub-makes": 'mkdir s; printf "all:\n\t@\\$(MAKE) -C s\n" >Makefile; printf "all:\n\t@echo sub\n\t@exit 3\n" >s/Makefile; make -j2 --no-print-directory 2>/dev/null; echo $?',
    "m4": 'printf "define(x, hello)x\nesyscmd(echo sub)syscmd(echo direct)" | m4',
    "busybox applets": 'busybox seq 3 | busybox awk "{print \\$1 * 2}" | busybox sort -r; busybox sh -c "echo \\$(busybox echo b)"',
    "perl and python inside": 'x=$(perl -e "print qq(p\\n)"); echo $x; y=$(/usr/bin/python3 -c "print(1); import sys; sys.stderr.write(\\"e\\\\n\\")" 2>&1); echo $y; /usr/bin/python3 -c "print(2)" | sed s/^/r:/',
    "python -c output": '/usr/bin/python3 -c "import sys; print(1, 2, end=\\"\\"); print(); sys.stdout.write(\\"x\\"); sys.stdout.flush(); print(sys.stdout.isatty())"',
    "a tree of processes": 'sh -c "sh -c \\"sh -c \\\\\\"echo leaf\\\\\\"; echo branch\\"; echo root"',
    "output after the end": '(sleep 0.2; echo late) & echo early; wait',
    "daemon": 'sh -c "(setsid sh -c \\"echo daemon >f\\" >/dev/null 2>&1 &)"; while ! test -s f; do sleep 0.01; done; cat f',
}
BASH = {
    "process substitution": 'diff <(seq 5) <(seq 6); cat <(echo a) <(echo b); seq 3 | tee >(sort -r >f.any) >/dev/null',
    "pipefail and PIPESTATUS": 'set -o pipefail; true | false | true; echo $?; true | (exit 3) | true; echo "${PIPESTATUS[@]}"',
    "lastpipe": 'shopt -s lastpipe; seq 3 | mapfile -t a; echo ${a[@]}',
    "coproc": 'coproc C { while read -r l; do echo "<$l>"; done; }; echo a >&${C[1]}; read -r x <&${C[0]}; echo $x; eval "exec ${C[1]}>&-"; wait',
    "here string": 'cat <<<text; read -r a b <<<"x y"; echo $b $a',
    "both with &>": 'ls / /nonexistent &>f; grep -c nonexistent f; ls /nonexistent |& sed s/^/p:/',
    "named descriptors": 'exec {fd}>f; echo x >&$fd; exec {fd}>&-; cat f; exec {in}<f; read -ru $in l; echo $l',
    "moved descriptors": 'exec 5>f; exec 6>&5-; echo x >&6; (echo y >&5) 2>/dev/null || echo closed; cat f',
    "high descriptors": 'exec 200>f; echo x >&200; exec 200>&-; cat f; exec 999</dev/null; echo $?',
    "mapfile": 'mapfile -t a < <(seq 100); echo ${#a[@]} ${a[42]}; mapfile -n 2 -C "echo at" -c 1 b < <(seq 5)',
    "read -t, -n, -N, -d": 'read -t 0.05 x < <(sleep 1); echo $?; read -n 2 x <<<abc; echo $x; read -rN 3 x <<<abcd; echo $x; read -rd: x <<<"a:b"; echo $x',
    "arrays": 'a=(x y z); for i in "${!a[@]}"; do echo $i ${a[i]}; done; declare -A h=([k]=v); echo ${h[k]}',
    "printf -v, %q": "printf -v x '%s-' a b; echo $x; printf '%q\\n' \"a b'c\"; printf '%(%Y)T\\n' 0",
    "wait -n": 'sleep 0 & (exit 4) & wait -n; wait; echo done',
    "wait -n -p": '(exit 4) & wait -n -p p; echo $? ; test -n "$p" && echo known',
    "ERR, DEBUG, RETURN": "trap 'echo err' ERR; false; trap - ERR; (trap 'echo d' DEBUG; echo a; echo b)",
    "job control": 'set -m; sleep 0.05 & fg >/dev/null; echo $?; (kill -STOP $BASHPID; echo woke) & while ! jobs -s | grep -q Stopped; do sleep 0.01; done; kill -CONT %1; wait',
    "exec -a, -c": '(exec -a name sh -c "echo \\$0"); (exec -c /usr/bin/env)',
    "BASH_XTRACEFD": 'exec 9>f; BASH_XTRACEFD=9; set -x; echo a; set +x; cat f',
    "dev tcp refused": '(exec 3<>/dev/tcp/127.0.0.1/1) 2>/dev/null; echo $?',
    "time": '{ time true; } 2>f.any; test -s f.any; echo $?; TIMEFORMAT=t; time true',
    "select": 'echo 2 | select x in a b; do echo $x; break; done 2>&1 | cat',
    "globs": 'shopt -s extglob nullglob globstar; mkdir -p a/b; touch a/b/c.x; echo **/*.x @(nosuch)*',
    "substitution reads a file": 'seq 3 >f; x=$(<f); echo "$x"',
    "big substitution in bash": 'x=$(head -c 3000000 /dev/zero | tr "\\0" y); echo ${#x}; echo "$x" | sha256sum',
    "many substitutions": 'for i in {1..60}; do x=$(echo $i); y+=$x; done; echo $y',
    "many children": 'for i in {1..80}; do /bin/true || echo bad; done; echo $?',
    "loadable history": 'set -o history; echo a; history | tail -1 | cut -c 1-5 >f.any; echo done',
    "restricted": 'bash -r -c "cd /" 2>/dev/null; echo $?; bash -c "echo \\$- | tr -d hBc"',
    "login shell": 'bash -lc "echo login" ; bash --norc -ic "echo interactive" 2>/dev/null',
    "posix": 'bash --posix -c "echo posix; x=\\$(echo y); echo \\$x"',
    "stdin script": 'printf "echo a\nread x\nvalue\necho \\$x\n" | bash; echo "echo \\$1" | bash -s arg',
}
CONFIGURE = r"""
set -e
mkdir -p src m4
cat >configure.ac <<'E'
AC_INIT([sample], [1.0])
AC_CONFIG_SRCDIR([src/main.c])
AC_CONFIG_HEADERS([config.h])
AC_PROG_CC
AC_PROG_INSTALL
AC_PROG_RANLIB
AC_PROG_MAKE_SET
AC_PROG_AWK
AC_C_CONST
AC_C_BIGENDIAN
AC_TYPE_SIZE_T
AC_CHECK_SIZEOF([long])
AC_CHECK_HEADERS([stdlib.h sys/epoll.h nosuch.h poll.h])
AC_CHECK_FUNCS([poll epoll_create1 nosuchfunction mmap])
AC_CHECK_LIB([m], [sqrt])
AC_SEARCH_LIBS([dlopen], [dl])
AC_FUNC_FORK
AC_FUNC_ALLOCA
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
E
cat >src/main.c <<'E'
#include "config.h"
#include <stdio.h>
int main(void) { printf("%s %d\n", PACKAGE_STRING, SIZEOF_LONG); return 0; }
E
printf 'all: sample\nsample: src/main.c\n\t@CC@ @CFLAGS@ -I. -o $@ $<\ncheck: all\n\t./sample\n' >Makefile.in
"""
BUILDS = {
    "autoconf": CONFIGURE + "autoconf; autoheader; sha256sum configure config.h.in; rm -rf autom4te.cache; mv configure kept.any",
    "configure": CONFIGURE + "autoreconf; rm -rf autom4te.cache; ./configure; make check; mv config.log log.any; mv config.status status.any",
    "configure, cached": CONFIGURE + "autoreconf; rm -rf autom4te.cache; ./configure -q -C CFLAGS=-O0; ./configure -q -C CFLAGS=-O0; make -s check; "
    "mv config.log log.any; mv config.status status.any",
    "configure, elsewhere": CONFIGURE + "autoreconf; rm -rf autom4te.cache; mkdir b; cd b; dash ../configure --silent; grep -c define config.h; "
    "mv config.log log.any; mv config.status status.any",
}


def tidy(text):
    """Shells tell the number of a process that was killed."""
    return re.sub(r"(line \d+:|\[\d+\]) +\d+ ", r"\1 PID ", text)


def units(quick):
    shells = {"dash": ("/bin/dash", "-c"), "bash": ("/bin/bash", "-c"), "busybox": ("/bin/busybox", "sh", "-c")}
    size = 34
    for name, shell in shells.items():
        scripts = {**COMMON, **(BASH if name == "bash" else {})}
        names = list(scripts)
        if quick:
            names = names[list(shells).index(name)::6]
        for at in range(0, len(names), size):
            part = {one: scripts[one] for one in names[at:at + size]}
            yield Unit(f"{name} {at // size + 1}", lambda run, part=part, shell=shell: scripted(run, part, shell=shell, tidy=tidy))
    if not quick:
        for name, script in BUILDS.items():
            yield Unit(name, lambda run, name=name, script=script: scripted(run, {name: script}))
