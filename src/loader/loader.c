/*
 * loader.c - mapping, relocating and searching ELF images; see loader.h
 *
 * Every table of an image is checked to lie inside its mapping before it is
 * followed, so that a damaged file is an error and not a crash.  What the code
 * of a damaged image does, nobody can check.
 */
#include "loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#include "arch_x86_64.h"
#else
#error "calf's loader knows no relocations of this architecture yet: add src/loader/arch_*.h"
#endif

#define PAGE 4096UL
#ifdef __SANITIZE_THREAD__
#define SLOT_TRIES 0 /* its shadow memory knows no such addresses */
#else
#define SLOT_TRIES 8
#endif
#define SLOT_GRAIN (1UL << 20)
#define TLS_MAX (64UL << 20)
#define PAGE_DOWN(x) ((x) & ~(PAGE - 1))
#define PAGE_UP(x) (((x) + PAGE - 1) & ~(PAGE - 1))

static int fail(char *err, size_t size, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(char *err, size_t size, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (err)
        vsnprintf(err, size, fmt, ap);
    va_end(ap);
    return -code;
}

/* Segments: inside the file, in order, one span. */
static int check_segments(struct image *im, uint64_t file_size, char *err, size_t size)
{
    bool have_load = false, have_dynamic = false;

    for (int i = 0; i < im->ehdr.e_phnum; i++) {
        const Elf64_Phdr *ph = &im->phdr[i];

        if (ph->p_type == PT_DYNAMIC)
            have_dynamic = true;
        if (ph->p_type == PT_GNU_RELRO && ph->p_vaddr < (1UL << 32) && ph->p_memsz < (1UL << 32))
            im->relro_end = PAGE_DOWN(ph->p_vaddr + ph->p_memsz);
        if (ph->p_type != PT_LOAD)
            continue;
        if (ph->p_filesz > ph->p_memsz || ph->p_offset > file_size ||
            ph->p_filesz > file_size - ph->p_offset || ph->p_memsz > (1UL << 32) ||
            ph->p_vaddr > (1UL << 32) ||
            (ph->p_vaddr & (PAGE - 1)) != (ph->p_offset & (PAGE - 1)) ||
            PAGE_DOWN(ph->p_vaddr) < im->span)
            return fail(err, size, ENOEXEC, "image %s is damaged: segment %d is outside the file",
                        im->path, i);
        if (ph->p_flags & PF_W) {
            if (!im->data_off)
                im->data_off = PAGE_DOWN(ph->p_vaddr);
            else if (PAGE_DOWN(ph->p_vaddr) > im->span)
                im->data_holes = true;
        } else if (im->data_off) {
            return fail(err, size, ENOEXEC, "image %s has read-only segments after its data",
                        im->path);
        }
        if (ph->p_flags & PF_X) {
            if (!im->text_hi)
                im->text_lo = ph->p_vaddr;
            im->text_hi = ph->p_vaddr + ph->p_memsz;
        }
        im->span = PAGE_UP(ph->p_vaddr + ph->p_memsz);
        have_load = true;
    }
    if (!have_load || !have_dynamic)
        return fail(err, size, ENOEXEC, "image %s is damaged: no %s segment", im->path,
                    have_load ? "dynamic" : "loadable");
    if (!im->data_off)
        im->data_off = im->span;
    if (im->relro_end < im->data_off || im->relro_end > im->span)
        im->relro_end = im->data_off;
    return 0;
}

int image_open(int fd, const char *path, struct image **out, char *err, size_t errsize)
{
    static _Atomic size_t offset;
    struct image *im = calloc(1, sizeof(*im));
    struct stat st;
    int rc = 0;

    *out = NULL;
    if (!im || !(im->path = strdup(path))) {
        free(im);
        close(fd);
        return fail(err, errsize, ENOMEM, "no memory for image %s", path);
    }
    im->fd = fd;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        pread(im->fd, &im->ehdr, sizeof(im->ehdr), 0) != (ssize_t)sizeof(im->ehdr) ||
        memcmp(im->ehdr.e_ident, ELFMAG, SELFMAG) != 0) {
        rc = fail(err, errsize, ENOEXEC, "image %s is damaged: not an ELF file", path);
        goto out;
    }
    if (im->ehdr.e_ident[EI_CLASS] != ELFCLASS64 || im->ehdr.e_machine != ARCH_MACHINE) {
        rc = fail(err, errsize, ENOEXEC, "image %s is not for %s", path, ARCH_NAME);
        goto out;
    }
    if (im->ehdr.e_type != ET_DYN) {
        rc = fail(err, errsize, ENOEXEC, "image %s is not position-independent", path);
        goto out;
    }
    if (im->ehdr.e_phnum > IMAGE_MAX_PHDR || im->ehdr.e_phentsize != sizeof(Elf64_Phdr) ||
        pread(im->fd, im->phdr, im->ehdr.e_phnum * sizeof(Elf64_Phdr), im->ehdr.e_phoff) !=
            (ssize_t)(im->ehdr.e_phnum * sizeof(Elf64_Phdr))) {
        rc = fail(err, errsize, ENOEXEC, "image %s is damaged: program headers", path);
        goto out;
    }
    rc = check_segments(im, st.st_size, err, errsize);
    im->slot_offset = atomic_fetch_add(&offset, (im->span + SLOT_GRAIN - 1) & ~(SLOT_GRAIN - 1)) %
                          (ARCH_SLOT_SIZE - (im->span & (ARCH_SLOT_SIZE - 1))) &
                      ~(SLOT_GRAIN - 1);
out:
    if (rc < 0)
        image_close(im);
    else
        *out = im;
    return rc;
}

