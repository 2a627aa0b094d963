/*
 * owned.c - the descriptors of the host that are calf's, so that a forked child can do without
 *
 * Close-on-exec takes them from a child that executes a program; one that goes on as a copy of the
 * host would keep the directory locked, ports taken and clients waiting for a server that is gone.
 * So each one that lasts is noted here, and the child closes what is noted (api/fork.c).
 *
 * The rule that matters: what is noted is closed by owned_close() and by nothing else, or the child
 * would close a descriptor of the host's.  It is forgotten before it is closed, because the next
 * one with this number may be the host's.  Not noted: what is open for a moment only, and numbers
 * that no host has.
 */
#include "kernel.h"

#define OWNED_MAX (1 << 20) /* pages of the table that nobody touches cost nothing */
#define BITS 64

static _Atomic uint64_t owned[OWNED_MAX / BITS];

int owned_note(int fd)
{
    if (fd >= 0 && fd < OWNED_MAX)
        atomic_fetch_or_explicit(&owned[fd / BITS], 1ULL << fd % BITS, memory_order_relaxed);
    return fd;
}

void owned_close(int fd)
{
    if (fd >= 0 && fd < OWNED_MAX)
        atomic_fetch_and_explicit(&owned[fd / BITS], ~(1ULL << fd % BITS), memory_order_relaxed);
    if (fd >= 0)
        close(fd);
}

void owned_close_all(void)
{
    for (int i = 0; i < OWNED_MAX / BITS; i++)
        for (int bit = 0; owned[i] && bit < BITS; bit++)
            if (owned[i] >> bit & 1)
                owned_close(i * BITS + bit);
}
