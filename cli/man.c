/*
 * man.c - calf.1, made from the table of commands
 */
#include "cli.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Text of which roff must take nothing for its own: backslashes, hyphens, a leading dot. */
static void print_roff(const char *text, size_t n)
{
    if (n && (*text == '.' || *text == '\''))
        fputs("\\&", stdout);
    for (; n--; text++)
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '\'')
            fputs("\\(aq", stdout);
        else
            putchar(*text);
}

static void print_line(const char *text)
{
    print_roff(text, strlen(text));
    putchar('\n');
}

/* As print_text(): paragraphs, and examples that stay as they are. */
static void print_paragraphs(const char *text)
{
    bool example = false;

    while (*text) {
        size_t line = strcspn(text, "\n");

        if ((*text == ' ') != example)
            puts(example ? ".EE\n.RE\n.PP" : ".PP\n.RS 4\n.EX");
        example = *text == ' ';
        print_roff(text + 2 * example, line - 2 * example);
        putchar('\n');
        text += line + (text[line] == '\n');
    }
    if (example)
        puts(".EE\n.RE");
}

static void print_options(const struct option_row *o)
{
    for (; o->id != OPTION_END; o++) {
        if (!o->help || o->id == OPTION_HELP)
            continue;
        puts(".TP");
        printf(".BR ");
        if (o->letter)
            printf("\\-%c \", \" ", o->letter);
        printf("\\-\\-");
        print_roff(o->name, strlen(o->name));
        if (o->value) {
            printf(" \" \\fI");
            print_roff(o->value, strlen(o->value));
            printf("\\fR\"");
        }
        putchar('\n');
        print_line(o->help);
    }
}

void print_man(void)
{
    printf(".TH CALF 1 \"\" \"calf %s\" \"User Commands\"\n", calf_version());
    puts(".SH NAME\ncalf \\- PostgreSQL inside one process\n.SH SYNOPSIS");
    for (const struct command *c = commands; c->name; c++) {
        printf("%s.B calf %s\n", c == commands ? "" : ".br\n", c->name);
        printf("[options] ");
        print_line(c->arguments);
    }
    puts(".SH DESCRIPTION\n"
         "calf opens a PostgreSQL data directory inside its own process, with all of PostgreSQL's\n"
         "sessions and workers as threads, and gives a prompt on it, serves it to other programs,\n"
         "or runs one of PostgreSQL's programs on it. The directory is one that stock PostgreSQL\n"
         "servers of the same major version open as well, just not at the same time.\n"
         ".PP\n"
         "DIR, the data directory, is $CALF_DATA or the application data directory when it is not\n"
         "given.\n.SH COMMANDS");
    for (const struct command *c = commands; c->name; c++) {
        printf(".SS calf %s [options] ", c->name);
        print_line(c->arguments);
        putchar(toupper(*c->brief));
        print_roff(c->brief + 1, strlen(c->brief) - 1);
        puts(".");
        if (c->text) {
            if (*c->text != ' ')
                puts(".PP");
            print_paragraphs(c->text);
        }
        print_options(c->options);
    }
    puts(".SH EXIT STATUS\n"
         "0 when all went well, 1 when something was refused, 2 when the command line is wrong, "
         "128\n"
         "and the signal's number when it was interrupted (130: Ctrl\\-C);\n"
         ".B calf status\ngives 3 when the directory is not open,\n"
         ".B calf psql\nand\n.B calf run\ngive the program's own.\n"
         ".SH ENVIRONMENT\n"
         ".TP\n.B CALF_DATA\nThe data directory when none is given.\n"
         ".TP\n.B CALF_EXTENSION_PATH\nWhat \\-\\-extension\\-path says.\n"
         ".TP\n.B XDG_DATA_HOME\nWhere the application data directory is, else ~/.local/share.\n"
         ".SH SEE ALSO\n.BR psql (1),\n.BR pg_ctl (1)");
}