void image_close(struct image *im)
{
    if (!im)
        return;
    close(im->fd);
    if (im->data_file)
        munmap((void *)PAGE_DOWN((uintptr_t)im->data_file), im->data_file_size);
    free(im->bound);
    free(im->path);
    free(im);
}

/* How many bytes from `addr`, one of the image's own addresses, can be read. */
static size_t readable(const struct image *im, Elf64_Addr addr)
{
    for (int i = 0; i < im->ehdr.e_phnum; i++) {
        const Elf64_Phdr *ph = &im->phdr[i];

        if (ph->p_type == PT_LOAD && ph->p_flags & PF_R && addr >= ph->p_vaddr &&
            addr - ph->p_vaddr < ph->p_memsz)
            return ph->p_memsz - (addr - ph->p_vaddr);
    }
    return 0;
}

/* [addr, addr + size) as a pointer, or NULL. */
static void *at(struct instance *in, Elf64_Addr addr, size_t size)
{
    return size <= readable(in->image, addr) ? in->base + addr : NULL;
}

/* The same for a table of what is aligned like pointers; an absent one is empty. */
static void *table(struct instance *in, Elf64_Addr addr, size_t size)
{
    return size == 0 ? in->base : addr % sizeof(uint64_t) == 0 ? at(in, addr, size) : NULL;
}

/* May a word at `addr` be written by a relocation? */
static bool is_data(const struct image *im, Elf64_Addr addr)
{
    return addr >= im->data_off && addr < im->span && im->span - addr >= sizeof(uint64_t);
}

static bool is_text(const struct image *im, Elf64_Addr addr)
{
    return addr >= im->text_lo && addr < im->text_hi;
}

/* The tables by which instance_symbol() finds names.  False: they lead out of what can be read. */
static bool parse_hashes(struct instance *in, Elf64_Addr gnu, Elf64_Addr sysv)
{
    const struct image *im = in->image;
    const uint32_t *h;

    if (gnu) {
        h = in->gnu_hash = table(in, gnu, 4 * sizeof(*h));
        in->hash_words = readable(im, gnu) / sizeof(*h);
        /* words: a header, bloom words of 64 bits, buckets, chains */
        if (!h || h[3] > 31 || 4 + 2 * (uint64_t)h[2] + h[0] > in->hash_words)
            return false;
    } else if (sysv) {
        h = in->sysv_hash = table(in, sysv, 2 * sizeof(*h));
        if (!h || 2 + (uint64_t)h[0] + h[1] > readable(im, sysv) / sizeof(*h) || h[1] > in->nsym)
            return false;
    }
    return true;
}

