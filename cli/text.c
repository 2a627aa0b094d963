/*
 * text.c - how things are printed: JSON, shell, paragraphs, sizes
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
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "/._-:@%+=,";

    if (*text && strspn(text, plain) == strlen(text)) {
        fputs(text, stdout);
        return;
    }
    putchar('\'');
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    putchar('\'');
}

void print_text(const char *text, int indent, int width)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        int n = indent;

        if (*text == ' ') {
            printf("%.*s\n", (int)line, text);
        } else {
            for (const char *word = text; word < text + line;) {
                int length = (int)strcspn(word, " \n");

                if (n > indent && n + 1 + length > width) {
                    printf("\n%*s", indent, "");
                    n = indent;
                }
                n += printf("%s%.*s", n > indent ? " " : "", length, word);
                word += length + (word[length] == ' ');
            }
            putchar('\n');
        }
        text += line + (text[line] == '\n');
    }
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
