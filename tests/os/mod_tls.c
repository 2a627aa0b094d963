/* A module for module_tls.c: thread-local data by the dynamic model. */
static __thread int value = 7;
__thread char text[100] = "initial";

int tls_next(void);
char *tls_text(void);

int tls_next(void)
{
    return value++;
}

char *tls_text(void)
{
    return text;
}
