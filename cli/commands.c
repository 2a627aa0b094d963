/*
 * commands.c - the table of commands, and the help that is made from it
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define HELP                                                                                       \
    {                                                                                              \
        OPTION_HELP, "help", 'h', NULL, "this text"                                                \
    }
#define LOG                                                                                        \
    {                                                                                              \
        OPTION_LOG, "log", 0, "FILE", "append PostgreSQL's messages to FILE"                       \
    }
#define SETTING                                                                                    \
    {                                                                                              \
        OPTION_SETTING, "config", 'c', "NAME=VALUE", "a setting of PostgreSQL's; may be repeated"  \
    }
/* -c is the program's own where its arguments follow */
#define LONG_SETTING                                                                               \
    {                                                                                              \
        OPTION_SETTING, "config", 0, "NAME=VALUE", "a setting of PostgreSQL's; may be repeated"    \
    }
#define EXTENSIONS                                                                                 \
    {                                                                                              \
        OPTION_EXTENSIONS, "extension-path", 0, "DIR:DIR", "directories with your own extensions"  \
    }
#define JSON                                                                                       \
    {                                                                                              \
        OPTION_JSON, "json", 0, NULL, "the answer as JSON, for scripts"                            \
    }
#define END                                                                                        \
    {                                                                                              \
        OPTION_END, NULL, 0, NULL, NULL                                                            \
    }

static const struct option_row psql_options[] = {LOG, LONG_SETTING, EXTENSIONS, HELP, END};
static const struct option_row run_options[] = {LOG, LONG_SETTING, EXTENSIONS, HELP, END};
static const struct option_row serve_options[] = {
    {OPTION_SOCKET, "socket", 's', "DIR", "where the Unix socket is made; the data directory"},
    {OPTION_TCP, "tcp", 0, "[ADDR:]PORT", "also over TCP, with a password; port 0: a free one"},
    {OPTION_PASSWORD, "password", 0, NULL,
     "set the superuser's password: asked for, or from stdin"},
    {OPTION_PASSWORD_FILE, "password-file", 0, "FILE", "set it from the first line of FILE"},
    {OPTION_TLS_CERT, "tls-cert", 0, "FILE", "offer TLS with this certificate (PEM)"},
    {OPTION_TLS_KEY, "tls-key", 0, "FILE", "and its private key, mode 0600"},
    {OPTION_DETACH, "detach", 'd', NULL, "return when it serves, and go on in the background"},
    {OPTION_READY_FD, "ready-fd", 0, "N", "write the URIs to this descriptor when it serves"},
    SETTING,
    LOG,
    EXTENSIONS,
    {OPTION_EXPOSE, "expose-to-network", 0, NULL, "allow --tcp with an address others can reach"},
    {OPTION_NO_PASSWORD, "no-password-danger", 0, NULL,
     "let everybody who reaches --tcp be any user, without a password"},
    HELP,
    END};
/* no letter: -h is postgres's own */
static const struct option_row postgres_options[] = {{OPTION_HELP, "help", 0, NULL, "this text"},
                                                     END};
static const struct option_row status_options[] = {JSON, HELP, END};
static const struct option_row stop_options[] = {
    {OPTION_MODE, "mode", 'm', "MODE", "smart (wait for the sessions), fast (end them), immediate"},
    {OPTION_TIMEOUT, "timeout", 't', "SECONDS", "how long to wait for its end; 60"},
    HELP,
    END};
static const struct option_row url_options[] = {
    {OPTION_ENV, "env", 0, NULL, "as lines for a shell: DATABASE_URL, PGHOST ..."},
    JSON,
    HELP,
    END};
static const struct option_row dump_options[] = {
    {OPTION_OUTPUT, "output", 'o', "FILE", "write FILE, which is only there once it is complete"},
    {OPTION_FORMAT, "format", 'F', "FORMAT", "custom, plain, directory or tar"},
    {OPTION_DATABASE, "database", 'd', "NAME", "which database; postgres"},
    {OPTION_ALL, "all", 0, NULL, "all databases, roles and tablespaces, as plain SQL (pg_dumpall)"},
    {OPTION_JOBS, "jobs", 'j', "N", NULL}, /* is refused with what to do instead */
    SETTING,
    LOG,
    EXTENSIONS,
    HELP,
    END};
