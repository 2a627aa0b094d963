# calf: `make run` opens a demo database, `make test` builds what is missing and runs every test.
#
#   make            PostgreSQL and calf, into build/
#   make run        a psql prompt on ./demo, opened inside one process (without a terminal: a tour)
#   make test       every test; make test-all: also the slow ones and PostgreSQL 15 and 18
#   make install [PREFIX=/usr/local] [DESTDIR=]     libcalf, its header, the command; make uninstall
#   make deb        Debian packages of the same, build/calf_*.deb and build/libcalf-dev_*.deb
#   make bench      calf against the same PostgreSQL built the normal way
#   make asan|ubsan|tsan    the kernel's own tests under a sanitizer, where it can work; tsan: and libcalf
#   make tidy       gcc and clang with all warnings, clang-format
#   make clean      calf's own objects; make distclean: everything in build/
#
# PG_MAJOR=15|17|18   which PostgreSQL (17)
# PG_SOURCE=path, PGVECTOR_SOURCE=path    a tarball or a clean source directory instead of Debian's
#                     source package

PG_MAJOR ?= 17
export PG_MAJOR
VERSION := 0.1.0
B := build
# A calf for another PostgreSQL than the default has objects of its own.
O := $(B)/obj$(PG_MAJOR)$(SANITIZE:%=-%)
CALF := $(if $(SANITIZE),$(O)/calf,$(if $(filter 17,$(PG_MAJOR)),$(B)/calf,$(B)/calf$(PG_MAJOR)))
LIB := $(if $(SANITIZE)$(filter-out 17,$(PG_MAJOR)),$(O),$(B))/libcalf.so
STATIC := $(LIB:.so=.a)
# programs that use it
P := $(B)$(if $(filter-out 17,$(PG_MAJOR)),/programs$(PG_MAJOR))
EXEC := $(if $(SANITIZE),$(O)/calf-exec,$(B)/calf-exec)

CC = gcc
CFLAGS ?= -O2 -g
# -fno-omit-frame-pointer: perf and gdb walk from an image through the kernel
WARN := -Wall -Wextra -Werror
FLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) -fno-omit-frame-pointer -fPIC -fvisibility=hidden \
	-DCALF_PG_MAJOR=$(PG_MAJOR) -DCALF_VERSION='"$(VERSION)"'
# The stacks of processes are left by jumps, which stack instrumentation cannot follow.
SANITIZE_address := -fsanitize=address --param asan-stack=0
SANITIZE_undefined := -fsanitize=undefined -fno-sanitize-recover=undefined
SANITIZE_thread := -fsanitize=thread
# thread-api: the kernel is left out, whose switches of stacks the thread sanitizer cannot follow
SANITIZE_thread-api := -fsanitize=thread
FLAGS += $(SANITIZE_$(SANITIZE))

