/* malloc, calloc, realloc and free keep every block's bytes apart and aligned, small and huge, and
 * take memory that other functions allocated. */
#include "os.h"

enum { BLOCKS = 2000 };
static unsigned char *blocks[BLOCKS];
static size_t sizes[BLOCKS];
static unsigned seed = 12345;

static unsigned next(unsigned below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 8) % below;
}

static void check(int i, size_t n)
{
    for (size_t j = 0; j < n; j += n / 50 + 1)
        CHECK(blocks[i][j] == (unsigned char)(i + j));
}

int main(int argc, char **argv)
{
    os_role(argc, argv);
    for (int round = 0; round < 100000; round++) {
        int i = next(BLOCKS);
        size_t size = 1 + (round % 1000 == 0 ? next(3000000)
                           : round % 10      ? next(200)
                                             : next(20000));

        check(i, sizes[i]);
        if (round % 3 == 0) {
            blocks[i] = realloc(blocks[i], size);
            CHECK(blocks[i] != NULL);
            check(i, size < sizes[i] ? size : sizes[i]);
        } else {
            free(blocks[i]);
            CHECK((blocks[i] = round % 3 == 1 ? malloc(size) : calloc(size, 1)) != NULL);
            for (size_t j = 0; round % 3 == 2 && j < size; j++)
                CHECK(blocks[i][j] == 0);
        }
        CHECK((uintptr_t)blocks[i] % 16 == 0);
        sizes[i] = size;
        for (size_t j = 0; j < size; j++)
            blocks[i][j] = i + j;
    }
    char *big = malloc(100 << 20);
    CHECK(big != NULL);
    big[0] = 1;
    big[(100 << 20) - 1] = 2;
    big = realloc(big, 150 << 20);
    CHECK(big && big[0] == 1 && big[(100 << 20) - 1] == 2);
    free(big);
    for (int i = 0; i < 50; i++) { /* given back, or this would need 5 GB */
        CHECK((big = malloc(100 << 20)) != NULL);
        for (int j = 0; j < 100 << 20; j += 1 << 20)
            big[j] = 1;
        free(big);
    }
    volatile size_t absurd = SIZE_MAX / 2;
    void *volatile p = malloc(absurd);
    CHECK(p == NULL && errno == ENOMEM);
    CHECK((p = calloc(absurd, 4)) == NULL && (p = malloc(0)) != NULL);
    CHECK((p = realloc(p, 10)) != NULL);
    free(p);
    p = NULL;
    free(p);
    CHECK((p = strdup("text")) != NULL && is(p, "text"));
    free(p);
    char *path = realpath("/", NULL);
    CHECK(path && is(path, "/"));
    free(path);
    return 0;
}