static const struct option_row restore_options[] = {
    {OPTION_DATABASE, "database", 'd', "NAME", "into which database; created when it is absent"},
    {OPTION_JOBS, "jobs", 'j', "N", "restore with N programs at the same time"},
    {OPTION_CLEAN, "clean", 0, NULL, "replace the database by what is restored"},
    {OPTION_KEEP_GOING, "keep-going", 0, NULL, "go on after errors, and keep the rest"},
    SETTING,
    LOG,
    EXTENSIONS,
    HELP,
    END};
static const struct option_row backup_options[] = {SETTING, LOG, EXTENSIONS, HELP, END};
static const struct option_row upgrade_options[] = {
    {OPTION_CHECK, "check", 'n', NULL, "only say whether it can be done; nothing is changed"},
    {OPTION_KEEP_OLD, "keep-old", 0, "DIR", "the name of the old directory afterwards; DIR.pg15"},
    {OPTION_OLD_BIN, "old-bin", 0, "DIR", "where postgres of the old version is"},
    {OPTION_OLD_CALF, "old-calf", 0, "FILE", "instead: a calf of the old version"},
    EXTENSIONS,
    HELP,
    END};
static const struct option_row doctor_options[] = {
    {OPTION_QUICK, "quick", 'q', NULL, "do not read all pages for their checksums"},
    {OPTION_OPEN, "open", 'o', NULL, "open DIR when it is closed, and look inside"},
    EXTENSIONS,
    JSON,
    HELP,
    END};
static const struct option_row extensions_options[] = {EXTENSIONS, JSON, HELP, END};
static const struct option_row completion_options[] = {HELP, END};
static const struct option_row help_options[] = {
    {OPTION_MAN, "man", 0, NULL, NULL}, /* for the Makefile: calf.1 */
    HELP,
    END};

