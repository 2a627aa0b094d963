/*
 * pack.c - a directory as an archive for calf; src/kernel/archive.h says what that is
 *
 * usage: pack DIRECTORY ARCHIVE
 *
 * Small files share a frame up to FRAME_SIZE, a bigger one has its own, so that reading a file
 * costs little more than the file; or several of PART_SIZE, so that as many threads can read it.
 * Files with the same bytes and mode are stored once.  The result depends on names, modes and
 * contents only.
 */
#include "../src/kernel/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define FRAME_SIZE (256 << 10)
#define PART_SIZE (2 << 20)
#define LEVEL 6    /* higher ones save a tenth and are twice as slow to read */
#define QUICK (-5) /* of what is in several frames: every start reads it, twice as fast or more */
#define WINDOW_LOG 18 /* so that reading needs little memory */
#define TAR_BLOCK 512

struct entry {
    char *name;
    mode_t mode;
    size_t size, at;
    unsigned frame;
    unsigned char sha256[SHA256_DIGEST_LENGTH];
};

struct frame {
    size_t offset, size, raw_size;
    unsigned char sha256[SHA256_DIGEST_LENGTH];
};

struct buffer {
    char *data;
    size_t size, room;
};

static struct entry *entries;
static struct frame *frames;
static size_t nentries, nframes, written, skip;
static struct buffer raw;
static FILE *out;

static _Noreturn void die(const char *what, const char *name)
{
    fprintf(stderr, "pack: %s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

static void *grow(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p)
        die("no memory for", "the archive");
    return p;
}

static void append(struct buffer *b, const void *data, size_t size)
{
    if (b->size + size > b->room)
        b->data = grow(b->data, b->room = (b->size + size) * 2);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

/* ---- tar (POSIX ustar) ------------------------------------------------------------- */

static void tar_header(char type, const char *name, mode_t mode, size_t size, const char *link)
{
    struct {
        char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100],
            magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], rest[12];
    } h = {.type = type,
           .mtime = "00000000000",
           .magic = "ustar",
           .version = "00",
           .uid = "0000000",
           .gid = "0000000",
           .uname = "root",
           .gname = "root"};
    unsigned total = 0;

    if (strlen(name) > sizeof(h.name) || strlen(link) > sizeof(h.link)) {
        errno = ENAMETOOLONG;
        die("cannot pack", name);
    }
    memcpy(h.name, name, strlen(name));
    memcpy(h.link, link, strlen(link));
    snprintf(h.mode, sizeof(h.mode), "%07o", mode & 0777);
    snprintf(h.size, sizeof(h.size), "%011zo", size);
    memset(h.checksum, ' ', sizeof(h.checksum));
    for (size_t i = 0; i < sizeof(h); i++)
        total += ((unsigned char *)&h)[i];
    snprintf(h.checksum, sizeof(h.checksum), "%06o", total);
    append(&raw, &h, sizeof(h));
}

/* ---- frames ---------------------------------------------------------------------------- */

static void end_frame(int level)
{
    size_t bound = ZSTD_compressBound(raw.size);
    char *packed = grow(NULL, bound);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    struct frame f = {.offset = written, .raw_size = raw.size};

    if (raw.size > 0) {
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, WINDOW_LOG);
        f.size = ZSTD_compress2(zstd, packed, bound, raw.data, raw.size);
        if (ZSTD_isError(f.size) || fwrite(packed, 1, f.size, out) != f.size)
            die("cannot write", "the archive");
        SHA256((unsigned char *)packed, f.size, f.sha256);
        written += f.size;
        frames = grow(frames, (nframes + 1) * sizeof(*frames));
        frames[nframes++] = f;
        raw.size = 0;
    }
    ZSTD_freeCCtx(zstd);
    free(packed);
}

static void tar_content(const char *data, size_t size)
{
    static const char zeros[TAR_BLOCK];
    size_t done = 0;

    while (size - done > PART_SIZE) {
        append(&raw, data + done, PART_SIZE);
        done += PART_SIZE;
        end_frame(QUICK);
    }
    append(&raw, data + done, size - done);
    append(&raw, zeros, -size % TAR_BLOCK);
}

