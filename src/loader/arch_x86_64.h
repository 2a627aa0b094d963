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

/*
 * Slots: places for instances of one image, between which branch predictors do not tell the
 * difference.  Intel's hash the low 32 bits.  AMD's (measured on Zen 4) fold the bits from 12 on by
 * twelve, so that a difference in bit n is undone by one in bit n + 12, and bits up to 27 take part
 * in predicting the way of the first-level cache.
 */
#define ARCH_SLOT_SIZE (1UL << 28)

/* The n-th, far from where programs, libraries and stacks are; there are fewer than numbers. */
static inline uintptr_t arch_slot(unsigned n)
{
    uintptr_t amd = 8 + n % 104, intel = 0x1000 + n % 8192;

    return __builtin_cpu_is("amd") ? amd << 40 | amd << 28 : intel << 32;
}

#endif
