/*
 * archive.c - finding and reading the files that calf carries; see archive.h
 *
 * The rule that matters: no frame is decompressed before its sum was compared.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_*: the sum alone, without OpenSSL's start */
#include "archive.h"

#include "kernel.h"

#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#define ZSTD_STATIC_LINKING_ONLY /* as the Makefile does: for ZSTD_createDCtx_advanced() */
#include <zstd.h>
#include <zstd_errors.h>

#define TAR_BLOCK 512
#define PAGE 4096UL
#define ALIGN 64
#define READ_SIZE (128UL << 10)
#define KEPT_MAX (320UL << 10) /* a frame of small files, of tools/pack.c, is smaller */
#define HELPERS_MAX 3
#define HELPER_STACK (256UL << 10)
#define ROOT_MAX 900 /* with a file's name below PostgreSQL's MAXPGPATH */

struct frame {
    size_t offset, size, raw_size;
    unsigned char sha256[SHA256_DIGEST_LENGTH];
    _Atomic bool checked;
};

static struct archive {
    const char *data;
    size_t size;
    char root[ROOT_MAX];
    size_t root_len;
    struct frame *frames;
    unsigned nframes;
    struct archive_entry *entries; /* by name */
    size_t nentries;
    _Atomic bool mounted;
} archive;

/* ---- frames -------------------------------------------------------------------------- */

static bool has_sum(const char *data, size_t size, const unsigned char *sum)
{
    unsigned char found[SHA256_DIGEST_LENGTH];
    SHA256_CTX sha;

    SHA256_Init(&sha);
    SHA256_Update(&sha, data, size);
    SHA256_Final(found, &sha);
    return memcmp(found, sum, sizeof(found)) == 0;
}

/* What was read leaves this process's memory; it is in the file. */
static void drop_pages(void)
{
    uintptr_t from = ((uintptr_t)archive.data + PAGE - 1) & ~(PAGE - 1);
    uintptr_t to = ((uintptr_t)archive.data + archive.size) & ~(PAGE - 1);

    madvise((void *)from, to - from, MADV_DONTNEED);
}

static int check_frame(struct frame *f)
{
    if (!f->checked && !has_sum(archive.data + f->offset, f->size, f->sha256))
        return -EBADMSG;
    f->checked = true;
    return 0;
}

/*
 * What decompressing needs, 0.8 MB, from mmap(): from malloc() it would stay behind in the arena of
 * whichever thread came by.
 */
struct reader {
    ZSTD_DCtx *zstd;
    char *buf; /* READ_SIZE */
};

/*
 * Kept until archive_rest(), since files are opened together, and every process opens the same ones
 * at its start.
 */
