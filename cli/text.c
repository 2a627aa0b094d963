/*
 * text.c - how values are printed: JSON, shell, sizes
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

void print_json(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 32)
            printf("\\u%04x", *text);
        else
            putchar(*text);
    }
    putchar('"');
}

void print_shell(const char *text)
{
    putchar('\'');
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    putchar('\'');
}

const char *human_size(unsigned long long bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    static char text[32];
    double size = (double)bytes;
    int unit = 0;

    while (size >= 1000 && unit < 4) {
        size /= 1024;
        unit++;
    }
    snprintf(text, sizeof(text), unit && size < 10 ? "%.1f %s" : "%.0f %s", size, units[unit]);
    return text;
}
