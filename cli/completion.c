/*
 * completion.c - `calf completion`: what the shells need to complete calf's words
 *
 * What follows an option is known by its name in the help: FILE, DIR, MODE, FORMAT.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define MODES "smart fast immediate"
#define FORMATS "custom plain directory tar"
#define SHELLS "bash zsh fish"

/* What is completed for a value or an argument. */
enum kind {
    KIND_NONE,
    KIND_FILE,
    KIND_DIR,
    KIND_MODE, /* this one and the others have words */
    KIND_FORMAT,
    KIND_SHELL,
    KIND_COMMAND,
    KIND_PROGRAM
};

static enum kind value_kind(const char *value)
{
    return strcmp(value, "FILE") == 0      ? KIND_FILE
           : strncmp(value, "DIR", 3) == 0 ? KIND_DIR
           : strcmp(value, "MODE") == 0    ? KIND_MODE
           : strcmp(value, "FORMAT") == 0  ? KIND_FORMAT
                                           : KIND_NONE;
}

static enum kind first_kind(const struct command *c)
{
    return strstr(c->arguments, "COMMAND")         ? KIND_COMMAND
           : strstr(c->arguments, "SHELL")         ? KIND_SHELL
           : strncmp(c->arguments, "TOOL", 4) == 0 ? KIND_PROGRAM
           : strstr(c->arguments, "FILE")          ? KIND_FILE /* or DIR */
                                                   : KIND_DIR;
}

/* Of the words after the first: a program's own are often files. */
static enum kind next_kind(const struct command *c)
{
    return c->words_max < 0 ? KIND_FILE : first_kind(c);
}

/* The words that a kind has, with what a shell has around them; false: it has no words. */
static bool print_words(const char *before, enum kind kind, const char *after)
{
    if (kind < KIND_MODE)
        return false;
    fputs(before, stdout);
    switch (kind) {
    case KIND_MODE: printf(MODES); break;
    case KIND_FORMAT: printf(FORMATS); break;
    case KIND_SHELL: printf(SHELLS); break;
    case KIND_COMMAND:
        for (const struct command *c = commands; c->name; c++)
            printf("%s%s", c == commands ? "" : " ", c->name);
        break;
    default:
        for (int i = 0; program_names[i]; i++)
            printf("%s%s", i ? " " : "", program_names[i]);
    }
    fputs(after, stdout);
    return true;
}

/* The options that are shown: for (o = c->options; (o = shown(o)); o++) */
static const struct option_row *shown(const struct option_row *o)
{
    while (o->id != OPTION_END && !o->help)
        o++;
    return o->id == OPTION_END ? NULL : o;
}

/* ---- bash ------------------------------------------------------------------------------------ */

/* COMPREPLY for a kind, as a line of the script. */
static void bash_reply(enum kind kind)
{
    if (!print_words("_calf_words '", kind, "'"))
        fputs(kind == KIND_FILE  ? "_calf_files -f"
              : kind == KIND_DIR ? "_calf_files -d"
                                 : ":",
              stdout);
}

static void bash_command(const struct command *c)
{
    printf("    %s)\n        options='", c->name);
    for (const struct option_row *o = c->options; (o = shown(o)); o++)
        printf("--%s ", o->name);
    printf("'\n        case $previous in\n");
    for (const struct option_row *o = c->options; (o = shown(o)); o++) {
        if (!o->value)
            continue;
        printf("        --%s", o->name);
        if (o->letter)
            printf("|-%c", o->letter);
        printf(") ");
        bash_reply(value_kind(o->value));
        printf("; return ;;\n");
    }
    printf("        esac\n        [[ $word != -* ]] && { if [ $COMP_CWORD = 2 ]; then ");
    bash_reply(first_kind(c));
    printf("; else ");
    bash_reply(next_kind(c));
    printf("; fi; return; } ;;\n");
}

static void print_bash(void)
{
    printf("# bash completion for calf\n"
           "_calf_words() { COMPREPLY=($(compgen -W \"$1\" -- \"$word\")); }\n"
           "_calf_files() {\n"
           "    local name\n"
           "    compopt -o filenames 2>/dev/null\n"
           "    COMPREPLY=()\n"
           "    while IFS= read -r name; do COMPREPLY+=(\"$name\"); done < <(compgen \"$1\" -- "
           "\"$word\")\n"
           "}\n"
           "_calf() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} "
           "options\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then _calf_words '");
    print_words("", KIND_COMMAND, " --help --version'; return; fi\n");
    printf("    case ${COMP_WORDS[1]} in\n");
    for (const struct command *c = commands; c->name; c++)
        bash_command(c);
    printf("    *) return ;;\n"
           "    esac\n"
           "    _calf_words \"$options\"\n"
           "}\n"
           "complete -F _calf calf\n");
}

