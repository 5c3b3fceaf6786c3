# traceshim: `make help` lists the targets; `make V=1` shows every command; WERROR=1 turns warnings into errors.
#
# Sources are found by wildcard: a new file in shim/, hooks/, cli/ or tests/ is built without an edit here. Two sources
# are compiled in several ways (plain, ASan, TSan, libFuzzer): each way has a folder of its own under $(BUILD).

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

VERSION := $(file < VERSION)
# What the two objects say to each other must be the same in both (shim/handoff.h), within a version too.
INTERFACE := $(firstword $(shell cat shim/handoff.h shim/status_page.h | cksum))
BUILD ?= build

# In capitals, or as GNU has them.
PREFIX ?= $(or $(prefix),/usr/local)
BINDIR ?= $(or $(bindir),$(PREFIX)/bin)
LIBDIR ?= $(or $(libdir),$(PREFIX)/lib)
MANDIR ?= $(or $(mandir),$(PREFIX)/share/man)
DESTDIR ?=

CC = gcc
CXX = g++
OBJCOPY = objcopy
FUZZ_CC = clang-14
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600

# `make test` alone uses every core; under a caller's -j its job server decides. (JOBS is the caller's, for scripts/transparency.)
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

ifneq ($(V),1)
Q = @
MAKEFLAGS += --no-print-directory
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
endif

# ---- flags ----------------------------------------------------------------------------------------------------------

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wconversion -Wno-sign-conversion \
	$(if $(WERROR),-Werror)
# For "..." only: in the path of <...>, shim/limits.h would stand in front of the system's <limits.h>. hooks/real.h
# includes the generated "real_table.h".
CPPFLAGS_ALL = -D_GNU_SOURCE -DTRACESHIM_VERSION='"$(VERSION)"' -DTRACESHIM_INTERFACE='"$(INTERFACE)"' -iquote shim -iquote $(BUILD)/gen $(CPPFLAGS)
CFLAGS_ALL = -std=gnu11 -O2 -g $(WARNINGS) $(CFLAGS)

# The object, a guest in other people's processes:
# - initial-exec TLS: no call of __tls_get_addr, which may allocate; the contract tests bound the block's size.
# - no _FORTIFY_SOURCE: hooks *define* the fortified symbols, clang drops such exports, and __snprintf_chk and its like
#   do not exist on musl. No stack protector: its failure path aborts the host.
# - sections of their own, so that the linker can leave out what no hook reaches, and lay out what is left as hooks/object.ld says.
# - optimized as one unit (gcc): a call from file to file is a good part of what a hook costs.
# - tuned, not built, for a processor of the last ten years: else gcc clears small structures by `rep stos`, where a
#   few stores do.
LTO = $(if $(findstring clang,$(CC)),,-flto -flto-partition=one -fno-reorder-functions)
TUNE := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)),-mtune=skylake)
OBJECT_CFLAGS = $(CFLAGS_ALL) -DTRACESHIM_OBJECT -O2 $(COMPACT) $(LTO) $(TUNE) -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-plt -ffunction-sections \
	-fdata-sections -fno-stack-protector -U_FORTIFY_SOURCE -Wframe-larger-than=1024
# - the object is 300 KB (of 1,024 bytes) at most. What gcc does to loops, and places to begin at that are multiples of 16, are 20 KB of it, and
#   spare a request no instruction: what it costs is calls and branches. -O3 would be 12 KB, for 90 of nginx' 4,100 instructions.
#   A function that is cut into two parts has two tables for unwinding: 2 KB in all. What is copied to spare a jump is another 2 KB.
COMPACT = $(if $(LTO),-fno-align-functions -fno-align-jumps -fno-align-loops -fno-align-labels -fno-tree-vectorize \
	-fno-tree-slp-vectorize -fno-tree-loop-distribution -fno-unswitch-loops -fno-peel-loops -fno-split-loops \
	-fno-version-loops-for-strides -fno-ipa-cp-clone -fno-partial-inlining -fno-tree-loop-im -fno-reorder-blocks-and-partition \
	-fno-tree-pre -fno-code-hoisting --param=max-completely-peel-times=2 --param=max-jump-thread-duplication-stmts=8)
