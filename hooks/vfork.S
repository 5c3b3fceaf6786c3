/*
 * vfork: the child runs on the parent's memory and stack until it execs or exits, so a wrapper in C, whose frame the child
 * would return through and destroy, crashes dash, gcc and python's subprocess. Here the return address is kept in a
 * register, as libc's own does; the kernel preserves all registers but rax, rcx and r11 over a system call.
 *
 * Around it a thread-local flag says 'vfork child': hooks then pass through, because what the child closes and duplicates is
 * its own, while our tables are the parent's. The child leaves it set; the parent, which runs again only when the child
 * has gone, puts back what was there (a vfork child may vfork).
 */
#if defined(__x86_64__)
#include <asm/unistd.h>

	.text
	.globl vfork
	.type vfork, @function
	.globl own_vfork /* the same under a name that nobody can interpose */
	.hidden own_vfork
	.align 16
own_vfork:
vfork:
	.cfi_startproc
	endbr64
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdi
	movq	io_vfork_child@gottpoff(%rip), %rdx
	movzbl	%fs:(%rdx), %esi
	lock addl $2, io_state(%rip) /* IO_ONE_ASIDE */
	movb	$1, %fs:(%rdx)
	lock incw conn_children(%rip)
	movl	$__NR_vfork, %eax
	syscall
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	testl	%eax, %eax
	jz	1f
	movb	%sil, %fs:(%rdx)
	lock subl $2, io_state(%rip)
	cmpl	$-4095, %eax
	jae	2f
1:	ret
2:	negl	%eax
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	call	*__errno_location@GOTPCREL(%rip)
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	movl	%edx, (%rax)
	movl	$-1, %eax
	ret
	.cfi_endproc
	.size vfork, .-vfork
#else
#error "vfork needs a wrapper in assembly for this architecture"
#endif
	.section .note.GNU-stack, "", @progbits
