/* Another module for module.c, with a function of the same name in it. */
#include <stdio.h>
#include <string.h>

static int value = 500;
int mod_add(int n);
int mod_print(char *text, int size);

int mod_add(int n)
{
    return value -= n;
}

int mod_print(char *text, int size) /* libc is there for modules too */
{
    return snprintf(text, size, "%s %zu", "module", strlen("four"));
}
