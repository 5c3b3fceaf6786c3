/*
 * The page's files, as they are, each with a NUL behind it, in the program.
 */
	.section .rodata
	.macro page_file name, path
	.global \name
\name:
	.incbin "\path"
	.byte 0
	.endm

	page_file page_html, "cli/ui/page.html"
	page_file page_css, "cli/ui/page.css"
	page_file page_js, "cli/ui/page.js"

	.section .note.GNU-stack,"",@progbits