# - small, not fast, where a process passes once, or hardly ever, and where most of the code is for what is seldom.
OBJECT_SMALL = $(filter shim/call.c shim/cgi% shim/config% shim/conn.c shim/contexts% shim/coroutine% shim/python% shim/counters% shim/environment% shim/fastcgi% shim/handoff% \
	shim/fds% shim/hpack% shim/http1_fields% shim/http2% shim/io.c shim/io_spans% shim/io_unseen% shim/line_export% shim/logfiles% shim/logline.c shim/logline_table% \
	shim/http1_start% shim/io_insert% shim/io_log% shim/span_conn% shim/managed% shim/os.c shim/propagate% shim/protocol% shim/record_parts% shim/run_files% shim/served% shim/span_text% shim/stacks% shim/stream% shim/tls% shim/uwsgi% \
	hooks/aio% hooks/copies% hooks/io.c hooks/clone% hooks/context.c hooks/dlsym% hooks/fds% hooks/forks% hooks/gnutls% hooks/init% hooks/loader% hooks/lookup% hooks/memory% hooks/node% hooks/openssl% \
	hooks/poll% hooks/process% hooks/python% hooks/real% hooks/socket% hooks/syscall% hooks/thread%,$(SHIM_C) $(HOOK_C))
# -z now: with so few imports it costs nothing that one could measure, and no symbol is looked up inside a signal handler
# or a vfork child. noseparate-code: two mappings instead of four; start-up time is what every process pays.
OBJECT_LDFLAGS = -shared -nostartfiles -static-libgcc -Wl,-soname,libtraceshim.so -Wl,--version-script,$(BUILD)/gen/exports.map \
	-Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,text -Wl,-z,noseparate-code \
	-Wl,-T,hooks/object.ld -Wl,--hash-style=gnu -Wl,--sort-section=name -Wl,--gc-sections -Wl,--as-needed -Wl,--build-id -Wl,-O1 $(LDFLAGS)

CLI_CFLAGS = $(CFLAGS_ALL) -fPIE -DTRACESHIM_LIBDIR='"$(LIBDIR)/traceshim"'
CLI_LIBS = -lcjson
# The agent is a program of its own (DESIGN.md, 'The agent'): the libraries are its alone.
AGENT_LIBS = -lcurl -lmicrohttpd -lz -lcjson

ASAN_CFLAGS = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TSAN_CFLAGS = -fsanitize=thread -fno-omit-frame-pointer
FUZZ_CFLAGS = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# cmocka's own macros convert between integer types as they please.
UNIT_CFLAGS = $(CFLAGS_ALL) -Wno-conversion -iquote cli -DTRACESHIM_LIBDIR='"$(LIBDIR)/traceshim"'

# ---- sources and what is made of them -------------------------------------------------------------------------------

