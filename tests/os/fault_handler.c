/* A handler of SIGFPE leaves by siglongjmp(), as PostgreSQL's does, again and again. */
#include "os.h"
#include <setjmp.h>

static sigjmp_buf out;
static volatile int zero, many = 100;
static volatile sig_atomic_t seen;

static void on_fpe(int sig)
{
    seen = sig;
    siglongjmp(out, 5);
}

int main(int argc, char **argv)
{
    os_role(argc, argv);
    on_signal(SIGFPE, on_fpe, SA_RESTART);
    for (volatile int i = 0; i < 3; i++) {
        int code = sigsetjmp(out, 1);

        seen = code ? seen : 0;
        if (code == 0)
            many = many / zero;
        CHECK(code == 5 && seen == SIGFPE);
    }
    return 0;
}
