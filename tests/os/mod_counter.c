/* A module for module.c: data of its own, pointers in it, a call back into the program. */
int mod_value = 10;
int *mod_pointer = &mod_value;
static int zeros[50000];
extern int program_value;
extern int program_call(int x);

int mod_add(int n);
int mod_zeros(void);
int mod_callback(int x);
int mod_constructed;

__attribute__((constructor)) static void construct(void)
{
    mod_constructed++;
}

int mod_add(int n)
{
    zeros[sizeof(zeros) / sizeof(zeros[0]) - 1] += n;
    return *mod_pointer += n;
}

int mod_zeros(void)
{
    return zeros[sizeof(zeros) / sizeof(zeros[0]) - 1];
}

int mod_callback(int x)
{
    return program_call(x) + program_value;
}