SHIM_C := $(sort $(wildcard shim/*.c))
# What is in the second object, and not in the first; unit tests link both.
HANDOFF_C := $(filter shim/evidence%,$(SHIM_C)) $(sort $(wildcard hooks/handoff/*.c))
HOOK_C := $(sort $(wildcard hooks/*.c))
HOOK_S := $(sort $(wildcard hooks/*.S))
CLI_C := $(sort $(wildcard cli/*.c))
CLI_PARTS_C := $(filter-out cli/main.c,$(CLI_C))
AGENT_C := $(sort $(wildcard cli/agent/*.c))
AGENT_SHARED_C := cli/text.c cli/procfs.c cli/find.c cli/status_file.c
UNIT_C := $(sort $(wildcard tests/unit/test_*.c))
CLI_UNIT_C := $(filter tests/unit/test_cli_%,$(UNIT_C))
AGENT_UNIT_C := $(filter tests/unit/test_agent_%,$(UNIT_C))
SHIM_UNIT_C := $(filter-out $(CLI_UNIT_C) $(AGENT_UNIT_C),$(UNIT_C))
FUZZ_C := $(sort $(wildcard tests/fuzz/fuzz_*.c))
# The core has no notion of the agent, so its fuzz targets link one or the other.
AGENT_FUZZ_C := $(filter tests/fuzz/fuzz_agent_%,$(FUZZ_C))
PROGRAM_C := $(sort $(wildcard tests/programs/*.c))
PROGRAM_CXX := $(sort $(wildcard tests/programs/*.cc))
# TSan has something to say only where a test starts threads.
TSAN_C := $(if $(SHIM_UNIT_C),$(shell grep -l pthread_create $(SHIM_UNIT_C)))

OBJECT_O := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(HANDOFF_C),$(SHIM_C)) $(HOOK_C)) $(patsubst %.S,$(BUILD)/obj/%.o,$(HOOK_S))
HANDOFF_O := $(HANDOFF_C:%.c=$(BUILD)/obj/%.o)
CLI_O := $(CLI_C:%.c=$(BUILD)/obj/%.o)
INFLATER_O := $(BUILD)/gen/nghttp2_inflater.o
ASAN_SHIM_O := $(SHIM_C:%.c=$(BUILD)/asan/%.o) $(INFLATER_O)
AGENT_O := $(patsubst %.c,$(BUILD)/obj/%.o,$(AGENT_C) $(AGENT_SHARED_C)) $(BUILD)/obj/cli/agent/page_files.o
ASAN_CLI_O := $(CLI_PARTS_C:%.c=$(BUILD)/asan/%.o)
ASAN_AGENT_O := $(patsubst %.c,$(BUILD)/asan/%.o,$(filter-out cli/agent/main.c,$(AGENT_C)) $(AGENT_SHARED_C)) \
	$(BUILD)/obj/cli/agent/page_files.o
FUZZ_AGENT_O := $(patsubst %.c,$(BUILD)/fuzz/%.o,cli/agent/ring_reader.c cli/agent/otlp_json.c cli/agent/semconv.c cli/agent/buffer.c)
TSAN_SHIM_O := $(SHIM_C:%.c=$(BUILD)/tsan/%.o) $(INFLATER_O)
FUZZ_SHIM_O := $(SHIM_C:%.c=$(BUILD)/fuzz/%.o) $(INFLATER_O)

SHIM_UNITS := $(SHIM_UNIT_C:tests/unit/%.c=$(BUILD)/unit/%)
CLI_UNITS := $(CLI_UNIT_C:tests/unit/%.c=$(BUILD)/unit/%)
AGENT_UNITS := $(AGENT_UNIT_C:tests/unit/%.c=$(BUILD)/unit/%)
TSANS := $(TSAN_C:tests/unit/%.c=$(BUILD)/tsan/%)
FUZZERS := $(FUZZ_C:tests/fuzz/%.c=$(BUILD)/fuzz/%)
AGENT_FUZZERS := $(AGENT_FUZZ_C:tests/fuzz/%.c=$(BUILD)/fuzz/%)
PROGRAMS := $(PROGRAM_C:tests/programs/%.c=$(BUILD)/tests/%) $(PROGRAM_CXX:tests/programs/%.cc=$(BUILD)/tests/%)

GENERATED := $(BUILD)/gen/exports.map $(BUILD)/gen/real_table.h

.PHONY: all attribution demo demo-next test test-unit test-fuzz test-contract test-preload test-tsan lint format bench fuzz sanitize soak transparency install uninstall \
	clean help units fuzzers programs objects FORCE

## all: the object and the program (default)
all: $(BUILD)/libtraceshim.so $(BUILD)/libtraceshim-handoff.so $(BUILD)/traceshim.cjs $(BUILD)/traceshim $(BUILD)/traceshim-agent

units: $(SHIM_UNITS) $(CLI_UNITS) $(AGENT_UNITS)
	@:
fuzzers: $(FUZZERS)
	@:
programs: $(PROGRAMS)
	@:
# Everything that ships, compiled but not linked: for the warning checks of scripts/lint.
objects: $(OBJECT_O) $(HANDOFF_O) $(CLI_O) $(AGENT_O)
	@:

# ---- generated ------------------------------------------------------------------------------------------------------

# Functions of libraries other than libc are looked for where they are used (hooks/openssl.c): the table is of libc's.
# One list names what is interposed. The version script made from it is anonymous: a named one gives our symbols a
# version of their own, and then they interpose nothing.
$(BUILD)/gen/exports.map: hooks/symbols.list Makefile
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk 'BEGIN { print "{"; print "global:" } { sub(/#.*/, "") } NF { print "\t" $$1 ";" } \
		END { print "local:\n\t*;\n};" }' $< > $@

