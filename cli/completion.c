/*
 * completion.c - `calf completion`: what the shells need to complete calf's words
 *
 * What follows an option is known by its name in the help: FILE, DIR, MODE.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define MODES "smart fast immediate"
#define SHELLS "bash zsh fish"

/* What is completed for a value or an argument. */
enum kind { KIND_NONE, KIND_FILE, KIND_DIR, KIND_MODE, KIND_COMMAND, KIND_SHELL, KIND_PROGRAM };

static enum kind value_kind(const char *value)
{
    return strcmp(value, "FILE") == 0      ? KIND_FILE
           : strncmp(value, "DIR", 3) == 0 ? KIND_DIR
           : strcmp(value, "MODE") == 0    ? KIND_MODE
                                           : KIND_NONE;
}

static enum kind first_kind(const struct command *c)
{
    return strstr(c->arguments, "COMMAND")         ? KIND_COMMAND
           : strstr(c->arguments, "SHELL")         ? KIND_SHELL
           : strncmp(c->arguments, "TOOL", 4) == 0 ? KIND_PROGRAM
           : strstr(c->arguments, "DIR")           ? KIND_DIR
                                                   : KIND_FILE;
}

static void print_programs(void)
{
    for (int i = 0; program_names[i]; i++)
        printf("%s%s", i ? " " : "", program_names[i]);
}

static void print_commands(void)
{
    for (const struct command *c = commands; c->name; c++)
        printf("%s%s", c == commands ? "" : " ", c->name);
}

/* ---- bash ------------------------------------------------------------------------------------ */

/* COMPREPLY for a kind, as a line of the script. */
static void bash_reply(enum kind kind)
{
    switch (kind) {
    case KIND_FILE: printf("_calf_files -f"); break;
    case KIND_DIR: printf("_calf_files -d"); break;
    case KIND_MODE: printf("_calf_words '" MODES "'"); break;
    case KIND_SHELL: printf("_calf_words '" SHELLS "'"); break;
    case KIND_COMMAND: printf("_calf_words \"$commands\""); break;
    case KIND_PROGRAM:
        printf("_calf_words '");
        print_programs();
        printf("'");
        break;
    default: printf(":");
    }
}

static void bash_command(const struct command *c)
{
    printf("    %s)\n        options='", c->name);
    for (const struct option_row *o = c->options; o->id != OPTION_END; o++)
        if (o->help)
            printf("--%s ", o->name);
    printf("'\n        case $previous in\n");
    for (const struct option_row *o = c->options; o->id != OPTION_END; o++) {
        if (!o->value)
            continue;
        printf("        --%s", o->name);
        if (o->letter)
            printf("|-%c", o->letter);
        printf(") ");
        bash_reply(value_kind(o->value));
        printf("; return ;;\n");
    }
    printf("        esac\n        [[ $word != -* ]] && { ");
    if (first_kind(c) == KIND_PROGRAM) {
        printf("if [ $COMP_CWORD = 2 ]; then ");
        bash_reply(KIND_PROGRAM);
        printf("; else _calf_files -d; fi");
    } else {
        bash_reply(first_kind(c));
    }
    printf("; return; } ;;\n");
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
           "    local commands='");
    print_commands();
    printf("'\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then _calf_words \"$commands --help --version\"; "
           "return; fi\n"
           "    case ${COMP_WORDS[1]} in\n");
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
    switch (kind) {
    case KIND_FILE: printf("_files"); break;
    case KIND_DIR: printf("_files -/"); break;
    case KIND_MODE: printf("(" MODES ")"); break;
    case KIND_SHELL: printf("(" SHELLS ")"); break;
    case KIND_COMMAND:
        putchar('(');
        print_commands();
        putchar(')');
        break;
    case KIND_PROGRAM:
        putchar('(');
        print_programs();
        putchar(')');
        break;
    default: printf(" ");
    }
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
        for (const struct option_row *o = c->options; o->id != OPTION_END; o++)
            if (o->help)
                zsh_option(o);
        printf(" \\\n            '1: :");
        zsh_action(first_kind(c));
        if (first_kind(c) == KIND_PROGRAM)
            printf("' '2: :_files -/");
        printf("'%s ;;\n", c->words_max < 0 ? " '*: :_files'" : "");
    }
    printf("    esac\n"
           "}\n"
           "compdef _calf calf\n");
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
    switch (kind) {
    case KIND_FILE: printf(" -F"); break;
    case KIND_DIR: printf(" -a '(__fish_complete_directories)'"); break;
    case KIND_MODE: printf(" -a '" MODES "'"); break;
    case KIND_SHELL: printf(" -a '" SHELLS "'"); break;
    case KIND_COMMAND:
        printf(" -a '");
        print_commands();
        printf("'");
        break;
    case KIND_PROGRAM:
        printf(" -a '");
        print_programs();
        printf("'");
        break;
    default: break;
    }
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
        for (const struct option_row *o = c->options; o->id != OPTION_END; o++) {
            if (!o->help)
                continue;
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
        if (first_kind(c) == KIND_PROGRAM) {
            printf("complete -c calf -n '__fish_seen_subcommand_from %s; and "
                   "test (count (commandline -opc)) -eq 2'",
                   c->name);
            fish_action(KIND_PROGRAM);
            printf("\ncomplete -c calf -n '__fish_seen_subcommand_from %s; and "
                   "test (count (commandline -opc)) -gt 2'",
                   c->name);
            fish_action(KIND_DIR);
        } else {
            printf("complete -c calf %s", when);
            fish_action(first_kind(c));
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