static int parse_dynamic(struct instance *in, char *err, size_t errsize)
{
    const Elf64_Dyn *d = in->dynamic;
    size_t max = 0, pltrelsz = 0, relasz = 0, relrsz = 0, n = 0;
    Elf64_Addr sym = 0, str = 0, rela = 0, jmprel = 0, relr = 0, gnu = 0, sysv = 0;
    Elf64_Addr init = 0, fini = 0, init_array = 0, fini_array = 0;
    Elf64_Xword soname = 0, needed[32] = {0};

    for (int i = 0; i < in->image->ehdr.e_phnum; i++)
        if (in->image->phdr[i].p_type == PT_DYNAMIC)
            max = in->image->phdr[i].p_memsz / sizeof(*d);
    for (; n < max && d->d_tag != DT_NULL; n++, d++) {
        switch (d->d_tag) {
        case DT_SYMTAB: sym = d->d_un.d_ptr; break;
        case DT_STRTAB: str = d->d_un.d_ptr; break;
        case DT_STRSZ: in->strsz = d->d_un.d_val; break;
        case DT_GNU_HASH: gnu = d->d_un.d_ptr; break;
        case DT_HASH: sysv = d->d_un.d_ptr; break;
        case DT_RELA: rela = d->d_un.d_ptr; break;
        case DT_RELASZ: relasz = d->d_un.d_val; break;
        case DT_JMPREL: jmprel = d->d_un.d_ptr; break;
        case DT_PLTRELSZ: pltrelsz = d->d_un.d_val; break;
        case DT_RELR: relr = d->d_un.d_ptr; break;
        case DT_RELRSZ: relrsz = d->d_un.d_val; break;
        case DT_INIT: init = d->d_un.d_ptr; break;
        case DT_FINI: fini = d->d_un.d_ptr; break;
        case DT_INIT_ARRAY: init_array = d->d_un.d_ptr; break;
        case DT_INIT_ARRAYSZ: in->ninit = d->d_un.d_val / sizeof(void *); break;
        case DT_FINI_ARRAY: fini_array = d->d_un.d_ptr; break;
        case DT_FINI_ARRAYSZ: in->nfini = d->d_un.d_val / sizeof(void *); break;
        case DT_SONAME: soname = d->d_un.d_val; break;
        case DT_NEEDED:
            if (in->nneeded == 32)
                return fail(err, errsize, ENOEXEC, "image %s needs more than 32 libraries",
                            in->image->path);
            needed[in->nneeded++] = d->d_un.d_val;
            break;
        case DT_REL:
        case DT_TEXTREL:
            return fail(err, errsize, ENOEXEC, "image %s uses %s, which calf does not load",
                        in->image->path, d->d_tag == DT_REL ? "DT_REL" : "text relocations");
        default: break;
        }
    }
    in->nrela = relasz / sizeof(Elf64_Rela);
    in->njmprel = pltrelsz / sizeof(Elf64_Rela);
    in->nrelr = relrsz / sizeof(uint64_t);
    in->str = at(in, str, in->strsz);
    in->sym = table(in, sym, sizeof(Elf64_Sym));
    in->nsym = readable(in->image, sym) / sizeof(Elf64_Sym);
    in->rela = table(in, rela, relasz);
    in->jmprel = table(in, jmprel, pltrelsz);
    in->relr = table(in, relr, relrsz);
    in->init_array = table(in, init_array, in->ninit * sizeof(void *));
    in->fini_array = table(in, fini_array, in->nfini * sizeof(void *));
    if (n == max || !sym || !in->sym || !str || !in->str || !in->strsz ||
        in->str[in->strsz - 1] != '\0' || !in->rela || !in->jmprel || !in->relr ||
        !in->init_array || !in->fini_array || (init && !is_text(in->image, init)) ||
        (fini && !is_text(in->image, fini)) || !parse_hashes(in, gnu, sysv))
        return fail(err, errsize, ENOEXEC, "image %s is damaged: dynamic section", in->image->path);
    in->init = init ? (void (*)(void))(in->base + init) : NULL;
    in->fini = fini ? (void (*)(void))(in->base + fini) : NULL;
    for (int i = 0; i < in->nneeded; i++) {
        if (needed[i] >= in->strsz)
            return fail(err, errsize, ENOEXEC, "image %s is damaged: library names",
                        in->image->path);
        in->needed[i] = in->str + needed[i];
    }
    in->soname = soname && soname < in->strsz ? in->str + soname : NULL;
    return 0;
}

