/* A stdio stream writes and reads a file by characters, lines, blocks and formats, keeps its
 * position, and tells its end apart from an error. */
#include "os.h"

int main(int argc, char **argv)
{
    char text[64];
    int a, b;
    FILE *f;

    os_role(argc, argv);
    CHECK(fopen("missing", "r") == NULL && errno == ENOENT);
    CHECK((f = fopen("file", "w")) != NULL && fileno(f) > 2);
    CHECK(fputs("line one\n", f) >= 0 && fputc('x', f) == 'x' && putc('y', f) == 'y');
    CHECK(fwrite("\nab\0cd\n", 1, 7, f) == 7 && fprintf(f, "%d %s %5.2f\n", 42, "str", 1.5) == 13);
    CHECK(ftell(f) == 31 && fclose(f) == 0);

    CHECK((f = fopen("file", "r")) != NULL);
    CHECK(fgets(text, 5, f) == text && is(text, "line"));
    CHECK(fgets(text, 64, f) == text && is(text, " one\n"));
    CHECK(fgetc(f) == 'x' && getc(f) == 'y' && getc(f) == '\n' && ftell(f) == 12);
    CHECK(fread(text, 2, 3, f) == 3 && memcmp(text, "ab\0cd\n", 6) == 0);
    CHECK(fscanf(f, "%d %63s", &a, text) == 2 && a == 42 && is(text, "str"));
    CHECK(fgets(text, 64, f) == text && is(text, "  1.50\n") && !feof(f));
    CHECK(fgets(text, 64, f) == NULL && feof(f) && !ferror(f) && fgetc(f) == EOF);
    CHECK(fseek(f, 5, SEEK_SET) == 0 && !feof(f) && fgetc(f) == 'o');
    CHECK(fseeko(f, -7, SEEK_END) == 0 && ftello(f) == 24 && fgetc(f) == ' ');
    CHECK(fseek(f, 2, SEEK_CUR) == 0 && fgetc(f) == '.');
    CHECK(fputs("x", f) == EOF || fflush(f) == EOF || ferror(f));
    CHECK(ferror(f));
    clearerr(f);
    CHECK(!ferror(f) && fclose(f) == 0);

    CHECK((f = fopen("file", "r+")) != NULL && fseek(f, 5, SEEK_SET) == 0);
    CHECK(fputs("TWO", f) >= 0 && fseek(f, 0, SEEK_SET) == 0 && fgets(text, 64, f) == text);
    CHECK(is(text, "line TWO\n") && fclose(f) == 0);
    CHECK((f = fopen("file", "a")) != NULL && fputs("end", f) >= 0 && fclose(f) == 0);
    CHECK((f = fopen("file", "w+b")) != NULL && fgetc(f) == EOF);
    CHECK(fwrite("0123456789", 5, 2, f) == 2 && fseek(f, 3, SEEK_SET) == 0);
    CHECK(fscanf(f, "%1d%2d", &a, &b) == 2 && a == 3 && b == 45 && fclose(f) == 0);
    CHECK((f = tmpfile()) != NULL && fputs("tmp", f) >= 0 && fseek(f, 0, SEEK_SET) == 0);
    CHECK(fgets(text, 64, f) == text && is(text, "tmp") && fclose(f) == 0);
    return 0;
}
