/* Real mode, unreal mode, virtual-8086 mode and back. mode: 32 */
#include "runtime/runtime.h"

extern u32 tss[32];
STACK(v86_kernel_stack);

static void put_bytes(u32 at, const u8 *bytes, int n)
{
    for (int i = 0; i < n; i++)
        *(volatile u8 *)(at + i) = bytes[i];
}

extern u8 switch_begin[], switch_end[], switch_to_real[], ivt_de[], ivt_int[], ivt_ud[], ivt_gp[];
/* The switch itself, copied to 0x7000 and entered in 16-bit protected mode; DS is 0 in real mode. */
asm(".code16\n"
    "switch_begin:\n"
    "switch_to_real:\n"
    " mov $0x40, %ax\n mov %ax, %ds\n mov %ax, %es\n mov %ax, %ss\n"
    " mov %cr0, %eax\n and $0xFE, %al\n mov %eax, %cr0\n"
    " ljmp $0, $(1f - switch_begin + 0x7000)\n"
    "1: xor %ax, %ax\n mov %ax, %ds\n mov %ax, %es\n mov %ax, %ss\n mov $0x6F00, %sp\n"
    " lidt 0x7F00\n"
    " movl $0x11, 0x500\n"                              /* alive */
    " int $0x21\n"                                      /* through the IVT */
    " xor %cx, %cx\n xor %dx, %dx\n mov $1, %ax\n div %cx\n" /* #DE: handler skips the 2 bytes */
    " ud2\n"
    " mov $0xFFFF, %bx\n mov (%bx), %ax\n nop\n nop\n"  /* word across the limit: #GP; skips 4 bytes */
    " mov $0x7100, %ax\n mov %ax, %fs\n mov %fs:0, %al\n mov %al, 0x504\n" /* segment base = selector * 16 */
    " push $0x1234\n pop %bx\n mov %bx, 0x508\n"
    " pushf\n pop %ax\n mov %ax, 0x50C\n"
    " smsw %ax\n mov %ax, 0x510\n"
    " lgdtl 0x7F08\n"
    " mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
    " ljmpl $0x08, $back_from_real\n"
    "ivt_de: incw 0x520\n push %bp\n mov %sp, %bp\n addw $2, 2(%bp)\n pop %bp\n iret\n"
    "ivt_int: incw 0x522\n iret\n"
    "ivt_ud: incw 0x524\n push %bp\n mov %sp, %bp\n addw $2, 2(%bp)\n pop %bp\n iret\n"
    "ivt_gp: incw 0x526\n push %bp\n mov %sp, %bp\n addw $4, 2(%bp)\n pop %bp\n iret\n"
    "switch_end:\n"
    ".code32\n");

static void vector(int number, u8 *handler)
{
    *(volatile u32 *)(4 * number) = 0x7000 + (handler - switch_begin);
}

static void real_mode(void)
{
    put_bytes(0x7000, switch_begin, switch_end - switch_begin);
    for (int i = 0x500; i < 0x540; i++)
        *(volatile u8 *)i = 0;
    vector(0, ivt_de), vector(0x21, ivt_int), vector(6, ivt_ud), vector(13, ivt_gp);
    *(volatile u8 *)0x71000 = 0x77;
    *(volatile u16 *)0x7F00 = 0x3FF;
    *(volatile u32 *)0x7F02 = 0;
    *(volatile u16 *)0x7F08 = 0x9F;
    *(volatile u32 *)0x7F0A = (u32)gdt;
    asm volatile("pusha\n mov %%esp, 0x7F80\n ljmp $0x38, $0x7000\n"
                 ".globl back_from_real\nback_from_real:\n mov $0x10, %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n"
                 "mov %%eax, %%ss\n mov %%eax, %%fs\n mov %%eax, %%gs\n mov 0x7F80, %%esp\n lidt idt_pointer\n popa"
                 : : : "memory", "cc");
    volatile u16 *counts = (u16 *)0x520;
    print("real mode: alive 0x%x, #DE %d, int %d, #UD %d, #GP %d\n", *(volatile u32 *)0x500, counts[0], counts[1],
          counts[2], counts[3]);
    print("  fs base 0x%x, pop 0x%x, flags 0x%x, smsw bit 0 %d\n", *(volatile u8 *)0x504, *(volatile u16 *)0x508,
          *(volatile u16 *)0x50C & 0x7300, *(volatile u16 *)0x510 & 1);
}

static volatile u32 v86_stops, v86_ip[8], v86_cs, v86_flags, v86_ax, v86_vector[8];
static volatile u32 resume_sp;

/* Virtual-8086 code stops by faults; the frame then has es ds fs gs above ss. */
static int on_v86(struct frame *frame)
{
    if (!(frame->flags & 1 << 17))
        return 0;
    u32 n = v86_stops++;
    v86_vector[n & 7] = frame->vector;
    v86_ip[n & 7] = frame->ip - 0x7000;
    v86_cs = frame->cs;
    v86_flags = frame->flags;
    v86_ax = frame->eax;
    u8 opcode = *(volatile u8 *)(frame->cs * 16 + frame->ip);
    if (opcode != 0xF4) { /* step over it; HLT ends the visit */
        frame->ip += opcode == 0xCD ? 2 : 1;
        return 1;
    }
    asm volatile("mov resume_sp, %%esp\n ret" : : : "memory");
    return 1;
}

extern u8 v86_begin[], v86_end[];
asm(".code16\n"
    "v86_begin: mov $0x1111, %ax\n mov %ax, %ds\n mov %ds, %bx\n add %bx, %ax\n"
    " cli\n sti\n pushf\n popf\n int $0x21\n hlt\n"
    "v86_end:\n .code32\n");

/* Pushes callee-saved registers and enters; on_v86 returns through resume_sp. */
void enter_v86(u32 flags);
asm("enter_v86: mov 4(%esp), %eax\n push %ebx\n push %esi\n push %edi\n push %ebp\n push $1f\n mov %esp, resume_sp\n"
    " push $0x3333\n push $0x4444\n push $0x5555\n push $0x6666\n" /* gs fs ds es */
    " push $0\n push $0x6F00\n push %eax\n push $0\n push $0x7000\n iret\n"
    "1: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %fs\n mov %eax, %gs\n"
    " pop %ebp\n pop %edi\n pop %esi\n pop %ebx\n ret\n");

static void visit(const char *name, u32 flags)
{
    v86_stops = 0;
    enter_v86(flags);
    print("%s: %d stops:", name, v86_stops);
    for (u32 i = 0; i < v86_stops && i < 8; i++)
        print(" #%d at %d", v86_vector[i], v86_ip[i]);
    print(", ax 0x%x, VM %d\n", v86_ax & 0xFFFF, v86_flags >> 17 & 1);
}

static void v86_mode(void)
{
    set_kernel_stack(TOP(v86_kernel_stack));
    put_bytes(0x7000, v86_begin, v86_end - v86_begin);
    handlers[13] = on_v86;
    visit("virtual-8086 at IOPL 0", 1 << 17 | 2);
    visit("virtual-8086 at IOPL 3", 1 << 17 | 3 << 12 | 2);
}

int guest_main(void)
{
    real_mode();
    v86_mode();
    print("done\n");
    return 0;
}
