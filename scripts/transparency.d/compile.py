"""Compilers, linkers and their drivers: what comes out is the same to the byte."""
import os
import shutil

from harness import Unit, scripted

SOURCES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "shim")

C = "cp $S/*.[ch] .; flags='-O2 -D_GNU_SOURCE -DTRACESHIM_VERSION=\"1\" -fPIC -frandom-seed=1'; "
SCRIPTS = {
    "objects": C + "for f in json ids http1 record severity; do gcc $flags -c $f.c; done; rm *.[ch]",
    "pipe and assembler": C + "gcc $flags -pipe -c json.c; gcc $flags -S ids.c; as ids.s -o ids.o; rm *.[ch]",
    "make -j": C + "printf 'all: $(patsubst %%.c,%%.o,$(wildcard json*.c http1*.c ids.c record*.c))\n%%.o: %%.c\n\tgcc $(F) -c $<\n' >Makefile; make -j3 F=\"$flags\" >log; sort log; "
    "rm *.[ch] log",
    "archive and library": C + "gcc $flags -c json.c ids.c severity.c; ar rcsD lib.a *.o; nm lib.a | grep -c ' T '; gcc -shared -Wl,--build-id=none -o lib.so severity.o; "
    "strip lib.so; objcopy -O binary -j .rodata severity.o out.bin; rm *.[ch]",
    "link-time optimisation": "printf 'int f(int x) { return x + 1; }' >a.c; printf 'int f(int); int main(void) { return f(1); }' >b.c; gcc -O2 -flto=2 -frandom-seed=1 -Wl,--build-id=none "
    "a.c b.c -o p; ./p; echo $?; gcc -O2 -flto -flto-partition=one a.c b.c -o q.any; ./q.any; echo $?",
    "C++": "printf '#include <map>\n#include <iostream>\n#include <string>\nint main() { std::map<std::string, int> m{{\"a\", 1}}; for (auto &x : m) std::cout << x.first << x.second << std::endl; }' "
    ">a.cc; g++ -O1 -Wl,--build-id=none a.cc -o p; ./p; g++ -E a.cc | sha256sum",
    "precompiled headers": "echo '#include <stdio.h>' >h.h; gcc h.h -o h.h.gch; test -s h.h.gch; echo $?; mv h.h.gch gch.any; printf '#include \"h.h\"\nint main(void) { puts(\"x\"); }' >a.c; gcc a.c -o p.any; ./p.any",
    "profile": "printf 'int main(void) { for (volatile int i = 0; i < 9; i++); return 3; }' >a.c; gcc --coverage a.c -o p.any; ./p.any; echo $?; gcov -n *.gcda | head -2; mv *.gcno no.any; mv *.gcda da.any",
    "errors": "printf 'int main(void) { return x; }\n' >a.c; gcc a.c; echo $?; gcc -fdiagnostics-format=json a.c 2>err.any; echo $?; printf 'int f(void);int main(void){return f();}' >b.c; gcc b.c 2>&1 | "
    "grep -c undefined; gcc nosuch.c; echo $?",
    "warnings": "printf 'int f(int a) { int b; return b; }\n' >a.c; gcc -Wall -Wextra -c a.c; gcc -Wall -Werror -c a.c; echo $?",
    "preprocessor": "printf '#define X(a) #a\nX(b)\n__LINE__\n' | cpp -P; echo | gcc -dM -E - | sort | sha256sum; gcc -E -x c - </dev/null | tail -1; gcc -M -x c - </dev/null",
    "driver": "gcc --version | head -1; gcc -print-search-dirs | head -1; gcc -### -x c - 2>&1 </dev/null | grep -c '/cc1 -'; gcc -dumpmachine; gcc -print-prog-name=ld",
    "static": "printf '#include <stdio.h>\nint main(void) { puts(\"static\"); return 4; }' >a.c; gcc -static -Wl,--build-id=none a.c -o p; ./p; echo $?; ./p | cat",
    "tools": "objdump -d /bin/true | tail -n +4 | sha256sum; readelf -aW /bin/true | sha256sum; size /bin/true; strings /bin/true | head -3; addr2line -e /bin/true 0; c++filt _ZN1a1bEv",
    "inline assembly and sections": "printf '__attribute__((section(\"x\"))) int a = 3; int main(void) { int r; __asm__(\"mov $5, %%0\" : \"=r\"(r)); return r + a; }' >a.c; gcc -O1 -Wl,--build-id=none a.c -o p; ./p; echo $?",
    "sanitized": "printf '#include <stdlib.h>\nint main(int c, char **v) { (void)v; char *p = malloc(4); return p[c + 3]; }' >a.c; gcc -fsanitize=undefined a.c -o u.any; ./u.any; echo done",
}


def build(run, scripts):
    folder = os.path.join(run.folder, "sources")
    shutil.copytree(SOURCES, folder)
    return scripted(run, scripts, extra={"S": folder})


def units(quick):
    if quick:
        yield Unit("gcc", lambda run: build(run, {name: SCRIPTS[name] for name in ("pipe and assembler", "errors", "driver")}))
        return
    for name, script in SCRIPTS.items():
        yield Unit(name, lambda run, name=name, script=script: build(run, {name: script}))
