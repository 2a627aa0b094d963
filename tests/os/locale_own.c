/* A process starts in the C locale, sets its own, and another's setlocale() does not touch it. */
#include "os.h"
#include <langinfo.h>
#include <locale.h>
#include <wctype.h>

static bool utf8(void)
{
    wchar_t wide[4];

    bool by_name = is(nl_langinfo(CODESET), "UTF-8");
    bool by_deed = mbstowcs(wide, "\xc3\xa4", 4) == 1 && wide[0] == 0xe4;
    CHECK(by_name == by_deed && by_name == (iswalpha(0xe4) != 0));
    return by_name;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int there[2], back[2];

    if (is(role, "child")) {
        CHECK(is(setlocale(LC_ALL, NULL), "C") && !utf8());
        CHECK(is(setlocale(LC_ALL, ""), "C.UTF-8") && utf8());
        CHECK(write(atoi(argv[2]), "u", 1) == 1);
        CHECK(read(atoi(argv[3]), &(char){0}, 1) == 1); /* the parent is in another one by now */
        CHECK(utf8() && is(setlocale(LC_CTYPE, NULL), "C.UTF-8"));
        CHECK(setlocale(LC_CTYPE, "C") && !utf8());
        CHECK(is(setlocale(LC_COLLATE, NULL), "C.UTF-8"));
        return 0;
    }
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    CHECK(setenv("LC_ALL", "C.UTF-8", 1) == 0);
    CHECK(is(setlocale(LC_ALL, NULL), "C") && !utf8());
    CHECK(setlocale(LC_MESSAGES, "") && setlocale(LC_CTYPE, "C.UTF-8") && utf8());
    CHECK(is(setlocale(LC_NUMERIC, NULL), "C"));
    pid_t pid = spawn_self("child", num(there[1]), num(back[0]));
    CHECK(read(there[0], &(char){0}, 1) == 1);
    CHECK(setlocale(LC_ALL, "C") && !utf8());
    CHECK(write(back[1], "c", 1) == 1 && reap_exit(pid) == 0 && !utf8());
    CHECK(setlocale(LC_ALL, "no_SUCH.locale") == NULL && is(setlocale(LC_ALL, NULL), "C"));
    return 0;
}
