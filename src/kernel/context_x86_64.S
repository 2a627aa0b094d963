/*
 * context_x86_64.S - the few things C cannot say: switching stacks, fork's
 * return, setjmp, and a system call that a signal can always interrupt
 *
 * Contracts are in kernel.h.  Another architecture is another file with the
 * same symbols.
 */
    .text

/*
 * long intr_syscall(nr, a, b, c, d, e, f, pending, open)
 *                   rdi rsi rdx rcx r8 r9 8(%rsp) 16(%rsp) 24(%rsp)
 * Between intr_window_start and intr_window_end an interrupted program counter
 * is moved to intr_aborted by the kick handler (signal.c).
 */
    .globl intr_syscall, intr_window_start, intr_window_end, intr_aborted
    .type intr_syscall, @function
intr_syscall:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    push %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 24(%rsp), %r9
    mov 32(%rsp), %rbx
    mov 40(%rsp), %r12
intr_window_start:
    test %r12, (%rbx)
    jnz intr_aborted
    syscall
intr_window_end:
    pop %r12
    .cfi_adjust_cfa_offset -8
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_adjust_cfa_offset 16
intr_aborted:
    mov $-4, %rax /* -EINTR */
    jmp intr_window_end
    .cfi_endproc
    .size intr_syscall, . - intr_syscall

    .macro PUSH_SAVED
    push %rbp
    .cfi_adjust_cfa_offset 8
    push %rbx
    .cfi_adjust_cfa_offset 8
    push %r12
    .cfi_adjust_cfa_offset 8
    push %r13
    .cfi_adjust_cfa_offset 8
    push %r14
    .cfi_adjust_cfa_offset 8
    push %r15
    .cfi_adjust_cfa_offset 8
    .endm
    .macro POP_SAVED
    pop %r15
    .cfi_adjust_cfa_offset -8
    pop %r14
    .cfi_adjust_cfa_offset -8
    pop %r13
    .cfi_adjust_cfa_offset -8
    pop %r12
    .cfi_adjust_cfa_offset -8
    pop %rbx
    .cfi_adjust_cfa_offset -8
    pop %rbp
    .cfi_adjust_cfa_offset -8
    .endm

/* void context_call(void **save, void *sp, void (*fn)(void *), void *arg) */
    .globl context_call
    .type context_call, @function
context_call:
    .cfi_startproc
    PUSH_SAVED
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    and $-16, %rsp
    mov %rcx, %rdi
    .cfi_undefined %rip
    xor %ebp, %ebp
    call *%rdx
    ud2
    .cfi_endproc
    .size context_call, . - context_call

/* void context_return(void *sp): as if the context_call() that saved sp returned */
    .globl context_return
    .type context_return, @function
context_return:
    .cfi_startproc
    mov %rdi, %rsp
    POP_SAVED
    ret
    .cfi_endproc
    .size context_return, . - context_return

/* void context_enter(void *sp, void *entry): a program's first instruction */
    .globl context_enter
    .type context_enter, @function
context_enter:
    .cfi_startproc
    .cfi_undefined %rip
    mov %rdi, %rsp
    mov %rsi, %rax
    xor %edx, %edx
    xor %ebp, %ebp
    xor %ebx, %ebx
    jmp *%rax
    .cfi_endproc
    .size context_enter, . - context_enter

/* pid_t sys_fork(void): fork_begin(frame) saves from the frame up; the child goes on at once */
    .globl sys_fork
    .type sys_fork, @function
sys_fork:
    .cfi_startproc
    PUSH_SAVED
    mov %rsp, %rdi
    sub $8, %rsp
    .cfi_adjust_cfa_offset 8
    call fork_begin
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    POP_SAVED
    ret
    .cfi_endproc
    .size sys_fork, . - sys_fork

/*
 * void fork_return(carrier_sp, to, from, size): on the carrier's stack copy the
 * saved stack back, then leave sys_fork a second time with what fork_after() says
 */
    .globl fork_return
    .type fork_return, @function
