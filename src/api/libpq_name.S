/* libpq_name.S - the empty library that is called libpq.so.5 (replace.c), as the Makefile made it */
    .section .rodata
    .globl calf_libpq_name, calf_libpq_name_end
    .hidden calf_libpq_name, calf_libpq_name_end
calf_libpq_name:
    .incbin LIBPQ_NAME
calf_libpq_name_end:
    .section .note.GNU-stack, "", @progbits
