/* A module for module_errors.c: it needs a function that nobody has. */
int nobody_has_this(void);
int mod_broken(void);

int mod_broken(void)
{
    return nobody_has_this();
}