fork_return:
    .cfi_startproc
    .cfi_undefined %rip
    mov %rdi, %rsp
    and $-16, %rsp
    mov %rsi, %rbx
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    call memcpy@PLT
    mov %rbx, %rsp
    sub $8, %rsp
    call fork_after
    add $8, %rsp
    cltq
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .cfi_endproc
    .size fork_return, . - fork_return

/*
 * int sys_sigsetjmp(jmp_buf env, int savemask)
 * env: rbx rbp r12 r13 r14 r15 rsp rip, then sigjmp_save() keeps the virtual mask
 * behind them (glibc's jmp_buf has 200 bytes).
 */
    .globl sys_sigsetjmp, sys_setjmp
    .type sys_sigsetjmp, @function
sys_setjmp:
    xor %esi, %esi
sys_sigsetjmp:
    .cfi_startproc
    mov %rbx, (%rdi)
    mov %rbp, 8(%rdi)
    mov %r12, 16(%rdi)
    mov %r13, 24(%rdi)
    mov %r14, 32(%rdi)
    mov %r15, 40(%rdi)
    lea 8(%rsp), %rax
    mov %rax, 48(%rdi)
    mov (%rsp), %rax
    mov %rax, 56(%rdi)
    movl $0, 64(%rdi)
    test %esi, %esi
    jnz sigjmp_save@PLT
    xor %eax, %eax
    ret
    .cfi_endproc
    .size sys_sigsetjmp, . - sys_sigsetjmp

/* void jump(jmp_buf env, int value): sys_siglongjmp() restores the mask first */
    .globl context_jump
    .type context_jump, @function
context_jump:
    .cfi_startproc
    mov %esi, %eax
    test %eax, %eax
    jnz 1f
    inc %eax
1:  mov (%rdi), %rbx
    mov 8(%rdi), %rbp
    mov 16(%rdi), %r12
    mov 24(%rdi), %r13
    mov 32(%rdi), %r14
    mov 40(%rdi), %r15
    mov 56(%rdi), %rdx
    mov 48(%rdi), %rsp
    jmp *%rdx
    .cfi_endproc
    .size context_jump, . - context_jump

/*
 * The stubs of functions of libraries that may not be loaded yet (lazy.c): 16 bytes each, a jump
 * to where lazy_targets says, then what it says at first: find the function and go on there with
 * the caller's registers as they were.
 */
    .set LAZY_STUBS, 512
    .globl lazy_stubs
    .balign 16
    .type lazy_stubs, @function
lazy_stubs:
    .cfi_startproc
    .set i, 0
    .rept LAZY_STUBS
    jmp *lazy_targets + 8 * i(%rip)
    pushq $i
    jmp lazy_enter
    .balign 16
    .set i, i + 1
    .endr
    .cfi_endproc
    .size lazy_stubs, . - lazy_stubs

    .type lazy_enter, @function
lazy_enter:
    .cfi_startproc
    .cfi_def_cfa_offset 16
    push %rbp
    .cfi_def_cfa_offset 24
    .cfi_rel_offset %rbp, 0
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    push %rax
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %r8
    push %r9
    sub $128, %rsp
    movups %xmm0, (%rsp)
    movups %xmm1, 16(%rsp)
    movups %xmm2, 32(%rsp)
    movups %xmm3, 48(%rsp)
    movups %xmm4, 64(%rsp)
    movups %xmm5, 80(%rsp)
    movups %xmm6, 96(%rsp)
    movups %xmm7, 112(%rsp)
    mov 8(%rbp), %edi
    call lazy_find
    mov %rax, %r11
    movups (%rsp), %xmm0
    movups 16(%rsp), %xmm1
    movups 32(%rsp), %xmm2
    movups 48(%rsp), %xmm3
    movups 64(%rsp), %xmm4
    movups 80(%rsp), %xmm5
    movups 96(%rsp), %xmm6
    movups 112(%rsp), %xmm7
    add $128, %rsp
    pop %r9
    pop %r8
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
    pop %rax
    pop %rbp
    .cfi_def_cfa %rsp, 16
    add $8, %rsp
    .cfi_def_cfa_offset 8
    jmp *%r11
    .cfi_endproc
    .size lazy_enter, . - lazy_enter

    .section .note.GNU-stack, "", @progbits
