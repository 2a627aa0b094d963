/*
 * arch_x86_64.h - the relocation numbers of one architecture
 *
 * Another architecture is another file with the same names (System V ABI, AMD64 supplement 4.4).
 */
#ifndef CALF_LOADER_ARCH_H
#define CALF_LOADER_ARCH_H

#define ARCH_MACHINE EM_X86_64
#define ARCH_NAME "x86-64"

#define ARCH_R_NONE R_X86_64_NONE
#define ARCH_R_ABSOLUTE R_X86_64_64
#define ARCH_R_COPY R_X86_64_COPY
#define ARCH_R_GLOB_DAT R_X86_64_GLOB_DAT
#define ARCH_R_JUMP_SLOT R_X86_64_JUMP_SLOT
#define ARCH_R_RELATIVE R_X86_64_RELATIVE
#define ARCH_R_IRELATIVE R_X86_64_IRELATIVE
#define ARCH_R_DTPMOD R_X86_64_DTPMOD64
#define ARCH_R_DTPOFF R_X86_64_DTPOFF64
#define ARCH_R_TPOFF R_X86_64_TPOFF64

#endif
