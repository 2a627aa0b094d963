# calf: `make run` opens a demo database, `make test` builds what is missing and runs every test.
#
#   make            PostgreSQL and calf, into build/
#   make run        a psql prompt on ./demo, opened inside one process (without a terminal: a tour)
#   make test       every test; make test-all: also the slow ones and PostgreSQL 15 and 18
#   make bench      calf against the same PostgreSQL built the normal way
#   make asan|ubsan|tsan    the kernel's own tests under a sanitizer, where it can work
#   make tidy       gcc and clang with all warnings, clang-format
#   make clean      calf's own objects; make distclean: everything in build/
#
# PG_MAJOR=15|17|18   which PostgreSQL (17)
# PG_SOURCE=path      a tarball or a clean source directory instead of Debian's source package

PG_MAJOR ?= 17
export PG_MAJOR
VERSION := 0.1.0
B := build
# A calf for another PostgreSQL than the default has objects of its own.
O := $(B)/obj$(PG_MAJOR)$(SANITIZE:%=-%)
CALF := $(if $(SANITIZE),$(O)/calf,$(if $(filter 17,$(PG_MAJOR)),$(B)/calf,$(B)/calf$(PG_MAJOR)))
EXEC := $(if $(SANITIZE),$(O)/calf-exec,$(B)/calf-exec)

CC = gcc
CFLAGS ?= -O2 -g
# -fno-omit-frame-pointer: perf and gdb walk from an image through the kernel
WARN := -Wall -Wextra -Werror
FLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) -fno-omit-frame-pointer \
	-DCALF_PG_MAJOR=$(PG_MAJOR) -DCALF_VERSION='"$(VERSION)"'
# The stacks of processes are left by jumps, which stack instrumentation cannot follow.
SANITIZE_address := -fsanitize=address --param asan-stack=0
SANITIZE_undefined := -fsanitize=undefined -fno-sanitize-recover=undefined
SANITIZE_thread := -fsanitize=thread
FLAGS += $(SANITIZE_$(SANITIZE))

KERNEL := $(wildcard src/loader/*.c src/kernel/*.c) src/kernel/context_x86_64.S
RUNTIME := $(wildcard src/runtime/*.c)
obj = $(patsubst %,$(O)/%.o,$(basename $(1)))

all: pg $(CALF) $(EXEC)

# ---- PostgreSQL: pg/ knows what to do; seconds when nothing changed ---------------------------

deps:
	@pg/deps.sh run
pg: deps
	@pg/build.sh $(PG_MAJOR)
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

$(CALF): $(call obj,$(KERNEL) $(RUNTIME) cli/main.c)
	@echo "  ld $@"
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ -ldl -pthread

$(EXEC): $(call obj,$(KERNEL) tests/os/calf-exec.c)
	@echo "  ld $@"
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ -ldl -pthread

# the tests of src/runtime: hosts of their own
$(B)/tests/runtime/%: $(call obj,$(KERNEL) $(RUNTIME)) $(O)/tests/runtime/%.o
	@mkdir -p $(@D)
	@$(CC) $(FLAGS) $(CFLAGS) $^ -o $@ -ldl -pthread

-include $(wildcard $(O)/*/*.d $(O)/*/*/*.d)

# ---- using it --------------------------------------------------------------------------------------

run: all
	@if [ -t 0 ] && [ -t 1 ]; then exec $(CALF) psql demo; \
	else exec $(CALF) psql demo -X -f docs/tour.sql; fi

HOSTS := $(patsubst %.c,$(B)/%,$(wildcard tests/runtime/*.c))

test: all $(HOSTS)
	@pg/deps.sh
	@tests/run.sh

test-all: all $(HOSTS)
	@pg/deps.sh
	@tests/run.sh --all

bench: all pg-stock
	@bench/run.sh

tidy:
	@pg/deps.sh
	@tests/tidy.sh

asan ubsan tsan:
	@$(MAKE) --no-print-directory SANITIZE=$(patsubst asan,address,$(patsubst ubsan,undefined,$(patsubst tsan,thread,$@))) os-test

# tests/os inside a calf built with a sanitizer
os-test: $(EXEC)
	@$(MAKE) -s --no-print-directory -C tests/os OUT=$(CURDIR)/$(B)/tests/os native
	@CALF_EXEC=$(EXEC) tests/os/run.sh inside

clean:
	rm -rf $(B)/obj* $(B)/tests $(B)/calf $(B)/calf15 $(B)/calf18 $(B)/calf-exec
distclean:
	rm -rf $(B)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps pg pg-stock run test test-all bench tidy asan ubsan tsan os-test clean distclean
