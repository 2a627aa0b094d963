/* A module for module.c that uses a module loaded before it. */
extern int mod_value;
int mod_zeros(void);
int mod_sum(void);

int mod_sum(void)
{
    return mod_value * 1000 + mod_zeros();
}
