/*
 * makecontext: takes any number of arguments, so it can be forwarded by a jump alone. What the caller has given lies where it was when
 * libc's own is entered.
 */
#if defined(__x86_64__)
	.text
	.globl makecontext
	.type makecontext, @function
	.align 16
makecontext:
	.cfi_startproc
	endbr64
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
	pushq	%r9
	.cfi_adjust_cfa_offset 8
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	call	context_made /* of the same first argument; returns libc's makecontext */
	movq	%rax, %r11
	popq	%rax
	.cfi_adjust_cfa_offset -8
	popq	%r9
	.cfi_adjust_cfa_offset -8
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
	jmp	*%r11
	.cfi_endproc
	.size makecontext, .-makecontext
#else
#error "makecontext needs a wrapper in assembly for this architecture"
#endif
	.section .note.GNU-stack, "", @progbits