static struct {
    pthread_mutex_t lock;
    struct reader reader;
    struct frame *frame; /* NULL, or the one whose bytes are in `raw` */
    char *raw;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *map(void *opaque, size_t size)
{
    size_t *m =
        mmap(NULL, size + ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)opaque;
    if (m == MAP_FAILED)
        return NULL;
    *m = size + ALIGN;
    return (char *)m + ALIGN;
}

static void unmap(void *opaque, void *p)
{
    size_t *m;

    (void)opaque;
    if (!p)
        return;
    m = (size_t *)((char *)p - ALIGN);
    munmap(m, *m);
}

static bool reader_make(struct reader *r)
{
    r->zstd = ZSTD_createDCtx_advanced((ZSTD_customMem){map, unmap, NULL});
    r->buf = map(NULL, READ_SIZE);
    return r->zstd && r->buf;
}

static void reader_free(struct reader *r)
{
    ZSTD_freeDCtx(r->zstd);
    unmap(NULL, r->buf);
    *r = (struct reader){NULL, NULL};
}

/* NULL: no memory, and nothing to release. */
static struct reader *reader_take(void)
{
    pthread_mutex_lock(&kept.lock);
    if (kept.reader.zstd || reader_make(&kept.reader))
        return &kept.reader;
    reader_free(&kept.reader);
    pthread_mutex_unlock(&kept.lock);
    return NULL;
}

static void reader_release(void)
{
    drop_pages();
    pthread_mutex_unlock(&kept.lock);
}

void archive_rest(void)
{
    pthread_mutex_lock(&kept.lock);
    reader_free(&kept.reader);
    unmap(NULL, kept.raw);
    kept.raw = NULL;
    kept.frame = NULL;
    pthread_mutex_unlock(&kept.lock);
}

/* Why zstd did not do what it shall: `n` is what it returned. */
static int why_not(size_t n)
{
    return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
}

/* `to` has room for raw_size bytes. */
static int decompress(struct reader *r, const struct frame *f, char *to)
{
    size_t n = ZSTD_decompressDCtx(r->zstd, to, f->raw_size, archive.data + f->offset, f->size);

    return n == f->raw_size ? 0 : why_not(n);
}

static int read_frame(struct frame *f, char *to)
{
    int rc = check_frame(f);
    struct reader *r;

    if (rc < 0)
        return rc;
    r = reader_take();
    if (!r)
        return -ENOMEM;
    rc = decompress(r, f, to);
    reader_release();
    return rc;
}

/* ---- mounting --------------------------------------------------------------------------- */

static bool parse_sum(const char *hex, unsigned char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 2 * SHA256_DIGEST_LENGTH; i++) {
        const char *digit = memchr(digits, hex[i], sizeof(digits) - 1);

        if (!digit)
            return false;
        out[i / 2] = (unsigned char)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct archive_entry *)a)->name, ((const struct archive_entry *)b)->name);
}

/* The number at *at, and the space behind it. */
static bool parse_number(char **at, int base, size_t *out)
{
    char *end;

    errno = 0;
    *out = strtoul(*at, &end, base);
    if (end == *at || *end != ' ' || errno != 0)
        return false;
    *at = end + 1;
    return true;
}

static bool add_frame(char *line)
{
    char *at = line + strlen("frame ");
    struct frame f = {0};

    if (!parse_number(&at, 10, &f.offset) || !parse_number(&at, 10, &f.size) ||
        !parse_number(&at, 10, &f.raw_size) || f.offset > archive.size ||
        f.size > archive.size - f.offset || strlen(at) != sizeof(f.sha256) * 2 ||
        !parse_sum(at, f.sha256))
        return false;
    archive.frames[archive.nframes++] = f;
    return true;
}

static bool add_entry(char *line)
{
    struct archive_entry e = {.frame = archive.nframes - 1, .frames = 1};
    bool file = strncmp(line, "file ", 5) == 0;
    size_t mode;

    if (archive.nframes == 0 || (!file && strncmp(line, "dir ", 4) != 0))
        return false;
    line = strchr(line, ' ') + 1;
    if (!parse_number(&line, 8, &mode) ||
        (file && (!parse_number(&line, 10, &e.at) || !parse_number(&line, 10, &e.size))) ||
        e.at > archive.frames[e.frame].raw_size)
        return false;
    e.mode = (mode & 0777) | (file ? S_IFREG : S_IFDIR);
    e.name = line;
    archive.entries[archive.nentries++] = e;
    return true;
}

/* How many frames an entry is in, which was parsed before all of them were. */
static bool find_end(struct archive_entry *e)
{
    size_t here = archive.frames[e->frame].raw_size - e->at, left = e->size;

    while (left > here) {
        left -= here;
        if (e->frame + e->frames == archive.nframes)
            return false;
        here = archive.frames[e->frame + e->frames++].raw_size;
    }
    return true;
}