$(BUILD)/gen/real_table.h: hooks/symbols.list Makefile
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk '{ sub(/#.*/, "") } NF && !/^(SSL|gnutls)_|_fcontext$$/ { print "REAL_ENTRY(" $$1 ")" }' $< > $@

# The part of nghttp2 that is in the object: a copy of its own, of which nobody sees anything.
$(INFLATER_O): scripts/nghttp2-inflater Makefile
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)scripts/nghttp2-inflater "$$($(CC) -print-file-name=libnghttp2.a)" $@

# ---- the object and the program -------------------------------------------------------------------------------------

$(BUILD)/obj/shim/%.o: shim/%.c Makefile VERSION
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(OBJECT_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/hooks/%.o: hooks/%.c Makefile VERSION | $(GENERATED)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(OBJECT_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/hooks/%.o: hooks/%.S Makefile
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -g -fPIC -MMD -MP -c -o $@ $<

$(OBJECT_SMALL:%.c=$(BUILD)/obj/%.o): OBJECT_CFLAGS += -Os

# Debug information lives beside the object (gdb finds it by its build id and name), not in it. The old object is replaced, not
# written over: guests that run have it mapped.
$(BUILD)/libtraceshim.so: $(OBJECT_O) $(INFLATER_O) $(BUILD)/gen/exports.map hooks/object.ld scripts/unversion scripts/align-object
	$(call say,LD,$@)
	$(Q)$(CC) -o $@.full $(OBJECT_O) $(INFLATER_O) $(OBJECT_CFLAGS) $(OBJECT_LDFLAGS)
	$(Q)scripts/unversion $@.full __libc_single_threaded
	$(Q)$(OBJCOPY) --only-keep-debug $@.full $@.debug
	$(Q)$(OBJCOPY) --strip-unneeded --remove-section=.comment --add-gnu-debuglink=$@.debug $@.full $@.new
	$(Q)scripts/align-object $@.new
	$(Q)mv $@.new $@
	$(Q)rm -f $@.full

# The second object, preloaded where TRACESHIM_ATTRIBUTION=validated (shim/handoff.h): all that is for that alone, and nothing of the
# core. What it exports is marked in the sources.
$(BUILD)/libtraceshim-handoff.so: $(HANDOFF_O) scripts/unversion
	$(call say,LD,$@)
	$(Q)mkdir -p $(BUILD)/gen
	$(Q)echo '{ global: pthread_mutex_unlock; mtx_unlock; traceshim_handoff; local: *; };' > $(BUILD)/gen/handoff.map
	$(Q)$(CC) -o $@.new $(HANDOFF_O) $(OBJECT_CFLAGS) -shared -nostartfiles -static-libgcc -Wl,-soname,$(@F) \
		-Wl,--version-script,$(BUILD)/gen/handoff.map -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,text \
		-Wl,--hash-style=gnu -Wl,--gc-sections -Wl,--as-needed -Wl,--build-id $(LDFLAGS)
	$(Q)scripts/unversion $@.new __libc_single_threaded
	$(Q)$(OBJCOPY) --strip-unneeded --remove-section=.comment $@.new
	$(Q)mv $@.new $@

# The object's JavaScript side, which Node finds beside it. One file, because each that is required costs every start of Node:
# the base, and the other parts, in this order, as a comment of its own that it compiles itself. Its last line is a seal (hooks/node_companion.c).
COMPANION := $(patsubst %,hooks/companion/%.cjs,base objects storage contexts lines files calls pools streams peers servers spans span_calls routes watch)

$(BUILD)/traceshim.cjs: $(COMPANION) Makefile VERSION
	$(call say,JOIN,$@)
	$(Q)mkdir -p $(@D)
	$(Q){ cat $<; echo; echo 'function rest() {'; sed 's#^#//#' $(filter-out $<,$(COMPANION)); echo '}'; } > $@.new
	$(Q)cksum < $@.new | sed 's#^#// sealed $(VERSION) #' >> $@.new
	$(Q)mv $@.new $@

$(BUILD)/obj/cli/%.o: cli/%.c Makefile VERSION
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CLI_CFLAGS) -MMD -MP -c -o $@ $<

# Where the object will be is compiled into these: make install may be told another place than make was.
$(BUILD)/obj/cli/find.o $(BUILD)/obj/cli/agent_start.o: $(BUILD)/gen/libdir
$(BUILD)/gen/libdir: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(LIBDIR)' | cmp -s - $@ || echo '$(LIBDIR)' > $@

$(BUILD)/traceshim: $(CLI_O)
	$(call say,LD,$@)
	$(Q)$(CC) -pie -o $@ $(CLI_O) $(LDFLAGS) $(CLI_LIBS)

$(BUILD)/obj/cli/agent/page_files.o: cli/agent/page_files.S $(wildcard cli/ui/page.*) Makefile
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -fPIE -c -o $@ $<

$(BUILD)/traceshim-agent: $(AGENT_O)
	$(call say,LD,$@)
	$(Q)$(CC) -pie -o $@ $(AGENT_O) $(LDFLAGS) $(AGENT_LIBS)

# ---- test programs --------------------------------------------------------------------------------------------------

$(BUILD)/asan/%.o: %.c Makefile VERSION
	$(call say,CC-ASAN,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(UNIT_CFLAGS) $(ASAN_CFLAGS) -MMD -MP -c -o $@ $<

# Tests of HTTP/2 have nghttp2 itself for comparison.
LIBS_test_hpack = -Wl,--wrap=pool_take,--wrap=pool_give -lnghttp2
LIBS_test_http2_peers = -lnghttp2
$(SHIM_UNITS): $(BUILD)/unit/%: $(BUILD)/asan/tests/unit/%.o $(ASAN_SHIM_O)
	$(call say,LD-ASAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ASAN_CFLAGS) -pthread -o $@ $^ $(call wrap_pools,tests/unit/$*.c) -lcmocka $(LIBS_$*)

$(CLI_UNITS): $(BUILD)/unit/%: $(BUILD)/asan/tests/unit/%.o $(ASAN_CLI_O)
	$(call say,LD-ASAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ASAN_CFLAGS) -pthread -o $@ $^ -lcmocka $(CLI_LIBS)

$(AGENT_UNITS): $(BUILD)/unit/%: $(BUILD)/asan/tests/unit/%.o $(ASAN_AGENT_O)
	$(call say,LD-ASAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ASAN_CFLAGS) -pthread -o $@ $^ -lcmocka $(AGENT_LIBS)

$(BUILD)/tsan/%.o: %.c Makefile VERSION
	$(call say,CC-TSAN,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(UNIT_CFLAGS) $(TSAN_CFLAGS) -MMD -MP -c -o $@ $<

$(TSANS): $(BUILD)/tsan/%: $(BUILD)/tsan/tests/unit/%.o $(TSAN_SHIM_O)
	$(call say,LD-TSAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(TSAN_CFLAGS) -pthread -o $@ $^ $(call wrap_pools,tests/unit/$*.c) -lcmocka

# Tests that drive the core put functions of their own in front of the pools: to count blocks, to let ASan see each of
# them, and to have none. The linker does it, so that what ships knows nothing of it.
wrap_pools = $(if $(shell grep -l core_fixture.h $(1) | xargs -r grep -L CORE_REAL_POOLS),$(foreach f,pool_take pool_give spare_take spare_give spare_borrow spare_return,-Wl$(comma)--wrap=$(f)))
comma := ,

# libFuzzer calls the entry point; nobody declares it.
$(BUILD)/fuzz/%.o: %.c Makefile VERSION
	$(call say,CC-FUZZ,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Wno-missing-prototypes -Wno-conversion $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(AGENT_FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o $(FUZZ_AGENT_O)
	$(call say,LD-FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^

# The target for the whole guest links hooks too, under other names: guest_write for write. Its kernel is its own.
GUEST_HOOKS_O := $(patsubst %,$(BUILD)/fuzz/guest/%.o,io copies socket fds poll syscall)
$(GUEST_HOOKS_O:$(BUILD)/fuzz/guest/%=$(BUILD)/fuzz/hooks/%) $(BUILD)/fuzz/tests/fuzz/fuzz_guest.o: | $(GENERATED)
$(BUILD)/fuzz/guest/%.o: $(BUILD)/fuzz/hooks/%.o $(BUILD)/gen/guest.syms
	$(Q)mkdir -p $(@D)
	$(Q)$(OBJCOPY) --redefine-syms=$(BUILD)/gen/guest.syms $< $@
$(BUILD)/gen/guest.syms: hooks/symbols.list Makefile
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk '{ sub(/#.*/, "") } NF { print $$1 " guest_" $$1 }' $< > $@
$(BUILD)/fuzz/fuzz_guest: $(GUEST_HOOKS_O)
$(BUILD)/fuzz/fuzz_guest: FUZZ_LDFLAGS = $(foreach f,pool_take pool_give spare_take spare_give spare_borrow spare_return os_fstat os_statx \
	getpeername os_realtime_ns os_monotonic_ns os_monotonic_ms,-Wl$(comma)--wrap=$(f))

$(BUILD)/fuzz/fuzz_hpack: FUZZ_LDFLAGS = -lnghttp2

$(filter-out $(AGENT_FUZZERS),$(FUZZERS)): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o $(FUZZ_SHIM_O)
	$(call say,LD-FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(call wrap_pools,tests/fuzz/$*.c) $(FUZZ_LDFLAGS)

# Guests know nothing of us: no flag of ours, no include path. One that needs a library or a flag gets a line here:
# LIBS_<name> = -lcurl, or FLAGS_<name> = -D_FORTIFY_SOURCE=2
LIBS_bench_load = -lssl -lcrypto
LIBS_tls_torture = -lssl -lcrypto
LIBS_tls_errors = -lssl -lcrypto
LIBS_tls_states = -lssl -lcrypto
LIBS_tls_gnutls = -lgnutls
LIBS_server_fibers = -l:libboost_context.so.1.74.0
LIBS_coroutine_guest = $(LIBS_server_fibers)
$(BUILD)/tests/%: tests/programs/%.c Makefile
	$(call say,CC-GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) -MMD -MP -MF $@.d $(FLAGS_$*) \
		-pthread -o $@ $< $(LIBS_$*)

$(BUILD)/tests/%: tests/programs/%.cc Makefile
	$(call say,CXX-GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) -MMD -MP -MF $@.d $(FLAGS_$*) -pthread -o $@ $< \
		$(LIBS_$*)

# The same servers at other levels: what a worker leaves in registers and on its stack depends on the compiler.
LEVEL_PROGRAMS := $(foreach level,0 3,$(foreach name,pool plain spin events fibers functions,$(BUILD)/tests/O$(level)/server_$(name)))
define level_rule
$$(BUILD)/tests/O$(1)/%: tests/programs/%.c Makefile
	$$(call say,CC-GUEST,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) -std=gnu11 -D_GNU_SOURCE -O$(1) -g -Wall -Wextra $$(if $$(WERROR),-Werror) -MMD -MP -MF $$@.d \
		-pthread -o $$@ $$< $$(LIBS_$$*)

$$(BUILD)/tests/O$(1)/%: tests/programs/%.cc Makefile
	$$(call say,CXX-GUEST,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CXX) -std=c++17 -O$(1) -g -Wall -Wextra $$(if $$(WERROR),-Werror) -MMD -MP -MF $$@.d -pthread -o $$@ $$<
endef
$(foreach level,0 3,$(eval $(call level_rule,$(level))))

# ---- targets that people call ---------------------------------------------------------------------------------------

## demo: three traced services, a burst of requests, their log lines joined
demo:
	$(Q)scripts/deps build demo
	$(Q)$(MAKE) $(PARALLEL) all $(BUILD)/tests/demo_server
	$(Q)TRACESHIM_BUILD='$(abspath $(BUILD))' scripts/demo

## demo-next: a Next.js shop under load and the service it asks, both traced: right, missing and wrong ids counted
demo-next:
	$(Q)scripts/deps build node
	$(Q)$(MAKE) $(PARALLEL) all
	$(Q)TRACESHIM_BUILD='$(abspath $(BUILD))' scripts/demo-next

## test: everything: unit, fuzz corpora, contract, real servers (installs what is missing)
test:
	$(Q)scripts/deps build test node
	$(Q)$(MAKE) $(PARALLEL) all units fuzzers programs
	$(Q)scripts/test --build '$(BUILD)' unit fuzz contract preload

## test-unit: the core without hooks, under ASan and UBSan
test-unit: units
	$(Q)scripts/test --build '$(BUILD)' unit

## test-fuzz: replay the fuzz corpora
test-fuzz: fuzzers
	$(Q)scripts/test --build '$(BUILD)' fuzz

## test-contract: what the built object exports, imports and needs
test-contract: all programs
	$(Q)scripts/test --build '$(BUILD)' contract

## test-preload: real programs, bare and preloaded
test-preload: all programs
	$(Q)scripts/test --build '$(BUILD)' preload

## test-tsan: the unit tests that start threads, under TSan
test-tsan: $(TSANS)
	$(Q)scripts/test --build '$(BUILD)' tsan

## lint: formatting, compiler warnings, clang-tidy, cppcheck, shellcheck, house rules
lint:
	$(Q)scripts/deps build test lint
	$(Q)scripts/lint

## format: rewrite the C files in the house style
format:
	$(Q)scripts/deps lint
	$(Q)scripts/format

## transparency: test suites of others and some 40 servers, bare and preloaded: the outcomes that differ (SUITES=…, JOBS=n, LIMIT=seconds a unit)
transparency:
	$(Q)scripts/deps build test transparency servers
	$(Q)$(MAKE) $(PARALLEL) all
	$(Q)TRACESHIM_BUILD='$(abspath $(BUILD))' scripts/transparency

## bench: bare against preloaded, as a table and as JSON
bench:
	$(Q)scripts/deps build bench node
	$(Q)$(MAKE) $(PARALLEL) all programs
	$(Q)TRACESHIM_BUILD='$(abspath $(BUILD))' scripts/bench

## attribution: log lines and calls with the id of their own request, with none, with another's; in every pattern (ONLY=glob, REQUESTS=n, PAIRS=n)
attribution:
	$(Q)scripts/deps build test attribution
	$(Q)$(MAKE) $(PARALLEL) all programs $(LEVEL_PROGRAMS)
	$(Q)TRACESHIM_BUILD='$(abspath $(BUILD))' scripts/attribution $(if $(ONLY),--only '$(ONLY)') \
		$(if $(REQUESTS),--requests $(REQUESTS)) $(if $(PAIRS),--pairs $(PAIRS))

## fuzz: fuzz each target for FUZZ_SECONDS (60)
fuzz:
	$(Q)scripts/deps build test
	$(Q)$(MAKE) $(PARALLEL) fuzzers
	$(Q)scripts/fuzz --build '$(BUILD)' --seconds '$(FUZZ_SECONDS)'

## soak: servers under mixed load for SOAK_SECONDS (600): memory flat, answers as without the object
soak:
	$(Q)scripts/deps build test
	$(Q)$(MAKE) $(PARALLEL) all programs
	$(Q)scripts/soak --build '$(BUILD)' --seconds '$(SOAK_SECONDS)'

## sanitize: preload suites with the object under ASan and UBSan, programs under valgrind
sanitize:
	$(Q)scripts/deps build test
	$(Q)$(MAKE) $(PARALLEL) all programs
	$(Q)scripts/sanitize --build '$(BUILD)'

## install: under PREFIX (/usr/local), below DESTDIR; BINDIR, LIBDIR, MANDIR (also prefix, bindir, libdir, mandir)
install: all
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBDIR)/traceshim' '$(DESTDIR)$(MANDIR)/man1'
	install -m 755 $(BUILD)/traceshim '$(DESTDIR)$(BINDIR)/traceshim'
	install -m 755 $(BUILD)/traceshim-agent '$(DESTDIR)$(LIBDIR)/traceshim/traceshim-agent'
	install -m 644 $(BUILD)/libtraceshim.so '$(DESTDIR)$(LIBDIR)/traceshim/libtraceshim.so'
	install -m 644 $(BUILD)/libtraceshim-handoff.so '$(DESTDIR)$(LIBDIR)/traceshim/libtraceshim-handoff.so'
	install -m 644 $(BUILD)/traceshim.cjs '$(DESTDIR)$(LIBDIR)/traceshim/traceshim.cjs'
	install -m 644 cli/traceshim.1 '$(DESTDIR)$(MANDIR)/man1/traceshim.1'

## uninstall: remove what install put there
uninstall:
	rm -f '$(DESTDIR)$(BINDIR)/traceshim' '$(DESTDIR)$(LIBDIR)/traceshim/libtraceshim.so' \
		'$(DESTDIR)$(LIBDIR)/traceshim/libtraceshim-handoff.so' '$(DESTDIR)$(LIBDIR)/traceshim/traceshim.cjs' '$(DESTDIR)$(LIBDIR)/traceshim/traceshim-agent' \
		'$(DESTDIR)$(MANDIR)/man1/traceshim.1'
	rmdir '$(DESTDIR)$(LIBDIR)/traceshim' 2>/dev/null || true

## clean: remove the build
clean:
	rm -rf '$(BUILD)' compile_commands.json

## help: this list
help:
	@awk -F': ' '/^## / { sub(/^## /, ""); name = $$1; sub(/^[^:]*: /, ""); printf "  %-22s %s\n", name, $$0 }' Makefile
	@echo '  with V=1 every command is shown, with WERROR=1 warnings are errors; BUILD (build) is the folder of all that is made'

## compile_commands.json: for clangd and clang-tidy
compile_commands.json: FORCE | $(if $(wildcard hooks/symbols.list),$(GENERATED))
	$(call say,GEN,$@)
	$(Q){ for f in $(SHIM_C) $(HOOK_C) $(filter hooks/handoff/%,$(HANDOFF_C)); do echo "$$f $(call shell_escape,$(CPPFLAGS_ALL) $(filter-out $(LTO) $(COMPACT),$(OBJECT_CFLAGS)))"; done; \
		for f in $(CLI_C) $(AGENT_C); do echo "$$f $(call shell_escape,$(CPPFLAGS_ALL) $(CLI_CFLAGS))"; done; \
		for f in $(UNIT_C) $(FUZZ_C); do echo "$$f $(call shell_escape,$(CPPFLAGS_ALL) $(UNIT_CFLAGS))"; done; \
		for f in $(PROGRAM_C); do echo "$$f -std=gnu11 -D_GNU_SOURCE -O2"; done; } \
	| awk -v dir='$(CURDIR)' 'BEGIN { print "[" } { file = $$1; sub(/^[^ ]+ /, ""); gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); \
		printf "%s{\"directory\": \"%s\", \"file\": \"%s\", \"command\": \"gcc %s -c %s\"}", sep, dir, file, $$0, file; \
		sep = ",\n" } END { print "\n]" }' > $@
shell_escape = $(subst ",\",$(1))

FORCE:

# Not what transparency has fetched: others' sources have such files for other purposes.
-include $(shell find $(BUILD) -path $(BUILD)/sources -prune -o -name '*.d' -print 2>/dev/null)
