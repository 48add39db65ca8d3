/* Self-modifying code: the next instruction, a loop body, across a page, through an alias, by a string store. kvm: any mode: 64 */
#include "runtime/runtime.h"

static u8 code[3 * 4096] __attribute__((aligned(4096)));

static u32 call(u8 *at)
{
    u32 result;
    asm volatile("call *%1" : "=a"(result) : "r"(at) : "rcx", "rdx", "rdi", "memory");
    return result;
}

/* mov eax, value; ret */
static void write_function(u8 *at, u32 value)
{
    volatile u8 *p = at;
    p[0] = 0xB8;
    *(volatile u32 *)(p + 1) = value;
    p[5] = 0xC3;
}

static void copy(u8 *to, const u8 *from, const u8 *end)
{
    while (from < end)
        *(volatile u8 *)to++ = *from++;
}

/* As the kernel copies code: by one string instruction of each size, from another place. */
static void copy_by_string(u8 *to, const u8 *from, int size)
{
    word count = 64 / size;
    switch (size) {
    case 1: asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
    case 4: asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
    default: asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
    }
}

extern u8 next_begin[], next_end[], loop_begin[], loop_end[], far_begin[], far_end[];
asm("next_begin:\n"                     /* rewrites the immediate of the instruction behind it */
    " lea 1f(%rip), %rdx\n movl $2, 1(%rdx)\n1: mov $1, %eax\n ret\nnext_end:\n"
    "loop_begin:\n"                     /* counts a patched increment: 1 then 2 then 4 ... */
    " xor %eax, %eax\n mov $5, %ecx\n lea 1f(%rip), %rdx\n mov $1, %edi\n"
    "1: add $1, %eax\n shl %edi\n mov %dil, 2(%rdx)\n loop 1b\n ret\nloop_end:\n"
    "far_begin:\n"                      /* rewrites itself by rep stosb: inc eax, four times, becomes nops */
    " mov $10, %eax\n lea 1f(%rip), %rdi\n mov %eax, %edx\n mov $0x90, %al\n mov $8, %ecx\n rep stosb\n mov %edx, %eax\n"
    "1: inc %eax\n inc %eax\n inc %eax\n inc %eax\n ret\nfar_end:\n");

int guest_main(void)
{
    write_function(code, 1);
    print("first: %d\n", call(code));
    write_function(code, 2);
    print("rewritten: %d\n", call(code));
    for (u32 i = 0; i < 1000; i++) {
        write_function(code, i);
        if (call(code) != i)
            print("lost write %d\n", i);
    }
    copy(code, next_begin, next_end);
    print("next instruction: %d\n", call(code));
    copy(code, loop_begin, loop_end);
    print("loop body: %d\n", call(code));
    copy(code, far_begin, far_end);
    print("rep stos over what follows: %d\n", call(code));

    static u8 source[64];
    u32 lost = 0;
    for (u32 i = 0; i < 300; i++) {
        write_function(source, i);
        copy_by_string(code + i % 5 * 64, source, i % 3 == 0 ? 1 : i % 3 == 1 ? 4 : 8);
        lost += call(code + i % 5 * 64) != i;
    }
    print("lost of 300 copies by rep movs: %d\n", lost);

    u8 *across = code + 4096 - 3; /* the immediate lies in the second page */
    write_function(across, 0x11);
    print("across pages: 0x%x\n", call(across));
    *(volatile u32 *)(across + 1) = 0x22222222;
    print("second page rewritten: 0x%x\n", call(across));
    across[2] = 0x33;
    print("first page rewritten: 0x%x\n", call(across));

    /* The second GiB maps the same RAM: writes through it must be seen too. */
    pdpt[1] = pdpt[0];
    WRITE_CR(3, READ_CR(3));
    write_function(code, 7);
    print("before the alias: %d\n", call(code));
    write_function(code + 0x40000000, 8);
    print("through the alias: %d\n", call(code));
    print("executed at the alias: %d\n", call(code + 0x40000000));
    print("done\n");
    return 0;
}
