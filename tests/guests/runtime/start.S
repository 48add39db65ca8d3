/* Entry of every tiny guest: multiboot 1, 32-bit protected mode, paging off, interrupts off.
 * With LONG_MODE the first GiB is mapped by 2 MiB pages and guest_main runs in 64-bit mode;
 * without, guest_main runs flat 32-bit. Both have an IDT whose 256 stubs call on_interrupt. */

#define MULTIBOOT_MAGIC 0x1BADB002

        .section .multiboot, "a"
        .align 4
        .long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

        .section .text
        .code32
        .globl _start
_start:
        cli
        cld
        mov     $stack_top, %esp
        mov     $0xFF, %al              /* a firmware may have left the timer's IRQ on */
        out     %al, $0x21
        out     %al, $0xA1
        lgdt    gdt_pointer
        ljmp    $CODE32, $1f
1:      mov     $DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     %eax, %fs
        mov     %eax, %gs
#ifdef LONG_MODE
        /* One PML4 entry, one PDPT entry, 512 pages of 2 MiB. */
        mov     $page_directory, %edi
        mov     $0x83, %eax
        mov     $512, %ecx
2:      mov     %eax, (%edi)
        movl    $0, 4(%edi)
        add     $0x200000, %eax
        add     $8, %edi
        loop    2b
        movl    $page_directory + 3, pdpt
        movl    $pdpt + 3, pml4
        mov     $pml4, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
        mov     %eax, %cr4
        mov     $0xC0000080, %ecx       /* EFER: LME, NXE, SCE */
        rdmsr
        or      $0x901, %eax
        wrmsr
        mov     %cr0, %eax
        and     $~0xC, %eax             /* no EM, no TS */
        or      $0x80010022, %eax       /* PG, WP, NE, MP */
        mov     %eax, %cr0
        ljmp    $CODE64, $3f
        .code64
3:      mov     $stack_top, %rsp
        call    fill_tables
        lidt    idt_pointer(%rip)
        mov     $TSS, %eax
        ltr     %ax
        call    guest_main
        mov     %eax, %edi
        call    finish
#else
        mov     %cr4, %eax
        or      $0x600, %eax
        mov     %eax, %cr4
        mov     %cr0, %eax
        and     $~0xC, %eax
        or      $0x10022, %eax
        mov     %eax, %cr0
        call    fill_tables
        lidt    idt_pointer
        mov     $TSS, %eax
        ltr     %ax
        call    guest_main
        push    %eax
        call    finish
#endif

/* 256 stubs of 16 bytes: push a zero where the processor pushed no error code, then the vector. */
        .globl interrupt_stubs
        .align 16
interrupt_stubs:
        vector = 0
        .rept 256
        .align 16
        .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17)
        .else
        push    $0
        .endif
#ifdef LONG_MODE
        pushq   $vector
#else
        pushl   $vector
#endif
        jmp     common_interrupt
        vector = vector + 1
        .endr

common_interrupt:
#ifdef LONG_MODE
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        mov     %rsp, %rdi
        mov     %rsp, %rbx
        and     $-16, %rsp
        cld
        call    on_interrupt
        mov     %rbx, %rsp
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq
#else
        pusha
        push    %ds
        push    %es
        mov     $DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %esp, %eax
        push    %eax
        cld
        call    on_interrupt
        add     $4, %esp
        pop     %es
        pop     %ds
        popa
        add     $8, %esp
        iret
#endif

        .section .data
        .align 16
        .globl gdt
gdt:    .quad 0
        .quad 0x00CF9B000000FFFF        /* 08 code32 */
        .quad 0x00CF93000000FFFF        /* 10 data */
        .quad 0x00AF9B000000FFFF        /* 18 code64 */
        .quad 0x00CFFB000000FFFF        /* 20 user code32 */
        .quad 0x00CFF3000000FFFF        /* 28 user data */
        .quad 0x00AFFB000000FFFF        /* 30 user code64 */
        .quad 0x00009B000000FFFF        /* 38 code16 */
        .quad 0x000093000000FFFF        /* 40 data16 */
        .quad 0x00CF13000000FFFF        /* 48 data, not present */
        .globl gdt_tss
gdt_tss: .quad 0, 0                     /* 50 TSS, filled in by fill_tables */
        .globl gdt_free
gdt_free: .fill 8, 8, 0                 /* 60... for the guest */
gdt_end:
gdt_pointer:
        .word gdt_end - gdt - 1
#ifdef LONG_MODE
        .quad gdt
#else
        .long gdt
#endif
        .globl idt_pointer
idt_pointer:
        .word 256 * IDT_ENTRY - 1
#ifdef LONG_MODE
        .quad idt
#else
        .long idt
#endif

        .section .bss
        .align 4096
        .globl pml4, pdpt, page_directory, idt
pml4:   .skip 4096
pdpt:   .skip 4096
page_directory: .skip 4096
idt:    .skip 4096
        .skip 16384
        .globl stack_top
stack_top:
        .section .note.GNU-stack, "", @progbits
