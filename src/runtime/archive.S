/* archive.S - the archive (src/kernel/archive.h), as the Makefile made it */
    .section .rodata
    .globl calf_archive, calf_archive_end
    .hidden calf_archive, calf_archive_end
    .balign 64
calf_archive:
    .incbin ARCHIVE
calf_archive_end:
    .section .note.GNU-stack, "", @progbits
