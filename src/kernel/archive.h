/*
 * archive.h - the read-only files that calf carries, and where processes see them
 *
 * The archive is a .tar.zst: `tar --zstd -tf` lists it.  To read one file without all before it, it
 * consists of several zstd frames, each of whole members or of parts of a big one.  The last
 * member is MANIFEST; behind it, in a frame that zstd skips, struct archive_trailer says where
 * the manifest is.  Its lines:
 *
 *     frame OFFSET SIZE RAW-SIZE SHA256      of the compressed frame
 *     file MODE AT SIZE NAME                 from byte AT of the raw bytes of the frame above, and
 *                                            where these end from the beginning of the next one
 *     dir MODE NAME
 *
 * A hard link in the tar is a file line with the place of what it is linked to.  tools/pack.c
 * writes archives.
 *
 * One archive per host process, mounted once and for all kernels.  Every function may be called by
 * any thread; entries live for ever.
 */
#ifndef CALF_ARCHIVE_H
#define CALF_ARCHIVE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define ARCHIVE_SKIPPABLE 0x184d2a50 /* ZSTD_MAGIC_SKIPPABLE_START */
#define ARCHIVE_NAME "calf-1"

struct archive_trailer {
    uint32_t magic, size; /* ARCHIVE_SKIPPABLE, bytes that follow */
    char name[8];
    uint64_t offset, length; /* the manifest's frame */
    unsigned char sha256[32];
};

struct archive_entry {
    const char *name; /* relative to where it is mounted */
    mode_t mode;
    size_t size;
    size_t at;       /* in the raw bytes of the first frame */
    unsigned frame;  /* the first one */
    unsigned frames; /* how many it is in */
};

/*
 * `data` must stay.  The files appear below `root`, an absolute path that nothing else can be
 * below: that of the file which holds the archive.  0, or -EBADMSG and a sentence.
 */
int archive_mount(const char *root, const void *data, size_t size, char *err, size_t errsize);
/* What is mounted at `path`, or NULL.  *inside: it is below the root. */
const struct archive_entry *archive_find(const char *path, bool *inside);
/* The entry that follows `after` (NULL: the first) in the directory `dir`, or NULL. */
const struct archive_entry *archive_next(const struct archive_entry *dir,
                                         const struct archive_entry *after);
void archive_path(const struct archive_entry *e, char out[PATH_MAX]); /* absolute */
void archive_stat(const struct archive_entry *e, struct stat *st);
/*
 * A descriptor of its own with the file's bytes, sealed; or -EBADMSG (damaged), -errno.  Of a big
 * file other processors read parts at the same time, by threads that are gone on return.
 */
int archive_open(const struct archive_entry *e);
/*
 * Give `each` all that is below the directory: directories before what they hold, data only until
 * it returns; not 0 ends the walk and is returned.  -EBADMSG: damaged.
 */
int archive_walk(const struct archive_entry *dir,
                 int (*each)(void *ctx, const char *name, mode_t mode, const void *data,
                             size_t size),
                 void *ctx);
void archive_rest(void); /* nothing was opened for a while: give memory back */
/* Are the file's bytes as they were packed?  0 or -EBADMSG. */
int archive_check(const struct archive_entry *e);

#endif