#define ABSENT ((void *)-1) /* in image.bound: weak, and nobody has it */

/* What all instances of an image share and only the first can measure. */
static int prepare_shared(struct instance *in, char *err, size_t errsize)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the fields set here */
    struct image *im = in->image;
    int rc = 0;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < im->ehdr.e_phnum && !im->data_file; i++) {
        const Elf64_Phdr *ph = &im->phdr[i];
        size_t skip, from;
        char *map;

        if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_W) || im->relro_end < ph->p_vaddr ||
            im->relro_end >= ph->p_vaddr + ph->p_filesz)
            continue;
        skip = im->relro_end - ph->p_vaddr;
        from = PAGE_DOWN(ph->p_offset + skip);
        im->data_file_size = ph->p_offset + ph->p_filesz - from;
        map = mmap(NULL, im->data_file_size, PROT_READ, MAP_PRIVATE, im->fd, from);
        if (map == MAP_FAILED)
            rc = fail(err, errsize, errno, "map image %s: %s", im->path, strerror(errno));
        else
            im->data_file = map + (ph->p_offset + skip - from);
    }
    if (rc == 0 && !im->bound) {
        /* the string table follows the symbol table in what every linker makes */
        size_t n = in->str > (const char *)in->sym
                       ? (in->str - (const char *)in->sym) / sizeof(Elf64_Sym)
                       : 0;

        im->bound = calloc(n ? n : 1, sizeof(void *));
        im->nbound = im->bound ? n : 0;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/*
 * Address space for an instance.  Processors predict branches by a hash of some bits of an address:
 * where the same code of two instances has the same hash, one trains the predictor for the other,
 * as it is between processes that were forked.  Worth a fifth of the user time when sessions take
 * turns on a core.  arch_slot() knows addresses that differ so; different images differ in the low
 * bits (slot_offset).
 */
static char *reserve(struct image *im)
{
    const size_t span = im->span;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *mem;

    for (int tries = 0; tries < SLOT_TRIES; tries++) {
        uintptr_t at = arch_slot(im->next_slot++) + im->slot_offset;

        mem = mmap((void *)at, span, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (mem == (char *)at)
            return mem;
        if (mem != MAP_FAILED) /* a system that takes the address as a hint only */
            munmap(mem, span);
    }
    mem = mmap(NULL, span, PROT_NONE, flags, -1, 0);
    return mem == MAP_FAILED ? NULL : mem;
}

static bool tls_is_possible(const struct instance *in)
{
    return in->tls_init && in->tls_filesz <= in->tls_size && in->tls_size <= TLS_MAX &&
           in->tls_align <= PAGE && (in->tls_align & (in->tls_align - 1)) == 0;
}

int instance_map(struct image *im, struct instance **out, char *err, size_t errsize)
{
    struct instance *in = calloc(1, sizeof(*in));
    char *eh_frame_hdr = NULL;
    int rc = 0;

    *out = NULL;
    if (!in)
        return fail(err, errsize, ENOMEM, "no memory for image %s", im->path);
    in->image = im;
    in->base = reserve(im);
    if (!in->base) {
        rc = fail(err, errsize, ENOMEM, "no address space for image %s", im->path);
        goto out;
    }
    if (im->data_holes &&
        mprotect(in->base + im->data_off, im->span - im->data_off, PROT_READ | PROT_WRITE) < 0) {
        rc = fail(err, errsize, errno, "map image %s: %s", im->path, strerror(errno));
        goto out;
    }
    for (int i = 0; i < im->ehdr.e_phnum; i++) {
        const Elf64_Phdr *ph = &im->phdr[i];
        char *from, *file_end, *map_end, *end;
        int prot;

        if (ph->p_type == PT_DYNAMIC)
            in->dynamic = table(in, ph->p_vaddr, ph->p_memsz);
        if (ph->p_type == PT_GNU_EH_FRAME)
            eh_frame_hdr = at(in, ph->p_vaddr, 8);
        if (ph->p_type == PT_TLS) {
            in->tls_init = at(in, ph->p_vaddr, ph->p_filesz);
            in->tls_filesz = ph->p_filesz;
            in->tls_size = ph->p_memsz;
            in->tls_align = ph->p_align ? ph->p_align : 1;
        }
        if (ph->p_type != PT_LOAD)
            continue;
        prot = (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
               (ph->p_flags & PF_X ? PROT_EXEC : 0);
        from = in->base + PAGE_DOWN(ph->p_vaddr);
        file_end = in->base + ph->p_vaddr + ph->p_filesz;
        map_end = ph->p_filesz ? in->base + PAGE_UP(ph->p_vaddr + ph->p_filesz) : from;
        end = in->base + PAGE_UP(ph->p_vaddr + ph->p_memsz);
        if (map_end > from && mmap(from, map_end - from, prot, MAP_PRIVATE | MAP_FIXED, im->fd,
                                   PAGE_DOWN(ph->p_offset)) == MAP_FAILED) {
            rc = fail(err, errsize, errno, "map image %s: %s", im->path, strerror(errno));
            goto out;
        }
        if (ph->p_flags & PF_W && map_end > file_end)
            memset(file_end, 0, map_end - file_end);
        if (end > map_end && mmap(map_end, end - map_end, prot,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
            rc = fail(err, errsize, errno, "map image %s: %s", im->path, strerror(errno));
            goto out;
        }
    }
    /* version 1, then how the address of .eh_frame is given: here 4 bytes from its own place */
    if (eh_frame_hdr && eh_frame_hdr[0] == 1 && eh_frame_hdr[1] == 0x1b)
        in->eh_frame = at(in, eh_frame_hdr - in->base + 4 + *(int32_t *)(eh_frame_hdr + 4), 4);
    if (!in->dynamic || (in->tls_size && !tls_is_possible(in))) {
        rc = fail(err, errsize, ENOEXEC, "image %s is damaged: dynamic or TLS segment", im->path);
        goto out;
    }
    rc = parse_dynamic(in, err, errsize);
    if (rc == 0)
        rc = prepare_shared(in, err, errsize);
out:
    if (rc < 0)
        instance_unmap(in);
    else
        *out = in;
    return rc;
}

void instance_unmap(struct instance *in)
{
    if (!in)
        return;
    if (in->base)
        munmap(in->base, in->image->span);
    free(in);
}

char *instance_data(struct instance *in, size_t *size)
{
    *size = in->image->span - in->image->relro_end;
    return in->base + in->image->relro_end;
}

bool instance_contains_text(const struct instance *in, uintptr_t pc)
{
    uintptr_t base = (uintptr_t)in->base;

    return pc >= base + in->image->text_lo && pc < base + in->image->text_hi;
}

int instance_set_executable(struct instance *in, bool yes)
{
    for (int i = 0; i < in->image->ehdr.e_phnum; i++) {
        const Elf64_Phdr *ph = &in->image->phdr[i];
        uint64_t from = PAGE_DOWN(ph->p_vaddr), end = PAGE_UP(ph->p_vaddr + ph->p_memsz);

        if (ph->p_type == PT_LOAD && ph->p_flags & PF_X &&
            mprotect(in->base + from, end - from, PROT_READ | (yes ? PROT_EXEC : 0)) < 0)
            return -errno;
    }
    return 0;
}

/* ---- symbols ------------------------------------------------------------- */

static const Elf64_Sym *lookup_gnu(struct instance *in, const char *name)
{
    const uint32_t *h = in->gnu_hash;
    uint32_t nbuckets = h[0], symoffset = h[1], bloom_size = h[2], shift = h[3], hash = 5381, i;
    const uint64_t *bloom = (const uint64_t *)(h + 4);
    const uint32_t *buckets = (const uint32_t *)(bloom + bloom_size);
    const uint32_t *chain = buckets + nbuckets;
    uint64_t word;

    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        hash = hash * 33 + *c;
    if (!nbuckets || !bloom_size)
        return NULL;
    word = bloom[(hash / 64) % bloom_size];
    if (!((word >> (hash % 64)) & (word >> ((hash >> shift) % 64)) & 1))
        return NULL;
    i = buckets[hash % nbuckets];
    if (i < symoffset)
        return NULL;
    for (; i < in->nsym && &chain[i - symoffset] < h + in->hash_words; i++) {
        uint32_t ch = chain[i - symoffset];

        if ((ch | 1) == (hash | 1) && in->sym[i].st_name < in->strsz &&
            strcmp(in->str + in->sym[i].st_name, name) == 0)
            return &in->sym[i];
        if (ch & 1)
            break;
    }
    return NULL;
}

static const Elf64_Sym *lookup_sysv(struct instance *in, const char *name)
{
    const uint32_t *h = in->sysv_hash;
    uint32_t hash = 0, g;

    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        hash = (hash << 4) + *c;
        if ((g = hash & 0xf0000000))
            hash ^= g >> 24;
        hash &= ~g;
    }
    if (!h[0])
        return NULL;
    for (uint32_t i = h[2 + hash % h[0]], n = 0; i && i < h[1] && n < h[1];
         i = h[2 + h[0] + i], n++)
        if (in->sym[i].st_name < in->strsz && strcmp(in->str + in->sym[i].st_name, name) == 0)
            return &in->sym[i];
    return NULL;
}

void *instance_symbol(struct instance *in, const char *name, size_t *size, bool *is_tls)
{
    const Elf64_Sym *s = in->gnu_hash    ? lookup_gnu(in, name)
                         : in->sysv_hash ? lookup_sysv(in, name)
                                         : NULL;

    if (!s || s->st_shndx == SHN_UNDEF)
        return NULL;
    if (size)
        *size = s->st_size;
    if (is_tls)
        *is_tls = ELF64_ST_TYPE(s->st_info) == STT_TLS;
    if (ELF64_ST_TYPE(s->st_info) == STT_TLS)
        return (void *)s->st_value;
    if (s->st_value > in->image->span ||
        (ELF64_ST_TYPE(s->st_info) == STT_GNU_IFUNC && !is_text(in->image, s->st_value)))
        return NULL;
    if (ELF64_ST_TYPE(s->st_info) == STT_GNU_IFUNC)
        return ((void *(*)(void))(in->base + s->st_value))();
    return in->base + s->st_value;
}

/* ---- relocation ---------------------------------------------------------- */

typedef uint64_t word __attribute__((aligned(1))); /* what is relocated may be packed */

struct reloc_run {
    struct instance *in;
    resolver resolve;
    void *ctx;
    char *err;
    size_t errsize;
};

/* The definition of symbol `index`: 1 found, 0 weak and absent, or -errno. */
static int find(struct reloc_run *run, uint32_t index, void *copy, struct symbol_answer *out)
{
    struct instance *in = run->in;
    struct image *im = in->image;
    const Elf64_Sym *s = &in->sym[index];
    const char *name = in->str + s->st_name;

    *out = (struct symbol_answer){.function = ELF64_ST_TYPE(s->st_info) == STT_FUNC &&
                                              ELF64_ST_BIND(s->st_info) == STB_GLOBAL,
                                  .size = s->st_size};
    if (!copy && index < im->nbound && im->bound[index]) {
        out->addr = im->bound[index];
        return out->addr != ABSENT;
    }
    if (run->resolve(run->ctx, in, name, copy, out) == 1) {
        if (!copy && !out->per_process && index < im->nbound)
            im->bound[index] = out->addr;
        return 1;
    }
    if (ELF64_ST_BIND(s->st_info) == STB_WEAK) {
        if (index < im->nbound)
            im->bound[index] = ABSENT;
        return 0;
    }
    return fail(run->err, run->errsize, ENOEXEC,
                "image %s imports %s, which calf does not have (no row in calls.def)", im->path,
                name);
}

static int damaged(const struct instance *in, char *err, size_t errsize)
{
    return fail(err, errsize, ENOEXEC, "image %s is damaged: relocation", in->image->path);
}

static int relocate_one(struct reloc_run *run, const Elf64_Rela *r)
{
    struct instance *in = run->in;
    word *where;
    uint32_t type = ELF64_R_TYPE(r->r_info), index = ELF64_R_SYM(r->r_info);
    struct symbol_answer a = {0};
    int rc;

    if (type == ARCH_R_NONE)
        return 0;
    if (!is_data(in->image, r->r_offset))
        return damaged(run->in, run->err, run->errsize);
    where = (word *)(in->base + r->r_offset);
    if (index >= in->nsym || in->sym[index].st_name >= in->strsz)
        return fail(run->err, run->errsize, ENOEXEC, "image %s is damaged: symbol %u",
                    in->image->path, index);
    switch (type) {
    case ARCH_R_RELATIVE: *where = (uint64_t)in->base + r->r_addend; return 0;
    case ARCH_R_IRELATIVE:
        if (!is_text(in->image, r->r_addend))
            return damaged(run->in, run->err, run->errsize);
        *where = ((uint64_t(*)(void))(in->base + r->r_addend))();
        return 0;
    case ARCH_R_ABSOLUTE:
    case ARCH_R_GLOB_DAT:
    case ARCH_R_JUMP_SLOT:
        rc = find(run, index, NULL, &a);
        if (rc < 0)
            return rc;
        *where = rc ? (uint64_t)a.addr + (type == ARCH_R_ABSOLUTE ? r->r_addend : 0) : 0;
        return 0;
    case ARCH_R_COPY: {
        size_t size = in->sym[index].st_size;

        if (size > in->image->span - r->r_offset)
            return damaged(run->in, run->err, run->errsize);
        rc = find(run, index, where, &a);
        if (rc <= 0)
            return rc;
        if (a.addr != (void *)where)
            memcpy(where, a.addr, a.size && a.size < size ? a.size : size);
        return 0;
    }
    case ARCH_R_DTPMOD:
        if (index && in->sym[index].st_shndx == SHN_UNDEF) {
            rc = find(run, index, NULL, &a);
            if (rc < 0)
                return rc;
            *where = a.tls_id;
        } else {
            *where = in->tls_id;
        }
        return 0;
    case ARCH_R_DTPOFF:
        if (index && in->sym[index].st_shndx == SHN_UNDEF) {
            rc = find(run, index, NULL, &a);
            if (rc < 0)
                return rc;
            *where = (uint64_t)a.addr + r->r_addend;
        } else {
            *where = in->sym[index].st_value + r->r_addend;
        }
        return 0;
    case ARCH_R_TPOFF:
        return fail(run->err, run->errsize, ENOEXEC,
                    "image %s uses the initial-exec TLS model for %s; build it with "
                    "-ftls-model=global-dynamic",
                    in->image->path, in->str + in->sym[index].st_name);
    default:
        return fail(run->err, run->errsize, ENOEXEC,
                    "image %s has relocations of kind %u, which calf's loader for %s does not know",
                    in->image->path, type, ARCH_NAME);
    }
}

/* DT_RELR: an address, then bitmaps of the 63 words that follow it. */
static int relocate_relr(struct instance *in, size_t from, char *err, size_t errsize)
{
    Elf64_Addr next = 0;

    for (size_t i = 0; i < in->nrelr; i++) {
        uint64_t entry = in->relr[i], bits = entry & 1 ? entry >> 1 : 1;
        Elf64_Addr where = entry & 1 ? next : entry;

        next = where + (entry & 1 ? 63 : 1) * sizeof(uint64_t);
        for (; bits; bits >>= 1, where += sizeof(uint64_t)) {
            if (!(bits & 1))
                continue;
            if (!is_data(in->image, where))
                return damaged(in, err, errsize);
            if (where >= from)
                *(word *)(in->base + where) += (uint64_t)in->base;
        }
    }
    return 0;
}

/* Applies what lies at or above `from`. */
static int relocate_from(struct instance *in, size_t from, resolver resolve, void *ctx, char *err,
                         size_t errsize)
{
    struct reloc_run run = {in, resolve, ctx, err, errsize};
    const Elf64_Rela *r = in->rela, *end = r + in->nrela;
    uint64_t base = (uint64_t)in->base;
    int rc = relocate_relr(in, from, err, errsize);

    if (rc < 0)
        return rc;

    for (; r < end; r++) {
        if (r->r_offset < from)
            continue;
        if (ELF64_R_TYPE(r->r_info) == ARCH_R_RELATIVE && is_data(in->image, r->r_offset)) {
            *(word *)(base + r->r_offset) = base + r->r_addend; /* nearly all of them */
            continue;
        }
        if ((rc = relocate_one(&run, r)) < 0)
            return rc;
    }
    for (size_t i = 0; i < in->njmprel; i++)
        if (in->jmprel[i].r_offset >= from && (rc = relocate_one(&run, &in->jmprel[i])) < 0)
            return rc;
    return 0;
}

int instance_relocate(struct instance *in, resolver resolve, void *ctx, char *err, size_t errsize)
{
    struct image *im = in->image;
    int rc = relocate_from(in, 0, resolve, ctx, err, errsize);

    if (rc == 0 && im->relro_end > im->data_off &&
        mprotect(in->base + im->data_off, im->relro_end - im->data_off, PROT_READ) < 0)
        rc = fail(err, errsize, errno, "protect image %s: %s", im->path, strerror(errno));
    return rc;
}

int instance_write(struct instance *in, void *to, const void *from, size_t size)
{
    struct image *im = in->image;
    bool constant = (char *)to < in->base + im->relro_end;
    size_t length = im->relro_end - im->data_off;

    if (constant && mprotect(in->base + im->data_off, length, PROT_READ | PROT_WRITE) < 0)
        return -errno;
    memcpy(to, from, size);
    return constant && mprotect(in->base + im->data_off, length, PROT_READ) < 0 ? -errno : 0;
}

int instance_reset(struct instance *in, resolver resolve, void *ctx, char *err, size_t errsize)
{
    struct image *im = in->image;
    size_t size,
        file = im->data_file ? im->data_file_size - ((uintptr_t)im->data_file & (PAGE - 1)) : 0;
    char *data = instance_data(in, &size);

    if (file)
        memcpy(data, im->data_file, file);
    /* reading a page that was never written costs no memory, writing zeros to it would */
    for (size_t at = file; at < size; at += PAGE - at % PAGE) {
        size_t n = size - at < PAGE - at % PAGE ? size - at : PAGE - at % PAGE;

        if (data[at] != 0 || memcmp(data + at, data + at + 1, n - 1) != 0)
            memset(data + at, 0, n);
    }
    return relocate_from(in, im->relro_end, resolve, ctx, err, errsize);
}
