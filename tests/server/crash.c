/*
 * crash.c - SQL functions that do what no extension should, for containment.sh
 *
 * Compiled as anybody would compile an extension, with nothing of calf's.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(crash);

static volatile int zero;
static void *volatile nowhere;

static int recurse(volatile char *above)
{
    char here[4096];

    memset(here, above ? above[0] : 1, sizeof(here));
    return recurse(here) + here[zero];
}

static void be_deaf(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

/* crash(text): the name says how. */
Datum crash(PG_FUNCTION_ARGS)
{
    char *how = text_to_cstring(PG_GETARG_TEXT_PP(0));

    if (strcmp(how, "null") == 0)
        *(volatile int *)nowhere = 1;
    else if (strcmp(how, "call") == 0)
        ((void (*)(void))nowhere)();
    else if (strcmp(how, "libc") == 0)
        zero = (int)strlen((char *)nowhere + 8);
    else if (strcmp(how, "bus") == 0)
        *(volatile char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 1 << 30) = 1;
    else if (strcmp(how, "stack") == 0)
        recurse(NULL);
    else if (strcmp(how, "abort") == 0)
        abort();
    else if (strcmp(how, "free") == 0)
        free((char *)how + 8); /* not a block's beginning: libc says so and calls abort() */
    else if (strcmp(how, "trap") == 0)
        __builtin_trap();
    else if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGKILL);
    else if (strcmp(how, "raise") == 0)
        raise(SIGSEGV);
    else if (strcmp(how, "exit") == 0)
        exit(3);
    else if (strcmp(how, "_exit") == 0)
        _exit(3);
    else if (strcmp(how, "panic") == 0)
        elog(PANIC, "on purpose");
    else if (strcmp(how, "fatal") == 0)
        elog(FATAL, "on purpose");
    else if (strcmp(how, "divide") == 0)
        PG_RETURN_INT32(getpid() / zero);
    else if (strcmp(how, "loop") == 0)
        for (;;)
            zero = 0;
    else if (strcmp(how, "deaf loop") == 0)
        for (be_deaf();;)
            zero = 0;
    else if (strcmp(how, "deaf sleep") == 0)
        for (be_deaf();;)
            sleep(1000);
    elog(ERROR, "it did not crash: %s", how);
}