/* ---- zsh ---------------------------------------------------------------------------------------
 */

/* Text inside of '...[...]': what _arguments would take for its own is escaped. */
static void zsh_text(const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
}

static void zsh_action(enum kind kind)
{
    if (!print_words("(", kind, ")"))
        fputs(kind == KIND_FILE ? "_files" : kind == KIND_DIR ? "_files -/" : " ", stdout);
}

static void zsh_option(const struct option_row *o)
{
    for (int letter = 0; letter <= (o->letter != 0); letter++) {
        if (letter)
            printf(" \\\n            '*-%c[", o->letter);
        else
            printf(" \\\n            '*--%s[", o->name);
        zsh_text(o->help);
        putchar(']');
        if (o->value) {
            putchar(':');
            zsh_text(o->value);
            putchar(':');
            zsh_action(value_kind(o->value));
        }
        putchar('\'');
    }
}

static void print_zsh(void)
{
    printf("#compdef calf\n"
           "_calf() {\n"
           "    if (( CURRENT == 2 )); then\n"
           "        local -a commands=(");
    for (const struct command *c = commands; c->name; c++) {
        printf("\n            '%s:", c->name);
        zsh_text(c->brief);
        putchar('\'');
    }
    printf(")\n"
           "        _describe command commands\n"
           "        return\n"
           "    fi\n"
           "    shift words\n"
           "    (( CURRENT-- ))\n"
           "    case $words[1] in\n");
    for (const struct command *c = commands; c->name; c++) {
        printf("    %s)\n        _arguments", c->name);
        for (const struct option_row *o = c->options; (o = shown(o)); o++)
            zsh_option(o);
        printf(" \\\n            '1: :");
        zsh_action(first_kind(c));
        printf("'");
        if (c->words_max != 1) {
            printf(" '*: :");
            zsh_action(next_kind(c));
            printf("'");
        }
        printf(" ;;\n");
    }
    printf("    esac\n"
           "}\n"
           "# read by `source`, or as a file of $fpath, whose first call is to complete already\n"
           "if [[ $funcstack[1] = _calf ]]; then _calf; else compdef _calf calf; fi\n");
}

/* ---- fish ---------------------------------------------------------------------------------------
 */

static void fish_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++)
        printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    putchar('\'');
}

static void fish_action(enum kind kind)
{
    if (!print_words(" -a '", kind, "'"))
        fputs(kind == KIND_FILE  ? " -F"
              : kind == KIND_DIR ? " -a '(__fish_complete_directories)'"
                                 : "",
              stdout);
}

static void print_fish(void)
{
    printf("# fish completion for calf\n"
           "complete -c calf -f\n"
           "complete -c calf -n __fish_use_subcommand -l version -d 'which calf this is'\n"
           "complete -c calf -n __fish_use_subcommand -l help -d 'the commands'\n");
    for (const struct command *c = commands; c->name; c++) {
        char when[128];

        snprintf(when, sizeof(when), "-n '__fish_seen_subcommand_from %s'", c->name);
        printf("complete -c calf -n __fish_use_subcommand -a %s -d ", c->name);
        fish_quoted(c->brief);
        putchar('\n');
        for (const struct option_row *o = c->options; (o = shown(o)); o++) {
            printf("complete -c calf %s -l %s", when, o->name);
            if (o->letter)
                printf(" -s %c", o->letter);
            if (o->value) {
                printf(value_kind(o->value) == KIND_FILE ? " -r" : " -x");
                fish_action(value_kind(o->value));
            }
            printf(" -d ");
            fish_quoted(o->help);
            putchar('\n');
        }
        for (int next = 0; next < 2; next++) {
            printf("%scomplete -c calf -n '__fish_seen_subcommand_from %s; and test (count "
                   "(commandline -opc)) %s 2'",
                   next ? "\n" : "", c->name, next ? "-gt" : "-eq");
            fish_action(next ? next_kind(c) : first_kind(c));
        }
        putchar('\n');
    }
}

int command_completion(struct call *c)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

    for (size_t i = 0; c->nwords && i < sizeof(shells) / sizeof(shells[0]); i++)
        if (strcmp(c->words[0], shells[i].name) == 0) {
            shells[i].print();
            return 0;
        }
    return misuse(c, c->nwords ? "there is no completion for %s" : "say for which shell%s",
                  c->nwords ? c->words[0] : "");
}