/* `text` stays: the names are in it.  0, -EBADMSG or -ENOMEM, as all here. */
static int parse_manifest(char *text)
{
    size_t lines = 0;
    char *next;

    for (char *c = text; *c; c++)
        lines += *c == '\n';
    free(archive.frames); /* of a manifest that was refused */
    free(archive.entries);
    archive.nframes = 0;
    archive.nentries = 0;
    archive.frames = calloc(lines + 1, sizeof(*archive.frames));
    archive.entries = calloc(lines + 1, sizeof(*archive.entries));
    if (!archive.frames || !archive.entries)
        return -ENOMEM;
    for (char *line = text; *line; line = next) {
        char *end = strchr(line, '\n');

        if (!end)
            return -EBADMSG;
        *end = '\0';
        next = end + 1;
        if (strncmp(line, "frame ", 6) == 0 ? !add_frame(line) : !add_entry(line))
            return -EBADMSG;
    }
    for (size_t i = 0; i < archive.nentries; i++)
        if (!find_end(&archive.entries[i]))
            return -EBADMSG;
    qsort(archive.entries, archive.nentries, sizeof(*archive.entries), by_name);
    return 0;
}

static int read_manifest(void)
{
    struct archive_trailer t;
    unsigned long long raw;
    size_t n = sizeof(t);
    char *text;
    int rc;

    if (archive.size < n)
        return -EBADMSG;
    memcpy(&t, archive.data + archive.size - n, n);
    if (t.magic != ARCHIVE_SKIPPABLE || strncmp(t.name, ARCHIVE_NAME, sizeof(t.name)) != 0 ||
        t.offset > archive.size || t.length > archive.size - t.offset ||
        !has_sum(archive.data + t.offset, t.length, t.sha256))
        return -EBADMSG;
    raw = ZSTD_getFrameContentSize(archive.data + t.offset, t.length);
    if (raw >= ZSTD_CONTENTSIZE_ERROR || raw < 3 * TAR_BLOCK)
        return -EBADMSG;
    text = malloc(raw + 1);
    if (!text)
        return -ENOMEM;
    n = ZSTD_decompress(text, raw, archive.data + t.offset, t.length);
    text[raw] = '\0';
    rc = n == raw ? parse_manifest(text + TAR_BLOCK) : why_not(n);
    if (rc < 0)
        free(text);
    return rc;
}

int archive_mount(const char *root, const void *data, size_t size, char *err, size_t errsize)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (!archive.mounted) {
        archive.data = data;
        archive.size = size;
        archive.root_len = snprintf(archive.root, sizeof(archive.root), "%s", root);
        rc = archive.root_len < sizeof(archive.root) ? read_manifest() : -EBADMSG;
        archive.mounted = rc == 0;
    }
    pthread_mutex_unlock(&lock);
    if (rc == -ENOMEM)
        snprintf(err, errsize, "no memory for the list of PostgreSQL's files");
    else if (rc < 0)
        snprintf(err, errsize, "the archive of PostgreSQL's files in %s is damaged", root);
    return rc;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* The first entry whose name is not before the first n bytes of `name`. */
