/* What is buffered reaches the file at the newline, at fflush() or at once, as setvbuf() says;
 * fflush(NULL) means every stream. */
#include "os.h"

int main(int argc, char **argv)
{
    static char big[300000];
    FILE *full, *line, *none, *own;

    os_role(argc, argv);
    CHECK((full = fopen("full", "w")) && (line = fopen("line", "w")) &&
          (none = fopen("none", "w")));
    CHECK((own = fopen("own", "w")) && setvbuf(own, malloc(100000), _IOFBF, 100000) == 0);
    CHECK(setvbuf(line, NULL, _IOLBF, 0) == 0 && setvbuf(none, NULL, _IONBF, 0) == 0);
    CHECK(fputs("a\nb", full) >= 0 && is(get_file("full"), ""));
    CHECK(fputs("a\nb", line) >= 0 && memcmp(get_file("line"), "a\n", 2) == 0);
    CHECK(fputs("c\n", line) >= 0 && is(get_file("line"), "a\nbc\n"));
    CHECK(fputs("a", none) >= 0 && fputc('b', none) == 'b' && is(get_file("none"), "ab"));
    CHECK(fprintf(none, "%d-%s", 1, "x") == 3 && is(get_file("none"), "ab1-x"));
    for (int i = 0; i < 9000; i++)
        CHECK(fputs("0123456789", own) >= 0);
    CHECK(is(get_file("own"), ""));
    CHECK(fflush(full) == 0 && is(get_file("full"), "a\nb"));
    CHECK(fputs("more", full) >= 0 && fflush(NULL) == 0 && is(get_file("full"), "a\nbmore"));
    struct stat st;
    CHECK(stat("own", &st) == 0 && st.st_size == 90000);
    memset(big, 'z', sizeof(big));
    CHECK(fwrite(big, 1, sizeof(big), full) == sizeof(big) && fclose(full) == 0);
    CHECK(stat("full", &st) == 0 && st.st_size == 300007);
    CHECK(fclose(line) == 0 && fclose(none) == 0 && fclose(own) == 0);
    CHECK((full = fopen("/dev/full", "w")) && fputs("x", full) >= 0);
    CHECK(fflush(full) == EOF && errno == ENOSPC && ferror(full));
    fclose(full);
    return 0;
}
