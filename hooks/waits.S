/*
 * Waits that are noticed, and nothing else: System V's and POSIX' queues of messages, semaphores, signals (thread.c: wait_begun). What the
 * caller has given lies where it was when libc's own is entered, which is jumped to. In C each of them would be five times as long.
 */
#if defined(__x86_64__)
	.text
	.macro noticed name, which
	.globl \name
	.type \name, @function
\name:
	endbr64
	movl	$\which, %eax
	jmp	begin_wait_of
	.size \name, .-\name
	.endm

	/* In the order of symbols.list. */
	.cfi_startproc
	noticed	semop, 0
	noticed	semtimedop, 1
	noticed	sigwait, 2
	noticed	sigwaitinfo, 3
	noticed	sigtimedwait, 4
	noticed	msgrcv, 5
	noticed	mq_receive, 6
	noticed	mq_timedreceive, 7
	noticed	sigsuspend, 8

	.type begin_wait_of, @function
begin_wait_of:
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	pushq	%rcx
	.cfi_adjust_cfa_offset 8
	pushq	%r8
	.cfi_adjust_cfa_offset 8
	movl	%eax, %edi
	call	wait_begun
	popq	%r8
	.cfi_adjust_cfa_offset -8
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	jmp	*%rax
	.cfi_endproc
	.size begin_wait_of, .-begin_wait_of
#else
#error "waits need a wrapper in assembly for this architecture"
#endif
	.section .note.GNU-stack, "", @progbits
