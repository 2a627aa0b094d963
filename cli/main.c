/*
 * main.c - the `calf` command: reading the command line by the table of commands.c
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int refuse(const char *fmt, ...)
{
    char text[8192];
    size_t n;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (n = strlen(text); n && strchr(" \t\n", text[n - 1]); n--) /* libpq's end so */
        ;
    fprintf(stderr, "calf: %.*s\n", (int)n, text);
    return 1;
}

int refuse_error(const struct calf_error *err)
{
    return refuse("%s", err->text);
}

int misuse(const struct call *c, const char *fmt, ...)
{
    const char *name = c->command ? c->command->name : "";
    va_list ap;

    va_start(ap, fmt);
    fputs("calf: ", stderr);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "; \"calf %s%s--help\" says how\n", name, *name ? " " : "");
    va_end(ap);
    return 2;
}

static int take_option(struct call *c, const struct option_row *o, const char *value)
{
    if (o->id == OPTION_SETTING) {
        if (!strchr(value, '=') || *value == '=')
            return misuse(c, "a setting is name=value, not \"%s\"", value);
        if (c->nsettings == SETTINGS_MAX)
            return misuse(c, "more than %d settings; put them into postgresql.conf", SETTINGS_MAX);
        c->settings[c->nsettings++] = value;
    }
    c->value[o->id] = value ? value : "";
    return 0;
}

#define FIRST_LONG 256 /* what getopt_long() returns for the first row; below are letters */

static const struct option_row *with_letter(const struct option_row *o, int letter)
{
    while (o->letter != letter)
        o++;
    return o;
}

/* The options; what else there is becomes c->words.  0, or an exit code after a message. */
static int parse(struct call *c, int argc, char **argv)
{
    const struct option_row *rows = c->command->options;
    struct option list[OPTION_COUNT + 1] = {0};
    char letters[OPTION_COUNT * 2 + 4];
    size_t n = 0;
    int got, rc = 0;

    /* ":" tells a missing value from an unknown option; "+": a program's options are its own */
    strcpy(letters, c->command->words_max < 0 ? "+:" : ":");
    for (; rows[n].id != OPTION_END; n++) {
        list[n] = (struct option){rows[n].name, rows[n].value ? required_argument : no_argument,
                                  NULL, FIRST_LONG + (int)n};
        if (rows[n].letter)
            sprintf(letters + strlen(letters), "%c%s", rows[n].letter, rows[n].value ? ":" : "");
    }
    opterr = 0;
    for (int i = 1; i < argc && strstr(c->command->arguments, "[-- ") && !c->rest; i++)
        if (strcmp(argv[i], "--") == 0) {
            c->rest = argv + i + 1;
            argc = i;
        }
    for (;;) {
        int before = optind;

        got = getopt_long(argc, argv, letters, list, NULL);
        if (got == -1)
            break;
        if (got == ':')
            return misuse(c, "%s needs a value", argv[optind - 1]);
        if (got == '?' && c->command->words_max < 0) { /* the program's; ours come before */
            optind = before;
            break;
        }
        if (got == '?' && optopt)
            return misuse(c, "there is no option -%c", optopt);
        if (got == '?')
            return misuse(c, "there is no option %s", argv[optind - 1]);
        rc = take_option(c, got >= FIRST_LONG ? &rows[got - FIRST_LONG] : with_letter(rows, got),
                         optarg);
        if (rc != 0)
            return rc;
    }
    c->words = argv + optind;
    c->nwords = argc - optind;
    if (c->rest)
        c->words[c->nwords] = NULL; /* where -- stood */
    if (c->command->words_max >= 0 && c->nwords > c->command->words_max)
        return misuse(c, "unexpected argument %s", c->words[c->command->words_max]);
    return 0;
}

/* Where one of the three is closed, a file of the database must not get its number.  What is opened
 * instead fails as a closed one does. */
static void hold_standard(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    struct call c = {.command = NULL};
    const char *called = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    const char *name = argc > 1 ? argv[1] : "";
    int rc;

    hold_standard();
    if (strcmp(called, "postgres") == 0) { /* its command line is PostgreSQL's alone */
        c.words = argv + 1;
        return command_postgres(&c);
    }
    forget_places();
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return printf("calf %s\n", calf_version()), 0;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (!*name) {
        print_overview(stderr);
        return 2;
    }
    for (const struct command *k = commands; k->name && !c.command; k++)
        if (strcmp(k->name, name) == 0)
            c.command = k;
    if (!c.command)
        return misuse(&c, "there is no command %s", name);
    argv[1] = argv[0];
    rc = parse(&c, argc - 1, argv + 1);
    if (rc != 0)
        return rc;
    if (c.value[OPTION_HELP])
        return command_help(&(struct call){
            .command = c.command, .words = (char *[]){(char *)c.command->name, NULL}, .nwords = 1});
    if (c.value[OPTION_EXTENSIONS])
        setenv("CALF_EXTENSION_PATH", c.value[OPTION_EXTENSIONS], 1);
    rc = c.command->run(&c);
    if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        return refuse("cannot write to the standard output: %s", strerror(errno));
    return rc;
}
