/*
 * loader.h - from an ELF file to an instance in memory
 *
 * An *image* is one position-independent executable or shared module, opened
 * and checked once.  An *instance* is one mapping of it: the text pages are the
 * page cache's, the data pages its own, so every global variable is private to
 * the instance.
 *
 * The rule that matters: the loader knows nothing of the kernel.  Who answers
 * for an imported symbol is the caller's resolver.
 *
 * Functions return 0 or -errno and put a sentence that names the file into
 * `err` where there is one.  Images and instances may be used by any thread;
 * one instance by one thread at a time until it is relocated.
 *
 * Not done: lazy binding (everything is bound at relocation), symbol versions,
 * the initial-exec and local-exec TLS models (refused by name).
 */
#ifndef CALF_LOADER_H
#define CALF_LOADER_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_PHDR 16

struct image {
    char *path;
    int fd; /* O_CLOEXEC, open as long as the image */
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[IMAGE_MAX_PHDR];
    size_t slot_offset; /* low bits of every instance's base; differ between images */
    _Atomic unsigned next_slot;
    size_t span;      /* bytes of address space of one instance, whole pages */
    size_t data_off;  /* first writable page; [data_off, span) is private to an instance */
    bool data_holes;  /* between its segments there are pages that belong to none */
    size_t relro_end; /* [data_off, relro_end) is constant after relocation */
    uintptr_t text_lo, text_hi; /* executable part, relative to the base */
    void **bound;               /* by symbol index: answers that are the same for every instance */
    uint32_t nbound;
    const char *data_file; /* the file's bytes from relro_end on, for instance_reset() */
    size_t data_file_size;
};

struct instance {
    struct image *image;
    char *base;
    const Elf64_Dyn *dynamic;
    const Elf64_Sym *sym;
    const char *str;
    size_t strsz;
    size_t nsym; /* at most: how many fit there */
    const uint32_t *gnu_hash, *sysv_hash;
    size_t hash_words; /* of gnu_hash, at most */
    const Elf64_Rela *rela, *jmprel;
    const uint64_t *relr;
    size_t nrela, njmprel, nrelr;
    void (*init)(void);
    void (**init_array)(int, char **, char **);
    size_t ninit;
    void (*fini)(void);
    void (**fini_array)(void);
    size_t nfini;
    const char *tls_init; /* PT_TLS: initial content, sizes in bytes */
    size_t tls_filesz, tls_size, tls_align;
    size_t tls_id;  /* the resolver's number for this module's TLS, 0: none */
    void *eh_frame; /* call frame information for the unwinder, or NULL */
    const char *soname;
    const char *needed[32];
    int nneeded;
};

struct symbol_answer {
    bool function; /* in: the importer only wants to call it, and needs it */
    void *addr;
    size_t size;      /* of an object, for COPY; in: as the importer says, 0: still so */
    bool per_process; /* false: may be reused for every instance of the image */
    size_t tls_id;    /* for DTPMOD64 against another module */
};

/*
 * `copy` is where a COPY relocation will put the object, else NULL: from then on that
 * place is the object.  Returns 1 found, 0 not found (an error unless the symbol is weak).
 */
typedef int (*resolver)(void *ctx, struct instance *in, const char *name, void *copy,
                        struct symbol_answer *out);

/* `fd` is the image's then, also on failure; `path` is what messages call it. */
int image_open(int fd, const char *path, struct image **out, char *err, size_t errsize);
void image_close(struct image *im);

int instance_map(struct image *im, struct instance **out, char *err, size_t errsize);
int instance_relocate(struct instance *in, resolver resolve, void *ctx, char *err, size_t errsize);
/*
 * Make the data of a used instance what instance_relocate() left: as if mapped anew, but
 * without the page faults.  What is constant after relocation is write-protected and stays,
 * so the resolver's per-process answers must still hold.
 */
int instance_reset(struct instance *in, resolver resolve, void *ctx, char *err, size_t errsize);
/* Change data of a relocated instance, which may be write-protected.  0 or -errno. */
int instance_write(struct instance *in, void *to, const void *from, size_t size);
void *instance_symbol(struct instance *in, const char *name, size_t *size, bool *is_tls);
/* The part of the instance that a running program changes. */
char *instance_data(struct instance *in, size_t *size);
void instance_unmap(struct instance *in); /* NULL allowed */
bool instance_contains_text(const struct instance *in, uintptr_t pc);
/* May its text be executed?  As mapped it may.  0 or -errno; safe in a signal handler. */
int instance_set_executable(struct instance *in, bool yes);

#endif
