/*
 * archive_fuzz.c - of a damaged archive come the right bytes or none, and never a crash
 *
 * Damaged are any bytes, the trailer, the length, or the manifest with a sum that fits again, which
 * is how its parser comes to see nonsense.
 *
 * with: kernel/archive
 * usage: archive SEED COUNT ARCHIVE DIRECTORY, which was packed
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "../../src/kernel/archive.h"

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/sha.h>
#include <zstd.h>

#define ROOT "/nowhere/archive"
#define TAR_BLOCK 512

_Noreturn void check_failed(const char *what, const char *file, int line);
_Noreturn void check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    abort();
}

static unsigned char *whole;
static size_t whole_size;
static const char *directory;

static unsigned char *load(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char *data;
    struct stat st;

    MUST(fd >= 0 && fstat(fd, &st) == 0 && (data = malloc(st.st_size + 1)));
    MUST(read(fd, data, st.st_size) == st.st_size);
    close(fd);
    *size = st.st_size;
    return data;
}

/* Another manifest, or other lines of it; the trailer says so. */
static size_t damage_manifest(unsigned char *data)
{
    struct archive_trailer t;
    unsigned char raw[64 << 10], *text = raw + TAR_BLOCK;
    size_t size, n;

    memcpy(&t, whole + whole_size - sizeof(t), sizeof(t));
    size = ZSTD_decompress(raw, sizeof(raw), whole + t.offset, t.length);
    MUST(!ZSTD_isError(size));
    n = strlen((char *)text);
    for (int i = 1 + pick(4); i > 0; i--)
        switch (pick(4)) {
        case 0: damage(text, n); break;
        case 1: text[pick(n)] = "0123456789 \n/-"[pick(14)]; break;
        case 2: text[pick(n)] = "frame file dir"[pick(14)]; break;
        default: text[pick(n)] = '\0';
        }
    if (pick(8) == 0)
        size = pick(size);
    memcpy(data, whole, t.offset);
    t.length = ZSTD_compress(data + t.offset, whole_size, raw, size, 1);
    MUST(!ZSTD_isError(t.length));
    SHA256(data + t.offset, t.length, t.sha256);
    memcpy(data + t.offset + t.length, &t, sizeof(t));
    return t.offset + t.length + sizeof(t);
}

struct walk {
    unsigned char sum;
    bool trusted;
};

static int each(void *ctx, const char *name, mode_t mode, const void *data, size_t size)
{
    unsigned char *right;
    struct walk *w = ctx;
    char path[4096];
    size_t n;

    MUST(name && (data || S_ISDIR(mode) || size == 0));
    for (size_t i = 0; i < size; i++) /* all of it can be read */
        w->sum ^= ((const unsigned char *)data)[i];
    if (w->trusted && S_ISREG(mode)) {
        snprintf(path, sizeof(path), "%s/below/%s", directory, name);
        right = load(path, &n);
        MUST(n == size && memcmp(data, right, n) == 0);
        free(right);
    }
    return 0;
}

static void read_file(const char *name, bool trusted)
{
    char path[4096], inside[4096], *bytes;
    const struct archive_entry *e;
    unsigned char *right;
    bool is_inside;
    size_t size;
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    snprintf(inside, sizeof(inside), ROOT "/%s", name);
    e = archive_find(inside, &is_inside);
    MUST(is_inside);
    if (!e) {
        MUST(!trusted);
        return;
    }
    archive_path(e, inside);
    archive_stat(e, &st);
    archive_check(e);
    archive_next(e, NULL);
    fd = archive_open(e);
    if (fd < 0) {
        MUST(fd == -EBADMSG || !trusted);
        return;
    }
    MUST((bytes = malloc(st.st_size + 1)) && pread(fd, bytes, st.st_size, 0) == st.st_size);
    if (trusted) { /* the manifest is what it was: these are the file's bytes */
        right = load(path, &size);
        MUST(size == (size_t)st.st_size && memcmp(bytes, right, size) == 0);
        free(right);
    }
    free(bytes);
    close(fd);
}

static void one(int number)
{
    unsigned char *data = malloc(2 * whole_size + 4096);
    int kind = number == 0 ? 4 : (int)pick(4), fd = memfd_create("archive", MFD_CLOEXEC), rc;
    size_t size = whole_size;
    char err[1024] = "", again[1024];
    DIR *d = opendir(directory);
    const struct archive_entry *e;
    bool inside;
    void *map;

    MUST(data && fd >= 0 && d);
    memcpy(data, whole, size);
    if (kind == 0)
        for (int i = 1 + pick(8); i > 0; i--)
            damage(data, size);
    else if (kind == 1)
        damage(data + size - sizeof(struct archive_trailer), sizeof(struct archive_trailer));
    else if (kind == 2)
        size = pick(4) ? pick(size) : size + pick(4096);
    else if (kind == 3)
        size = damage_manifest(data);
    MUST(write(fd, data, size) == (ssize_t)size);
    map = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : data;
    MUST(map != MAP_FAILED);
    rc = archive_mount(ROOT, map, size, err, sizeof(err));
    if (rc < 0) {
        MUST(number > 0 && rc == -EBADMSG && *err);
        for (int i = 0; i < 3; i++)
            MUST(archive_mount(ROOT, map, size, again, sizeof(again)) == -EBADMSG);
        MUST(!archive_find(ROOT "/calf.h", &inside));
    } else {
        for (struct dirent *entry; (entry = readdir(d));)
            if (entry->d_type == DT_REG)
                read_file(entry->d_name, kind != 3);
        e = archive_find(ROOT "/below", &inside);
        MUST(inside && (e || kind == 3));
        for (const struct archive_entry *i = NULL; e && (i = archive_next(e, i));)
            MUST(i->name);
        rc = e ? archive_walk(e, each, &(struct walk){0, kind != 3}) : 0;
        MUST(number > 0 || rc == 0);
    }
    closedir(d);
    free(data);
}

int main(int argc, char **argv)
{
    MUST(argc == 5);
    whole = load(argv[3], &whole_size);
    directory = argv[4];
    return run_cases("archive", strtoull(argv[1], NULL, 10), atoi(argv[2]), one);
}