static size_t lower_bound(const char *name, size_t n)
{
    size_t low = 0, high = archive.nentries;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (strncmp(archive.entries[mid].name, name, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Without empty components, "." and ".."; false: it does not fit or leads out. */
static bool normalise(const char *path, char *out, size_t size)
{
    size_t n = 0;

    for (const char *c = path; *c;) {
        size_t len = strcspn(c, "/");

        if (len == 2 && c[0] == '.' && c[1] == '.') {
            if (n == 0)
                return false;
            while (n > 0 && out[--n] != '/')
                ;
        } else if (len > 0 && !(len == 1 && c[0] == '.')) {
            if (n + len + 2 > size)
                return false;
            if (n > 0)
                out[n++] = '/';
            memcpy(out + n, c, len);
            n += len;
        }
        c += len + strspn(c + len, "/");
    }
    out[n] = '\0';
    return true;
}

const struct archive_entry *archive_find(const char *path, bool *inside)
{
    char name[PATH_MAX];
    size_t at;

    *inside = archive.mounted && strncmp(path, archive.root, archive.root_len) == 0 &&
              path[archive.root_len] == '/' &&
              normalise(path + archive.root_len, name, sizeof(name));
    if (!*inside)
        return NULL;
    at = lower_bound(name, sizeof(name));
    return at < archive.nentries && strcmp(archive.entries[at].name, name) == 0
               ? &archive.entries[at]
               : NULL;
}

/* All that is below a directory stands together; NULL: `e` does not belong to it. */
static const char *name_below(const struct archive_entry *dir, const struct archive_entry *e)
{
    size_t n = strlen(dir->name);

    return e < archive.entries + archive.nentries && strncmp(e->name, dir->name, n) == 0 &&
                   e->name[n] == '/'
               ? e->name + n + 1
               : NULL;
}

static const struct archive_entry *first_below(const struct archive_entry *dir)
{
    char prefix[PATH_MAX];
    size_t n = snprintf(prefix, sizeof(prefix), "%s/", dir->name);

    return &archive.entries[lower_bound(prefix, n)];
}

const struct archive_entry *archive_next(const struct archive_entry *dir,
                                         const struct archive_entry *after)
{
    const struct archive_entry *e = after ? after + 1 : first_below(dir);
    const char *name;

    while ((name = name_below(dir, e)) && strchr(name, '/'))
        e++;
    return name ? e : NULL;
}

void archive_path(const struct archive_entry *e, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", archive.root, e->name);
}

void archive_stat(const struct archive_entry *e, struct stat *st)
{
    *st = (struct stat){.st_dev = makedev(0, 0),
                        .st_ino = e - archive.entries + 1,
                        .st_mode = e->mode,
                        .st_nlink = 1,
                        .st_uid = geteuid(),
                        .st_gid = getegid(),
                        .st_size = e->size,
                        .st_blksize = PAGE,
                        .st_blocks = (e->size + 511) / 512};
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A file on its way into a descriptor, or only checked (-1): each thread takes the next part. */
struct job {
    const struct archive_entry *e;
    int fd;
    _Atomic unsigned next;
    _Atomic int rc;
};

static int write_at(int fd, const char *from, size_t size, off_t at)
{
    ssize_t n = pwrite(fd, from, size, at);

    return n == (ssize_t)size ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* Streamed, because new pages of a file are cheaper to write() than to touch. */
static int write_part(struct job *j, unsigned part, struct reader *r)
{
    struct frame *f = &archive.frames[j->e->frame + part];
    ZSTD_inBuffer in = {archive.data + f->offset, f->size, 0};
    size_t before = 0, at = 0, begin = part == 0 ? j->e->at : 0, end = f->raw_size;
    int rc = check_frame(f);

    if (j->fd < 0)
        return rc;
    for (unsigned i = 0; i < part; i++)
        before += archive.frames[j->e->frame + i].raw_size - (i == 0 ? j->e->at : 0);
    if (end - begin > j->e->size - before)
        end = begin + j->e->size - before;
    ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
    while (rc == 0 && at < end) {
        ZSTD_outBuffer out = {r->buf, READ_SIZE, 0};
        size_t left = ZSTD_decompressStream(r->zstd, &out, &in);
        size_t first = begin > at ? begin - at : 0, last = out.pos < end - at ? out.pos : end - at;

        if (ZSTD_isError(left) || (left == 0 && at + out.pos < end) ||
            (out.pos == 0 && in.pos == in.size))
            rc = why_not(left);
        else if (first < last)
            rc = write_at(j->fd, r->buf + first, last - first, before + at + first - begin);
        at += out.pos;
    }
    return rc;
}

static void write_parts(struct job *j, struct reader *r)
{
    unsigned part;

    while (j->rc == 0 && (part = j->next++) < j->e->frames) {
        int rc = write_part(j, part, r);

        if (rc < 0)
            j->rc = rc;
    }
}

static void *help(void *arg)
{
    struct reader r;

    if (reader_make(&r))
        write_parts(arg, &r);
    reader_free(&r);
    return NULL;
}

static unsigned processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

static int read_file(const struct archive_entry *e, int fd)
{
    struct job j = {.e = e, .fd = fd};
    pthread_t helpers[HELPERS_MAX];
    unsigned n = 0, most = e->frames > 1 ? processors() : 1;
    struct reader *r;
    pthread_attr_t attr;
    sigset_t all;

    if (most > e->frames)
        most = e->frames;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, HELPER_STACK);
    pthread_attr_setsigmask_np(&attr, &all);
    while (n + 1 < most && n < HELPERS_MAX && pthread_create(&helpers[n], &attr, help, &j) == 0)
        n++;
    pthread_attr_destroy(&attr);
    r = reader_take();
    if (r)
        write_parts(&j, r);
    else
        j.rc = -ENOMEM;
    while (n > 0)
        pthread_join(helpers[--n], NULL);
    if (r)
        reader_release();
    return j.rc;
}

/* From a frame of small files, which is decompressed once for all that are opened together. */
static int copy_kept(const struct archive_entry *e, int fd)
{
    struct frame *f = &archive.frames[e->frame];
    int rc = check_frame(f);
    struct reader *r;

    if (rc < 0)
        return rc;
    r = reader_take();
    if (!r)
        return -ENOMEM;
    if (kept.frame != f) {
        unmap(NULL, kept.raw);
        kept.raw = map(NULL, f->raw_size);
        rc = kept.raw ? decompress(r, f, kept.raw) : -ENOMEM;
        kept.frame = rc == 0 ? f : NULL;
    }
    if (rc == 0)
        rc = write_at(fd, kept.raw + e->at, e->size, 0);
    reader_release();
    return rc;
}

int archive_open(const struct archive_entry *e)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    const char *base = strrchr(e->name, '/');
    int fd, rc;

    if (!S_ISREG(e->mode))
        return -EISDIR;
    fd = memfd_create(base ? base + 1 : e->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (e->frames == 1 && archive.frames[e->frame].raw_size <= KEPT_MAX)
        rc = copy_kept(e, fd);
    else
        rc = read_file(e, fd);
    if (rc == 0 && fcntl(fd, F_ADD_SEALS, seals) < 0)
        rc = -errno;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

int archive_check(const struct archive_entry *e)
{
    unsigned i = 0;

    while (i < e->frames && archive.frames[e->frame + i].checked)
        i++;
    return i < e->frames ? read_file(e, -1) : 0; /* by several threads once, not at every open */
}

/* The raw bytes of `n` frames together, to be freed; NULL and *rc. */
static char *read_frames(unsigned first, unsigned n, int *rc)
{
    size_t size = 0, at = 0;
    char *raw;

    for (unsigned i = first; i < first + n; i++)
        size += archive.frames[i].raw_size;
    raw = malloc(size);
    *rc = raw ? 0 : -ENOMEM;
    for (unsigned i = first; *rc == 0 && i < first + n; at += archive.frames[i++].raw_size)
        *rc = read_frame(&archive.frames[i], raw + at);
    return raw;
}

int archive_walk(const struct archive_entry *dir,
                 int (*each)(void *ctx, const char *name, mode_t mode, const void *data,
                             size_t size),
                 void *ctx)
{
    const struct archive_entry *first = first_below(dir), *e;
    const char *name;
    int rc = 0;

    for (e = first; rc == 0 && (name = name_below(dir, e)); e++)
        if (S_ISDIR(e->mode))
            rc = each(ctx, name, e->mode, NULL, 0);
    /* frame by frame: files with the same bytes have one place */
    for (unsigned i = 0; rc == 0 && i < archive.nframes; i++) {
        unsigned n = 1;
        char *raw = NULL;

        for (e = first; rc == 0 && (name = name_below(dir, e)); e++) {
            if (e->frame != i || S_ISDIR(e->mode))
                continue;
            if (!raw) {
                for (const struct archive_entry *o = first; name_below(dir, o); o++)
                    if (o->frame == i && o->frames > n)
                        n = o->frames;
                raw = read_frames(i, n, &rc);
            }
            if (rc == 0)
                rc = each(ctx, name, e->mode, raw + e->at, e->size);
        }
        free(raw);
    }
    return rc;
}