const struct command commands[] = {
    {"psql", "[DIR] [psql's options]", "open DIR in this process and give the psql prompt",
     "All of psql's switches work, also -c, -f and standard input. DIR is created, with an empty "
     "database, when it is absent. Where another process serves it, psql connects to that.\n"
     "  calf psql ./demo\n"
     "  calf psql ./demo -c 'select version()'\n"
     "  calf psql ./demo -f schema.sql",
     psql_options, -1, command_psql},
    {"serve", "[DIR]", "serve DIR to other programs until Ctrl-C",
     "Listens on a Unix socket, of which only you can make use, and with --tcp also on a port of "
     "this machine. Ctrl-C and SIGTERM stop it, ending the sessions; twice stops at once (the next "
     "opening recovers). SIGHUP reads the configuration again. Started by systemd it tells when it "
     "is ready, and serves on the sockets it is given.\n"
     "  calf serve ./demo\n"
     "  calf serve ./demo --tcp 5432 --password-file secret --detach --log demo.log",
     serve_options, 1, command_serve},
    {"postgres", "[postgres's options]", "be a stock server's `postgres`, for what starts one",
     "A link named postgres that leads to calf does the same without the word: pg_ctl, systemd "
     "units and test harnesses then start calf. All of postgres's options work (-D, -p, -k, -c, "
     "-C, --single, -V ...), and so do its signals: SIGTERM waits for the sessions, SIGINT ends "
     "them, SIGQUIT stops at once, SIGHUP reads the configuration again. The addresses, the port "
     "and who may connect are what PostgreSQL's configuration says; DIR must have been made before "
     "(initdb, calf serve).\n"
     "  calf postgres -D ./demo -k /tmp\n"
     "  ln -s \"$(command -v calf)\" bin/postgres    # beside a pg_ctl",
     postgres_options, -1, command_postgres},
    {"status", "[DIR]", "who has DIR open, since when, sessions, size, connection string",
     "Exit code 0 when it is open, 3 when it is not, 1 when it is no database.", status_options, 1,
     command_status},
    {"stop", "[DIR]", "stop the server that has DIR open, and wait for its end",
     "Ends `calf serve` and a stock server, but never a program of yours that has the database "
     "inside.",
     stop_options, 1, command_stop},
    {"url", "[DIR]", "the connection string, ready to paste",
     "While DIR is served it is for any client; otherwise it is for programs that use libcalf as "
     "their libpq (host=calf:DIR).\n"
     "  psql \"$(calf url ./demo)\"\n"
     "  eval \"$(calf url ./demo --env)\"",
     url_options, 1, command_url},
    {"run", "TOOL [DIR] [--] [its arguments]", "run one of PostgreSQL's programs on DIR",
     "TOOL is pgbench, vacuumdb, pg_amcheck or any other of PostgreSQL's programs. What follows -- "
     "is the program's own. Programs that work on the files of a directory (pg_controldata, "
     "pg_checksums, pg_waldump ...) run without opening it.\n"
     "  calf run pgbench ./demo -- -i -s 10\n"
     "  calf run vacuumdb ./demo -- --all --analyze\n"
     "  calf run pg_controldata ./demo",
     run_options, -1, command_run},
    {"dump", "[DIR] [-- pg_dump's switches]",
     "write a database into a file, to be restored anywhere",
     "Without --output it goes to the standard output. The format is custom, unless --format or "
     "the "
     "end of the file's name say otherwise: .sql, .sql.gz, .sql.zst, .sql.lz4, .tar. An "
     "interrupted "
     "dump leaves nothing. DIR may be in use meanwhile.\n"
     "Several jobs need processes of pg_dump's own, which cannot be inside: serve DIR and run "
     "pg_dump --jobs from outside. Restoring can use several programs.\n"
     "  calf dump ./demo -o demo.dump\n"
     "  calf dump ./demo -o demo.sql.gz -- --schema=app\n"
     "  calf dump ./demo --all | zstd >all.sql.zst",
     dump_options, 1, command_dump},
    {"restore", "[DIR] [FILE] [-- pg_restore's or psql's switches]",
     "fill a database from a dump or from SQL",
     "FILE is what pg_dump wrote in any format, or any SQL (with COPY FROM STDIN and psql's "
     "commands), also compressed by gzip, zstd or lz4; - is the standard input. What it is, is "
     "seen "
     "by its content. DIR is created when it is absent.\n"
     "An error ends it, and the database stays as it was: it is restored in one transaction, a "
     "database that was created for it is dropped again, and --clean puts a new database into the "
     "place of the old one when it is complete (grants and settings of the database itself are not "
     "part of a dump). That cannot be with --keep-going, with --jobs into a database that is "
     "there, and with SQL that commits or connects to databases itself, as pg_dumpall's does, and "
     "pg_dump's after large objects.\n"
     "  calf restore ./demo demo.dump\n"
     "  calf restore ./demo demo.dump -d copy --jobs 4\n"
     "  zstd -dc all.sql.zst | calf restore ./new",
     restore_options, 2, command_restore},
    {"backup", "DIR DEST", "copy a whole data directory, running or closed, and verify the copy",
     "DEST, a directory that is absent or empty, becomes a data directory like DIR: with all "
     "databases, roles and settings. Verified means: the files are compared with the server's "
     "manifest (when it was running), the copy is opened and recovers, and all its pages are "
     "checked "
     "by their checksums. An interrupted backup leaves nothing. A closed directory is locked "
     "meanwhile.\n"
     "  calf backup ./demo /backups/demo-monday",
     backup_options, 2, command_backup},
    {"clone", "DIR DEST", "copy a whole data directory, running or closed, to work with",
     "As backup, but only opened once and not read as a whole. Where the file system can (Btrfs, "
     "XFS), the clone of a closed directory shares the blocks of the original.\n"
     "  calf clone ./demo ./experiment",
     backup_options, 2, command_backup},
    {"upgrade", "DIR", "make DIR, of an older PostgreSQL, one of this version's",
     "Everything is dumped and restored by this version's programs: roles and their passwords, all "
     "databases with their settings, encodings and locales, grants, large objects, comments. "
     "postgresql.conf, pg_hba.conf and what else you have in DIR come along; settings that this "
     "version refuses are commented out and named. Statistics are made anew. Extensions get the "
     "version that is here; one that is missing is named before anything begins. Not taken along "
     "are replication slots; subscriptions are disabled until you enable them.\n"
     "DIR becomes the new one when it is complete and on disk, in one step; until then, whatever "
     "happens, it is the old one. The old one is kept beside it, under a name that is printed: it "
     "is yours to remove. There must be room for both. Nobody may have DIR open meanwhile.\n"
     "The old version has to be here to read DIR: another calf (calf15 beside this one or in "
     "PATH), or PostgreSQL's own programs (apt-get install postgresql-15).\n"
     "  calf upgrade ./demo --check\n"
     "  calf upgrade ./demo\n"
     "  calf upgrade ./demo --old-bin /usr/lib/postgresql/15/bin --keep-old ./demo.before",
     upgrade_options, 1, command_upgrade},
    {"doctor", "[DIR]", "whether all is well with DIR and with this system",
     "One line for each thing that was looked at: ok, warning or problem, with what to do. Nothing "
     "is changed: a closed directory stays closed, one that crashed is not recovered, unless "
     "--open is given. Exit code 0 when there is no problem, 1 when there is one.\n"
     "  calf doctor ./demo\n"
     "  calf doctor ./demo --open --json",
     doctor_options, 1, command_doctor},
    {"extensions", "[DIR]", "what CREATE EXTENSION can find",
     "With DIR (or $CALF_DATA) also which versions are installed in its database postgres; "
     "without, a temporary database is asked.\n"
     "  calf extensions\n"
     "  calf extensions ./demo --extension-path ~/my-extension",
     extensions_options, 1, command_extensions},
    {"completion", "SHELL", "print what bash, zsh or fish need to complete calf's words",
     "  source <(calf completion bash)                                  # ~/.bashrc\n"
     "  source <(calf completion zsh)                                   # ~/.zshrc\n"
     "  calf completion fish >~/.config/fish/completions/calf.fish",
     completion_options, 1, command_completion},
    {"help", "[COMMAND]", "this overview, or the help of one command", NULL, help_options, 1,
     command_help},
    {0}};

