/*
 * image_fuzz.c - the loader refuses a damaged image or loads it, and never crashes
 *
 * Damaged are the headers, the dynamic section and the tables that the loader follows, a few bytes
 * at a time.  Code of the image that runs before its entry (resolvers of IFUNC symbols) may do
 * anything; a fault there is no fault of the loader's.
 *
 * with: loader/loader
 * usage: image SEED COUNT IMAGE...
 */
#include "../../src/loader/loader.h"

#include "fuzz.h"

#include <errno.h>
#include <ucontext.h>

static char **names;
static int nnames;
static struct instance *in; /* the one whose code may run */
static bool whole;          /* the image is as it was built */
static long words[64];      /* what imports are bound to */

static int answer(void *ctx, struct instance *who, const char *name, void *copy,
                  struct symbol_answer *out)
{
    (void)ctx, (void)who;
    if (!whole && strlen(name) % 7 == 3)
        return 0;
    *out = (struct symbol_answer){.addr = copy ? copy : words, .per_process = name[0] % 2};
    return 1;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    (void)info;
    if (in && instance_contains_text(in, uc->uc_mcontext.gregs[REG_RIP]))
        _exit(0);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* Where in the file the loader looks: the headers, and what lies before the text. */
static void damage_image(unsigned char *data, size_t size)
{
    const Elf64_Ehdr *eh = (Elf64_Ehdr *)data;
    const Elf64_Phdr *ph = (Elf64_Phdr *)(data + eh->e_phoff);
    size_t tables = ph[0].p_filesz, dynamic = 0, dynamic_size = 0;
    int kind = pick(4);

    for (int i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && !(ph[i].p_flags & (PF_X | PF_W)) && i < 4)
            tables = ph[i].p_offset + ph[i].p_filesz;
        if (ph[i].p_type == PT_DYNAMIC) {
            dynamic = ph[i].p_offset;
            dynamic_size = ph[i].p_filesz;
        }
    }
    for (int n = 1 + pick(3); n > 0; n--) {
        if (kind == 0)
            damage(data, sizeof(Elf64_Ehdr) + 14 * sizeof(Elf64_Phdr));
        else if (kind == 1)
            damage(data + dynamic, dynamic_size);
        else if (kind == 2)
            damage(data + 64, tables - 64);
        else
            damage(data, size);
    }
}

static void one(int number)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
    const char *path = names[number % nnames];
    int file = open(path, O_RDONLY | O_CLOEXEC), fd = memfd_create("image", MFD_CLOEXEC);
    char err[512] = "", text[] = "main";
    unsigned char *data;
    struct image *im;
    struct stat st;
    bool is_tls;
    size_t size;
    int rc;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigaction(faults[i], &(struct sigaction){.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO},
                  NULL);
    MUST(file >= 0 && fd >= 0 && fstat(file, &st) == 0 && (data = malloc(st.st_size)));
    MUST(read(file, data, st.st_size) == st.st_size);
    size = st.st_size;
    whole = number < nnames;
    if (!whole) {
        damage_image(data, size);
        if (pick(8) == 0)
            size = pick(size);
    }
    MUST(write(fd, data, size) == (ssize_t)size);
    rc = image_open(fd, path, &im, err, sizeof(err));
    MUST(rc == 0 ? im != NULL : !im && *err);
    if (rc == 0)
        rc = instance_map(im, &in, err, sizeof(err));
    if (rc == 0) {
        rc = instance_relocate(in, answer, NULL, err, sizeof(err));
        for (const char *c = "main\0environ\0_init\0nothing\0"; *c; c += strlen(c) + 1)
            instance_symbol(in, c, &size, &is_tls);
        for (; text[0] < 'z'; text[0]++)
            instance_symbol(in, text, &size, &is_tls);
        instance_set_executable(in, false);
        instance_set_executable(in, true);
    }
    if (rc == 0)
        rc = instance_reset(in, answer, NULL, err, sizeof(err));
    MUST(rc == 0 || (rc < 0 && *err));
    MUST(!whole || rc == 0);
    instance_unmap(in);
    in = NULL;
    image_close(im);
    free(data);
}

int main(int argc, char **argv)
{
    MUST(argc > 3);
    names = argv + 3;
    nnames = argc - 3;
    return run_cases("image", strtoull(argv[1], NULL, 10), atoi(argv[2]), one);
}
