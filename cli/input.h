/*
 * input.h - reading a file that may be compressed: gzip, zstd, lz4, or not at all
 *
 * What is compressed how is seen by its first bytes.  The rule that matters: the end of the data
 * (0) is only what the format says is its end; a file that stops before it is an error.
 */
#ifndef CALF_CLI_INPUT_H
#define CALF_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum compression { PLAIN, GZIP, ZSTD, LZ4 };

struct input {
    int fd;
    enum compression compression;
    _Atomic unsigned long long taken; /* bytes read from fd */
    char error[256];                  /* why it cannot be read: "is truncated" ...; "": it can */
    /* input.c's own */
    const _Atomic int *stopped;
    void *state;
    unsigned char in[64 << 10];
    size_t at, size; /* what of `in` is not used yet */
    bool whole;      /* a compressed stream has just ended, nothing of a next one has come */
    bool ended;
};

/* Takes the descriptor; reading ends with an error once *stopped is not 0.  NULL: no memory. */
struct input *input_open(int fd, const _Atomic int *stopped);
/* Bytes, 0 at the end, -1 and ->error. */
ssize_t input_read(struct input *in, void *buf, size_t size);
/* The same, until `size` bytes are there or the end has come. */
ssize_t input_read_all(struct input *in, void *buf, size_t size);
void input_close(struct input *in);

#endif
