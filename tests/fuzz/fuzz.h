/*
 * fuzz.h - what the fuzz tests share: a seeded random number, and cases that run in a child
 *
 * A case that crashes or hangs is reported with the seed and its number: `NAME ... SEED COUNT`
 * makes the same cases again.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASE_SECONDS 20
#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x);                      \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static uint64_t rng_state;

/* Less than n. */
static inline uint64_t pick(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (rng_state * 0x2545F4914F6CDD1DUL >> 8) % n;
}

static inline void rng_seed(uint64_t seed, uint64_t number)
{
    rng_state = (seed + 1) * 0x9E3779B97F4A7C15UL ^ (number + 1) * 0xBF58476D1CE4E5B9UL;
    pick(1);
    pick(1);
}

/* A byte, a bit or a number that is a little or very wrong. */
static inline void damage(unsigned char *data, size_t size)
{
    static const uint64_t odd[] = {0,          1,         7,    0x7fffffff, 0x80000000,
                                   0xffffffff, 1UL << 33, ~0UL, ~0UL - 7,   1UL << 63};
    size_t at = pick(size);
    uint64_t value = odd[pick(sizeof(odd) / sizeof(odd[0]))];

    switch (pick(4)) {
    case 0: data[at] ^= 1 << pick(8); break;
    case 1: data[at] = pick(256); break;
    case 2: data[at] += pick(2) ? 1 : -1; break;
    default: at &= ~7UL; memcpy(data + at, &value, size - at < 8 ? size - at : pick(2) ? 4 : 8);
    }
}

/* Runs the cases number 0 to count - 1, each in a child; prints and returns the sums. */
static inline int run_cases(const char *name, uint64_t seed, int count, void (*one)(int number))
{
    int bad = 0;

    printf("%s: seed %llu, %d cases\n", name, (unsigned long long)seed, count);
    fflush(NULL);
    for (int i = 0; i < count; i++) {
        int status;
        pid_t child = fork();

        MUST(child >= 0);
        if (child == 0) {
            rng_seed(seed, i);
            alarm(CASE_SECONDS);
            one(i);
            _exit(0);
        }
        MUST(waitpid(child, &status, 0) == child);
        if (status != 0) {
            printf("not ok: %s, seed %llu, case %d: wait status %#x\n", name,
                   (unsigned long long)seed, i, status);
            bad++;
        }
    }
    printf("%d passed, %d failed\n", count - bad, bad);
    return bad > 0;
}
