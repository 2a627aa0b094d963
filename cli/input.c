/*
 * input.c - reading a file that may be compressed; see input.h
 */
#include "input.h"

#include <errno.h>
#include <lz4frame.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static int fail(struct input *in, const char *why)
{
    snprintf(in->error, sizeof(in->error), "%s", why);
    return -1;
}

/* More of the file into `in`; 0 at its end, -1. */
static int fill(struct input *in)
{
    ssize_t n;

    if (in->at < in->size || in->ended)
        return in->at < in->size;
    while (poll(&(struct pollfd){in->fd, POLLIN, 0}, 1, 200) <= 0) /* a pipe nobody writes to */
        if (*in->stopped)
            return fail(in, "was not read to its end");
    n = read(in->fd, in->in, sizeof(in->in));
    if (*in->stopped)
        return fail(in, "was not read to its end");
    if (n < 0)
        return fail(in, strerror(errno));
    in->at = 0;
    in->size = (size_t)n;
    in->taken += (unsigned long long)n;
    in->ended = n == 0;
    return n > 0;
}

static bool begins(const struct input *in, const char *magic, size_t n)
{
    return in->size >= n && memcmp(in->in, magic, n) == 0;
}

/* ---- one step of each: *out bytes were made, in->whole is set at the end of a stream ----------
 */

static int step_gzip(struct input *in, void *buf, size_t size, size_t *out)
{
    z_stream *z = in->state;
    int rc;

    if (in->whole && inflateReset(z) != Z_OK) /* a second one follows: cat a.gz b.gz */
        return fail(in, "cannot be decompressed");
    z->next_in = in->in + in->at;
    z->avail_in = (unsigned)(in->size - in->at);
    z->next_out = buf;
    z->avail_out = (unsigned)size;
    rc = inflate(z, Z_NO_FLUSH);
    in->at = in->size - z->avail_in;
    *out = size - z->avail_out;
    in->whole = rc == Z_STREAM_END;
    return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0
                                                                 : fail(in, "is damaged (gzip)");
}

static int step_zstd(struct input *in, void *buf, size_t size, size_t *out)
{
    ZSTD_inBuffer from = {in->in, in->size, in->at};
    ZSTD_outBuffer to = {buf, size, 0};
    size_t rc = ZSTD_decompressStream(in->state, &to, &from);

    in->at = from.pos;
    *out = to.pos;
    in->whole = rc == 0;
    return ZSTD_isError(rc) ? fail(in, "is damaged (zstd)") : 0;
}

static int step_lz4(struct input *in, void *buf, size_t size, size_t *out)
{
    size_t taken = in->size - in->at, made = size;
    size_t rc = LZ4F_decompress(in->state, buf, &made, in->in + in->at, &taken, NULL);

    in->at += taken;
    *out = made;
    in->whole = rc == 0;
    return LZ4F_isError(rc) ? fail(in, "is damaged (lz4)") : 0;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

struct input *input_open(int fd, const _Atomic int *stopped)
{
    struct input *in = calloc(1, sizeof(*in));

    if (!in) {
        close(fd);
        return NULL;
    }
    in->fd = fd;
    in->stopped = stopped;
    in->whole = true;
    if (fill(in) <= 0)
        return in;
    if (begins(in, "\x1f\x8b", 2)) {
        z_stream *z = calloc(1, sizeof(*z));

        in->compression = GZIP;
        in->state = z;
        if (!z || inflateInit2(z, 16 + MAX_WBITS) != Z_OK)
            fail(in, "cannot be decompressed: out of memory");
    } else if (begins(in, "\x28\xb5\x2f\xfd", 4)) {
        in->compression = ZSTD;
        in->state = ZSTD_createDStream();
    } else if (begins(in, "\x04\x22\x4d\x18", 4)) {
        LZ4F_dctx *lz4 = NULL;

        in->compression = LZ4;
        LZ4F_createDecompressionContext(&lz4, LZ4F_VERSION);
        in->state = lz4;
    }
    if (in->compression != PLAIN && !in->state)
        fail(in, "cannot be decompressed: out of memory");
    return in;
}

ssize_t input_read(struct input *in, void *buf, size_t size)
{
    static int (*const steps[])(struct input * in, void *buf, size_t size, size_t *out) = {
        [GZIP] = step_gzip, [ZSTD] = step_zstd, [LZ4] = step_lz4};
    size_t out = 0;

    while (!in->error[0] && out == 0) {
        int more = fill(in);

        if (more < 0)
            break;
        if (in->compression == PLAIN) {
            out = in->size - in->at < size ? in->size - in->at : size;
            memcpy(buf, in->in + in->at, out);
            in->at += out;
            return (ssize_t)out;
        }
        if (!more && in->whole)
            return 0;
        /* at the end of the file there may still be something in the decompressor */
        if (steps[in->compression](in, buf, size, &out) == 0 && !more && out == 0 && !in->whole)
            fail(in, "is truncated");
    }
    return in->error[0] ? -1 : (ssize_t)out;
}

ssize_t input_read_all(struct input *in, void *buf, size_t size)
{
    size_t got = 0;
    ssize_t n = 0;

    while (got < size && (n = input_read(in, (char *)buf + got, size - got)) > 0)
        got += (size_t)n;
    return n < 0 ? -1 : (ssize_t)got;
}

void input_close(struct input *in)
{
    if (!in)
        return;
    if (in->compression == GZIP && in->state) {
        inflateEnd(in->state);
        free(in->state);
    } else if (in->compression == ZSTD) {
        ZSTD_freeDStream(in->state);
    } else if (in->compression == LZ4) {
        LZ4F_freeDecompressionContext(in->state);
    }
    close(in->fd);
    free(in);
}