static void *load(const char *dir, struct entry *e)
{
    char path[4096], *data = grow(NULL, e->size + 1);
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, e->name);
    fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, data, e->size) != (ssize_t)e->size)
        die("cannot read", path);
    close(fd);
    return data;
}

static void pack_file(const char *dir, struct entry *e)
{
    char *data = load(dir, e);
    struct entry *same = entries;

    SHA256((unsigned char *)data, e->size, e->sha256);
    while (same < e && (same->mode != e->mode || same->size != e->size || e->size == 0 ||
                        memcmp(same->sha256, e->sha256, sizeof(e->sha256)) != 0))
        same++;
    if (same == e && raw.size + e->size > FRAME_SIZE)
        end_frame(LEVEL);
    tar_header(same == e ? '0' : '1', e->name, e->mode, same == e ? e->size : 0,
               same == e ? "" : same->name);
    e->frame = same->frame;
    e->at = same->at;
    if (same == e) {
        e->frame = nframes;
        e->at = raw.size;
        tar_content(data, e->size);
        if (e->size > FRAME_SIZE)
            end_frame(e->size > PART_SIZE ? QUICK : LEVEL);
    }
    free(data);
}

static void print_entry(FILE *f, const struct entry *e)
{
    if (S_ISDIR(e->mode))
        fprintf(f, "dir %o %s\n", e->mode & 0777, e->name);
    else
        fprintf(f, "file %o %zu %zu %s\n", e->mode & 0777, e->at, e->size, e->name);
}

static void pack_manifest(void)
{
    static const char end[2 * TAR_BLOCK];
    struct archive_trailer t = {ARCHIVE_SKIPPABLE, sizeof(t) - 8, ARCHIVE_NAME, 0, 0, {0}};
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    for (size_t i = 0; i < nframes; i++) {
        fprintf(f, "frame %zu %zu %zu ", frames[i].offset, frames[i].size, frames[i].raw_size);
        for (int b = 0; b < SHA256_DIGEST_LENGTH; b++)
            fprintf(f, "%02x", frames[i].sha256[b]);
        fputc('\n', f);
        for (size_t e = 0; e < nentries; e++)
            if (entries[e].frame == i)
                print_entry(f, &entries[e]);
    }
    fclose(f);
    tar_header('0', "MANIFEST", 0644, size, "");
    tar_content(text, size);
    append(&raw, end, sizeof(end));
    end_frame(LEVEL);
    t.offset = frames[nframes - 1].offset;
    t.length = frames[nframes - 1].size;
    memcpy(t.sha256, frames[nframes - 1].sha256, sizeof(t.sha256));
    if (fwrite(&t, sizeof(t), 1, out) != 1 || fclose(out) != 0)
        die("cannot write", "the archive");
}

/* ---- the directory ------------------------------------------------------------------------ */

static int collect(const char *path, const struct stat *st, int type, struct FTW *at)
{
    if (at->level == 0)
        return 0;
    if (type != FTW_F && type != FTW_D) {
        errno = EINVAL;
        die("neither a file nor a directory:", path);
    }
    entries = grow(entries, (nentries + 1) * sizeof(*entries));
    entries[nentries++] = (struct entry){
        .name = strdup(path + skip), .mode = st->st_mode, .size = type == FTW_F ? st->st_size : 0};
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: pack DIRECTORY ARCHIVE\n"), 2;
    skip = strlen(argv[1]) + 1;
    if (nftw(argv[1], collect, 32, FTW_PHYS) != 0 || nentries == 0)
        die("cannot read", argv[1]);
    qsort(entries, nentries, sizeof(*entries), by_name);
    out = fopen(argv[2], "wb");
    if (!out)
        die("cannot write", argv[2]);
    for (struct entry *e = entries; e < entries + nentries; e++) {
        if (S_ISDIR(e->mode)) {
            e->frame = nframes;
            tar_header('5', e->name, e->mode, 0, "");
        } else {
            pack_file(argv[1], e);
        }
    }
    end_frame(LEVEL);
    pack_manifest();
    return 0;
}