KERNEL := $(wildcard src/loader/*.c src/kernel/*.c) src/kernel/context_x86_64.S
RUNTIME := $(wildcard src/runtime/*.c)
ARCHIVE := src/runtime/archive.S
API := $(wildcard src/api/*.c) src/api/libpq_name.S
CLI := $(wildcard cli/*.c)
# zstd: whole, for what it only offers so (archive.c), and because PostgreSQL's is lazy
LIBS := -l:libzstd.a -lcrypto -ldl -pthread
CLI_LIBS := -lz -l:liblz4.a
PG := $(B)/pg$(PG_MAJOR)
obj = $(patsubst %,$(O)/%.o,$(basename $(1)))
ifeq ($(SANITIZE),thread-api)
$(O)/src/kernel/%.o: FLAGS := $(filter-out -fsanitize=%,$(FLAGS))
endif

all: pg $(CALF) $(EXEC) $(LIB) $(STATIC) $(if $(SANITIZE)$(filter-out 17,$(PG_MAJOR)),,$(B)/calf.1)

# ---- PostgreSQL: pg/ knows what to do; seconds when nothing changed ---------------------------

deps:
	@pg/deps.sh run
pg: deps
	@pg/build.sh $(PG_MAJOR)
	@pg/pgvector.sh $(PG_MAJOR)
$(PG)/built $(PG)/pgvector/built: | pg
pg-stock: deps
	@pg/build.sh $(PG_MAJOR) stock

# ---- calf ---------------------------------------------------------------------------------------

$(O)/%.o: %.c Makefile | deps
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(O)/%.o: %.S Makefile | deps
	@mkdir -p $(@D)
	@echo "  as $<"
	@$(CC) -c $< -o $@

$(call obj,$(CLI)): FLAGS += -I$(PG)/pgsql/include
$(call obj,$(CLI)): | pg

$(CALF): $(call obj,$(CLI)) $(STATIC)
	@echo "  ld $@"
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ $(CLI_LIBS) -lssl -lm $(LIBS)

$(B)/calf.1: $(CALF)
	@$(CALF) help --man >$@

$(EXEC): $(call obj,$(KERNEL) tests/os/calf-exec.c)
	@echo "  ld $@"
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ $(LIBS)

# ---- the archive: what calf carries of PostgreSQL ---------------------------------------------------

# makes the template cluster
$(O)/calf-bare: $(call obj,$(KERNEL) $(RUNTIME) $(API) $(CLI)) $(O)/libpq.o
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ $(CLI_LIBS) -lssl -lm $(LIBS)

$(O)/pack: $(call obj,tools/pack.c)
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ -l:libzstd.a -lcrypto

ifneq ($(SANITIZE),)
# made by a calf that is not watched: it runs commands of the shell
PLAIN := $(B)/obj$(PG_MAJOR)/archive.tar.zst
$(PLAIN):
	@$(MAKE) --no-print-directory SANITIZE= $@
$(O)/archive.tar.zst: $(PLAIN)
	@mkdir -p $(@D)
	@cp $< $@
else
$(O)/archive.tar.zst: $(PG)/built $(PG)/pgvector/built tools/archive.sh tools/pack.c | $(O)/calf-bare $(O)/pack
	@echo "  pack $@"
	@tools/archive.sh $(PG)/pgsql $(O)/calf-bare $(O)/pack $@
endif

$(call obj,$(ARCHIVE)): $(ARCHIVE) $(O)/archive.tar.zst
	@mkdir -p $(@D)
	@$(CC) -DARCHIVE='"$(O)/archive.tar.zst"' -c $< -o $@

# ---- libcalf: calf.h and libpq's API ---------------------------------------------------------------

SONAME := libcalf.so.0
# libpq's functions that have a namesake in src/api/libpq.c
LIBPQ_BEGINS := PQconnectdb PQconnectStart PQconnectdbParams PQconnectStartParams PQsetdbLogin PQping \
	PQpingParams
LIBPQ_SYSTEM := getaddrinfo freeaddrinfo gai_strerror connect close getenv

$(call obj,$(API)): FLAGS += -I$(PG)/pgsql/include
$(call obj,$(API)): | pg

# libpq and what it needs of PostgreSQL's own libraries as one object, in which only its API is global
$(O)/libpq.o: Makefile | pg
	@mkdir -p $(@D)
	@echo "  ld $@"
	@ld -r -o $@ --whole-archive $(PG)/objects/src/interfaces/libpq/libpq.a --no-whole-archive \
		$(PG)/objects/src/common/libpgcommon_shlib.a $(PG)/objects/src/port/libpgport_shlib.a
	@sed -n 's/^\([A-Za-z_0-9]*\);$$/\1/p' $(PG)/objects/src/interfaces/libpq/exports.list >$(O)/libpq.api
	@sed 's/^\($(subst $() ,\|,$(strip $(LIBPQ_BEGINS)))\)$$/libpq_\1/' $(O)/libpq.api >$(O)/libpq.global
	@objcopy $(foreach f,$(LIBPQ_BEGINS),--redefine-sym $(f)=libpq_$(f)) \
		$(foreach f,$(LIBPQ_SYSTEM),--redefine-sym $(f)=calf_libpq_$(f)) $@
	@objcopy --keep-global-symbols=$(O)/libpq.global $@

# an empty library that is called libpq.so.5 and leads to libcalf (replace.c)
$(O)/libpq-name.so: Makefile | deps
	@mkdir -p $(O)/empty
	@$(CC) -shared -nostdlib -x c /dev/null -Wl,-soname,$(SONAME) -o $(O)/empty/libcalf.so
	@$(CC) -shared -nostdlib -s -x c /dev/null -Wl,-soname,libpq.so.5 -Wl,-z,noseparate-code -o $@ \
		-L$(O)/empty -Wl,--no-as-needed -lcalf

$(O)/src/api/libpq_name.o: src/api/libpq_name.S $(O)/libpq-name.so
	@mkdir -p $(@D)
	@$(CC) -DLIBPQ_NAME='"$(O)/libpq-name.so"' -c $< -o $@

# the names of both, which are all that either library exports
$(O)/libcalf.api: include/calf.h $(O)/libpq.o
	@{ sed -n 's/.*\b\(calf_[a-z_]*\)(.*/\1/p' include/calf.h; cat $(O)/libpq.api; } | sort -u >$@

LIB_OBJECTS := $(call obj,$(KERNEL) $(RUNTIME) $(ARCHIVE) $(API)) $(O)/libpq.o

$(LIB): $(LIB_OBJECTS) $(O)/libcalf.api
	@echo "  ld $@"
	@{ echo '{ global:'; sed 's/$$/;/' $(O)/libcalf.api; echo 'local: *; };'; } >$(O)/libcalf.map
	@$(CC) $(FLAGS) $(CFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$(O)/libcalf.map \
		-Wl,-z,nodelete -Wl,-z,defs -Wl,-Bsymbolic $(filter %.o,$^) -o $@ -lssl -lm $(LIBS)
	@ln -sf $(@F) $(dir $@)$(SONAME)

# The same for programs that carry it themselves; they add -lssl -lm $(LIBS).
$(STATIC): $(LIB_OBJECTS) $(O)/libcalf.api
	@echo "  ar $@"
	@ld -r -o $(O)/libcalf.o $(LIB_OBJECTS)
	@objcopy --keep-global-symbols=$(O)/libcalf.api $(O)/libcalf.o
	@rm -f $@
	@ar rcs $@ $(O)/libcalf.o

# the tests of src/runtime: hosts of their own
$(P)/tests/runtime/%: $(call obj,$(KERNEL) $(RUNTIME) $(ARCHIVE)) $(O)/tests/runtime/%.o
	@mkdir -p $(@D)
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ $(LIBS)

# programs that use libcalf as anybody would
define use_libcalf
@mkdir -p $(@D)
@$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude -I$(PG)/pgsql/include $< \
	-o $@ -L$(dir $(LIB)) -Wl,--as-needed -lcalf -Wl,-rpath,$(CURDIR)/$(dir $(LIB)) -pthread
endef
$(P)/tests/api/%: tests/api/%.c tests/api/api_test.h include/calf.h $(LIB)
	$(use_libcalf)
$(P)/examples/%: examples/%.c include/calf.h $(LIB)
	$(use_libcalf)

-include $(wildcard $(O)/*/*.d $(O)/*/*/*.d)

# ---- using it --------------------------------------------------------------------------------------

run: all
	@if [ -t 0 ] && [ -t 1 ]; then exec $(CALF) psql demo; \
	else exec $(CALF) psql demo -X -f docs/tour.sql; fi

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INSTALL := LIB=$(LIB) STATIC=$(STATIC) CALF=$(CALF) PG=$(PG) VERSION=$(VERSION) SONAME=$(SONAME)

install: all
	@PREFIX=$(PREFIX) LIBDIR=$(LIBDIR) DESTDIR=$(DESTDIR) $(INSTALL) tools/install.sh install
uninstall:
	@PREFIX=$(PREFIX) LIBDIR=$(LIBDIR) DESTDIR=$(DESTDIR) $(INSTALL) tools/install.sh uninstall

deb: all
	@pg/deps.sh dpkg-dev zstd
	@$(INSTALL) ARCHIVE=$(O)/archive.tar.zst tools/deb.sh $(B)

HOSTS := $(patsubst %.c,$(P)/%,$(wildcard tests/runtime/*.c tests/api/*.c examples/*.c))

test: all $(HOSTS)
	@pg/deps.sh
	@tests/run.sh

test-all: all $(HOSTS)
	@pg/deps.sh
	@tests/run.sh --all

bench: all pg-stock $(P)/examples/fixture
	@bench/run.sh

tidy:
	@pg/deps.sh
	@tests/tidy.sh

asan ubsan tsan:
	@[ $@ != tsan ] || $(MAKE) --no-print-directory SANITIZE=thread-api threads-test
	@$(MAKE) --no-print-directory SANITIZE=$(patsubst asan,address,$(patsubst ubsan,undefined,$(patsubst tsan,thread,$@))) os-test

# tests/os inside a calf built with a sanitizer
os-test: $(EXEC)
	@$(MAKE) -s --no-print-directory -C tests/os OUT=$(CURDIR)/$(B)/tests/os native
	@CALF_EXEC=$(EXEC) tests/os/run.sh inside

# many threads in libcalf, of which src/api and src/runtime are watched
threads-test: $(LIB)
	@$(CC) $(FLAGS) $(CFLAGS) -Iinclude -I$(PG)/pgsql/include tests/api/threads.c -o $(O)/threads \
		-L$(dir $(LIB)) -lcalf -Wl,-rpath,$(CURDIR)/$(dir $(LIB)) -pthread
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
		TSAN_OPTIONS=suppressions=tests/api/tsan.supp $(O)/threads "$$scratch" $${CALF_THREADS_SECONDS:-60}

clean:
	rm -rf $(B)/obj* $(B)/programs* $(B)/tests $(B)/libcalf.* $(B)/*.deb $(B)/deb.log $(B)/calf $(B)/calf.1 $(B)/calf15 $(B)/calf18 $(B)/calf-exec
distclean:
	rm -rf $(B)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps pg pg-stock run install uninstall deb test test-all bench tidy asan ubsan tsan os-test threads-test clean distclean
