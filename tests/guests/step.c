/* Debug exceptions: single step, RF, interrupt shadows, breakpoints on code and data. mode: 64 */
#include "runtime/runtime.h"

static volatile int steps;
static volatile word last_dr6, first_ip;
volatile u32 watched[4];

static int on_debug(struct frame *frame)
{
    last_dr6 = READ_DR(6) & 0xE00F;
    WRITE_DR(6, 0xFFFF0FF0);
    if (!steps++)
        first_ip = frame->ip;
    if (!(last_dr6 & 0x4000))
        frame->flags |= 1 << 16; /* RF: do not meet the same code breakpoint again */
    return 1;
}

static void result(const char *name)
{
    print("%s: %d traps, DR6 0x%lx\n", name, steps, last_dr6);
    steps = 0;
    last_dr6 = 0;
}

#define STEP "pushfq\n orl $0x100, (%%rsp)\n popfq\n"
#define UNSTEP "pushfq\n andl $~0x100, (%%rsp)\n popfq\n"

static void single_step(void)
{
    asm volatile(STEP "nop\n nop\n nop\n" UNSTEP : : : "memory", "cc");
    result("three nops");
    asm volatile(STEP "mov %%ss, %%eax\n mov %%eax, %%ss\n nop\n nop\n" UNSTEP : : : "rax", "memory", "cc");
    result("mov ss holds one back");
    asm volatile("lea watched(%%rip), %%rdi\n mov $4, %%ecx\n xor %%eax, %%eax\n cld\n" STEP "rep stosl\n" UNSTEP
                 : : : "rax", "rcx", "rdi", "memory", "cc");
    result("each repetition of rep stos");
    asm volatile(STEP "cpuid\n" UNSTEP : : "a"(0), "c"(0) : "rbx", "rdx", "memory", "cc");
    result("cpuid");
}

static void code_breakpoint(void)
{
    word at;
    asm volatile("lea 1f(%%rip), %0\n mov %0, %%dr0\n mov %1, %%dr7\n nop\n 1: nop\n nop"
                 : "=&r"(at) : "r"(0x401ull + 1) : "memory");
    print("stopped at the breakpoint: %s\n", first_ip == at ? "yes" : "no");
    WRITE_DR(7, 0x400);
    result("code breakpoint");
}

static void data_breakpoints(void)
{
    WRITE_DR(1, (word)&watched[1]);
    WRITE_DR(7, 0x400 | 1 << 2 | 1u << 20 | 3u << 22); /* write, 4 bytes */
    u32 value = watched[1];
    result("read of a write-watched word");
    watched[1] = value + 1;
    result("write to it");
    *(volatile u8 *)((u8 *)&watched[1] + 3) = 1;
    result("write to its last byte");
    watched[0] = watched[2] = 1;
    result("writes beside it");
    asm volatile("push watched+4(%rip)\n pop watched+4(%rip)");
    result("pop into it");
    WRITE_DR(7, 0x400 | 1 << 2 | 3u << 20 | 3u << 22); /* read or write */
    value = watched[1];
    result("read of a read-write-watched word");
    WRITE_DR(7, 0x400);
}

static void general_detect(void)
{
    WRITE_DR(7, 0x400 | 1 << 13);
    asm volatile("mov %%dr3, %%rax" : : : "rax");
    result("DR access under DR7.GD");
    print("DR7.GD now %d\n", (int)(READ_DR(7) >> 13 & 1));
}

int guest_main(void)
{
    handlers[1] = on_debug;
    single_step();
    code_breakpoint();
    data_breakpoints();
    general_detect();
    print("done\n");
    return 0;
}