static void print_options(const struct option_row *o)
{
    for (; o->id != OPTION_END; o++) {
        char left[64], letter[8] = "    ";

        if (!o->help)
            continue;
        if (o->letter)
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-30s  %s\n", left, o->help);
    }
}

/* What TOOL may be. */
static void print_programs(void)
{
    char list[2048] = "TOOL is one of:";

    for (int i = 0; program_names[i]; i++)
        sprintf(list + strlen(list), "%s %s", i ? "," : "", program_names[i]);
    putchar('\n');
    print_text(list, 0, 80);
}

static void print_command(const struct command *c)
{
    printf("usage: calf %s [options] %s\n\ncalf %s: %s.\n", c->name, c->arguments, c->name,
           c->brief);
    if (c->text) {
        putchar('\n');
        print_text(c->text, 0, 80);
    }
    printf("\n");
    print_options(c->options);
    if (strncmp(c->arguments, "TOOL", 4) == 0)
        print_programs();
    if (strstr(c->arguments, "[DIR]"))
        printf("\nDIR is $CALF_DATA or the application data directory when it is not given.\n");
}

void print_overview(FILE *out)
{
    fprintf(out, "calf: PostgreSQL inside one process\n\n");
    for (const struct command *c = commands; c->name; c++)
        fprintf(out, "  calf %-10s %s\n", c->name, c->brief);
    fprintf(out,
            "\nDIR, the data directory, is $CALF_DATA or the application data directory when it "
            "is not given.\n\"calf COMMAND --help\" says more, \"calf --version\" which calf this "
            "is.\n");
}

int command_help(struct call *c)
{
    const struct command *about = commands;

    if (c->value[OPTION_MAN]) {
        print_man();
        return 0;
    }
    if (c->nwords == 0) {
        print_overview(stdout);
        return 0;
    }
    while (about->name && strcmp(about->name, c->words[0]) != 0)
        about++;
    if (!about->name)
        return misuse(c, "there is no command %s", c->words[0]);
    print_command(about);
    return 0;
}
