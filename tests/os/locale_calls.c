/* localeconv(), the collation and case calls and locale objects work by the current locale or the
 * one given. */
#include "os.h"
#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <wchar.h>
#include <wctype.h>

int main(int argc, char **argv)
{
    char text[64];
    wchar_t wide[8];

    os_role(argc, argv);
    struct lconv *conv = localeconv();
    CHECK(is(conv->decimal_point, ".") && is(conv->thousands_sep, "") && is(conv->grouping, ""));
    CHECK(setlocale(LC_ALL, "C.UTF-8") && is(localeconv()->decimal_point, "."));
    CHECK(strcoll("a", "b") < 0 && strcoll("b", "B") > 0 && strcoll("x", "x") == 0);
    CHECK(strxfrm(text, "abc", sizeof(text)) == 3);
    CHECK(mbstowcs(wide, "z\xc3\x84", 8) == 2 && wide[1] == 0xc4 && towlower(wide[1]) == 0xe4);
    wide[1] = towlower(wide[1]);
    CHECK(wcstombs(text, wide, sizeof(text)) == 3 && is(text, "z\xc3\xa4"));
    CHECK(toupper('q') == 'Q' && isspace('\t') && !isalpha('1') && strtod("1.5", NULL) == 1.5);

    locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
    locale_t u = newlocale(LC_CTYPE_MASK | LC_COLLATE_MASK, "C.UTF-8", NULL);
    CHECK(c && u && newlocale(LC_ALL_MASK, "no_SUCH.locale", NULL) == NULL && errno == ENOENT);
    CHECK(strcoll_l("a", "b", u) < 0 && strcoll_l("b", "B", c) > 0);
    CHECK(iswalpha_l(0xe4, u) && !iswalpha_l(0xe4, c) && towupper_l(0xe4, u) == 0xc4);
    locale_t old = uselocale(c);
    CHECK(is(nl_langinfo(CODESET), "ANSI_X3.4-1968") && mbstowcs(wide, "\xc3\x84", 8) != 1);
    CHECK(uselocale(NULL) == c && uselocale(old) == c);
    CHECK(is(nl_langinfo(CODESET), "UTF-8") && mbstowcs(wide, "\xc3\x84", 8) == 1);
    CHECK(uselocale(u) == old && setlocale(LC_ALL, "C") && is(nl_langinfo(CODESET), "UTF-8"));
    CHECK(uselocale(old) == u && is(nl_langinfo(CODESET), "ANSI_X3.4-1968"));
    return 0;
}
