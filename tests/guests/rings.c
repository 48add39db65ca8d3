/* Ring transitions in IA-32e mode: IRET to each kind of code, SYSCALL, SYSRET, INT from ring 3, IST, I/O rights. mode: 64 */
#include "runtime/runtime.h"

STACK(user_stack);
STACK(ist_stack);
static volatile struct { word cs, ss, sp, flags, rax, rcx, r11; } seen;
static volatile word return_sp, return_ip;

/* Leaves ring 3: records the frame and goes back to where enter_user was called. */
static int on_service(struct frame *frame)
{
    seen.cs = frame->cs;
    seen.ss = frame->ss;
    seen.sp = frame->sp;
    seen.flags = frame->flags & ~0xD5ull;
    seen.rax = frame->rax;
    seen.rcx = frame->rcx;
    seen.r11 = frame->r11;
    frame->cs = CODE64;
    frame->ss = DATA;
    frame->sp = return_sp;
    frame->ip = return_ip;
    frame->flags = 2;
    return 1;
}

static int on_fault(struct frame *frame)
{
    if ((frame->cs & 3) != 3)
        return 0;
    print("  ring 3 met #%d(0x%lx)\n", (int)frame->vector, (word)frame->error);
    return on_service(frame);
}

static void enter_user(void *ip, word cs, word flags)
{
    asm volatile("push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
                 "mov %%rsp, return_sp(%%rip)\n lea 1f(%%rip), %%r8\n mov %%r8, return_ip(%%rip)\n"
                 "push %3\n push %4\n push %2\n push %1\n push %0\n iretq\n"
                 "1: pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx"
                 : : "r"(ip), "r"(cs), "r"(flags), "r"((word)USER_DATA), "r"(TOP(user_stack))
                 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void came_from(const char *name)
{
    print("%s: cs 0x%lx ss 0x%lx flags 0x%lx sp %s\n", name, seen.cs, seen.ss, seen.flags,
          seen.sp == (word)TOP(user_stack) ? "kept" : "changed");
}

extern u8 user_int[], user_cli[], user_hlt[], user_in[], user_read[], user_compat[], user_syscall[],
    user_after_sysret[], kernel_syscall[];
asm("user_int: int $0x70\n"
    "user_cli: cli\n int $0x70\n"
    "user_hlt: hlt\n"
    "user_in: in $0x60, %al\n int $0x70\n"
    "user_read: mov 0x40000000, %eax\n"
    "user_compat: .code32\n mov $0x12345678, %eax\n dec %eax\n int $0x70\n .code64\n"
    "user_syscall: syscall\n int $0x70\n"
    "kernel_syscall: mov %cs, %eax\n mov %ss, %edx\n shl $16, %edx\n or %edx, %eax\n mov %eax, syscall_selectors(%rip)\n"
    " pushfq\n pop syscall_flags(%rip)\n sysretq\n");
volatile u32 syscall_selectors;
volatile word syscall_flags;

static void system_call(void)
{
    wrmsr(0xC0000081, (u64)(USER32) << 48 | (u64)CODE32 << 32); /* STAR: SYSRET 23+16|3, SYSCALL 08 */
    wrmsr(0xC0000082, (u64)kernel_syscall);
    wrmsr(0xC0000084, 0x47700);
    enter_user(user_syscall, USER64, 0x202);
    came_from("syscall and sysret");
    print("  in the kernel: cs 0x%x ss 0x%x flags 0x%lx\n", syscall_selectors & 0xFFFF, syscall_selectors >> 16,
          syscall_flags & 0x47700);
    print("  r11 kept the flags: %s\n", (seen.r11 & ~0xD5ull) == 0x202 ? "yes" : "no");
    TRY("movabs $0x800000000000, %%rcx\n mov $2, %%r11d\n mov $0, %%eax");
    wrmsr(0xC0000080, rdmsr(0xC0000080) & ~1ull);
    TRY("syscall");
    report("syscall without EFER.SCE");
    wrmsr(0xC0000080, rdmsr(0xC0000080) | 1);
}

static void bad_returns(void)
{
    TRY("mov %%rsp, %%rdx\n push $0x10\n push %%rdx\n push $2\n push $0x10\n lea 1f(%%rip), %%rcx\n push %%rcx\n iretq\n 1:");
    report("iretq to a data segment");
    TRY("mov %%rsp, %%rdx\n push $0x2B\n push %%rdx\n push $2\n push $0x18\n lea 1f(%%rip), %%rcx\n push %%rcx\n iretq\n 1:");
    report("iretq to ring 0 with a ring-3 stack");
    TRY("mov %%rsp, %%rdx\n push $0x10\n push %%rdx\n push $2\n push $0x18\n movabs $0x800000000000, %%rcx\n push %%rcx\n iretq\n 1:");
    report("iretq to a non-canonical address");
    TRY("mov %%rsp, %%rdx\n push $0\n push %%rdx\n push $2\n push $0x18\n lea 1f(%%rip), %%rcx\n push %%rcx\n iretq\n 1:");
    asm volatile("mov %0, %%ss" : : "r"(DATA));
    report("iretq with a null stack segment at ring 0");
    TRY("pushfq\n orl $0x4000, (%%rsp)\n popfq\n mov %%rsp, %%rdx\n push $0x10\n push %%rdx\n push $2\n push $0x18\n"
        "lea 1f(%%rip), %%rcx\n push %%rcx\n iretq\n 1:");
    asm volatile("pushfq\n andl $~0x4000, (%rsp)\n popfq");
    report("iretq with NT");
}

int guest_main(void)
{
    /* Everything is user-accessible here, so that ring 3 can run in place. */
    for (int i = 0; i < 512; i++)
        page_directory[i] |= 4;
    pdpt[0] |= 4;
    pml4[0] |= 4;
    WRITE_CR(3, READ_CR(3));
    set_gate(0x70, interrupt_stubs + 16 * 0x70, CODE64, 0x6E, 0);
    handlers[0x70] = on_service;
    handlers[6] = handlers[13] = handlers[14] = on_fault;

    enter_user(user_int, USER64, 0x202);
    came_from("int from 64-bit ring 3");
    enter_user(user_compat, USER32, 0x202);
    came_from("int from compatibility mode");
    print("  dec eax gave 0x%lx\n", seen.rax);
    enter_user(user_cli, USER64, 0x202);
    came_from("cli at IOPL 0");
    enter_user(user_cli, USER64, 0x3202);
    came_from("cli at IOPL 3");
    enter_user(user_hlt, USER64, 0x3202);
    came_from("hlt at ring 3");
    enter_user(user_in, USER64, 0x202);
    came_from("in at IOPL 0");
    enter_user(user_in, USER64, 0x3202);
    came_from("in at IOPL 3");
    enter_user(user_read, USER64, 0x202);
    came_from("read of an unmapped page");
    system_call();
    bad_returns();

    set_ist(1, TOP(ist_stack));
    set_gate(0x70, interrupt_stubs + 16 * 0x70, CODE64, 0x6E, 1);
    enter_user(user_int, USER64, 0x202);
    came_from("int through an IST gate");
    print("done\n");
    return 0;
}
