/* Two processors: INIT, SIPI, real mode to long mode, IPIs both ways, locked counting, code written by the other. kvm: any mode: 64 cpus: 2 */
#include "runtime/runtime.h"

#define APIC(offset) (*(volatile u32 *)(0xFEE00000ull + (offset)))

extern u8 trampoline[], trampoline_end[];
asm(".pushsection .text\n .code16\n"
    "trampoline: cli\n xor %ax, %ax\n mov %ax, %ds\n"
    " lgdtl 0x8000 + (2f - trampoline)\n"
    " mov $0x620, %eax\n mov %eax, %cr4\n"
    " mov 0x8000 + (3f - trampoline), %eax\n mov %eax, %cr3\n"
    " mov $0xC0000080, %ecx\n mov $0x901, %eax\n xor %edx, %edx\n wrmsr\n"
    " mov $0x80010033, %eax\n mov %eax, %cr0\n"
    " ljmpl $0x18, $0x8000 + (1f - trampoline)\n"
    " .code64\n1: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
    " mov $second_stack + 8192, %esp\n lidt idt_pointer\n mov $second_main, %eax\n call *%rax\n"
    " .align 8\n2: .word 0x6F\n .long gdt\n"
    " .align 8\n3: .long pml4\n"
    "trampoline_end: .popsection\n");
STACK(second_stack) __attribute__((used));

static volatile u32 second_up, from_first, from_second, finished;
static volatile u64 counter;

static int on_ipi(struct frame *frame)
{
    if (frame->vector == 0x41)
        from_first++;
    else
        from_second++;
    APIC(0xB0) = 0;
    return 1;
}

static void send(u32 apic_id, u32 command)
{
    APIC(0x310) = apic_id << 24;
    APIC(0x300) = command;
    while (APIC(0x300) & 0x1000)
        ;
}

static void count(void)
{
    for (int i = 0; i < 20000; i++)
        asm volatile("lock incq %0" : "+m"(counter));
}

/* One processor writes a function that the other calls, turn after turn; calling follows serialization. */
enum { TURNS = 3000 };
static u8 code[4096] __attribute__((aligned(4096)));
static volatile u32 written, called, wrong;

static void write_in_turns(void)
{
    for (u32 turn = 1; turn <= TURNS; turn++) {
        *(volatile u8 *)code = 0xB8; /* mov eax, turn; ret */
        *(volatile u32 *)(code + 1) = turn;
        *(volatile u8 *)(code + 5) = 0xC3;
        written = turn;
        while (called != turn)
            asm volatile("pause");
    }
}

static void call_in_turns(void)
{
    for (u32 turn = 1; turn <= TURNS; turn++) {
        u32 registers[4], result;
        while (written != turn)
            asm volatile("pause");
        cpuid(0, 0, registers);
        asm volatile("call *%1" : "=a"(result) : "r"(code) : "memory");
        wrong += result != turn;
        called = turn;
    }
}

void second_main(void) __attribute__((used));
void second_main(void)
{
    APIC(0xF0) = 0x1FF;
    second_up = 1 + (APIC(0x20) >> 24);
    asm volatile("sti");
    while (!from_first)
        asm volatile("hlt");
    send(0, 0x42);
    count();
    call_in_turns();
    finished = 1;
    asm volatile("cli; hlt");
}

static int until(volatile u32 *flag)
{
    u64 start = rdtsc();
    while (!*flag)
        if (rdtsc() - start > 20000000000ull)
            return 0;
    return 1;
}

int guest_main(void)
{
    static u64 pd[512] __attribute__((aligned(4096)));
    pd[0x1F7] = 0xFEE00000ull | 0x9B;
    pdpt[3] = (u64)pd | 3;
    handlers[0x41] = handlers[0x42] = on_ipi;
    APIC(0xF0) = 0x1FF;
    for (u8 *p = trampoline; p < trampoline_end; p++)
        *(volatile u8 *)(0x8000ull + (p - trampoline)) = *p;
    send(1, 0x4500); /* INIT */
    u64 start = rdtsc();
    while (rdtsc() - start < 30000000)
        ;
    send(1, 0x4608); /* SIPI, page 8 */
    print("second processor: %s\n", until(&second_up) ? "up" : "absent");
    print("its APIC ID: %d\n", (int)second_up - 1);
    asm volatile("sti");
    send(1, 0x41);
    print("answer: %s\n", until(&from_second) ? "came" : "lost");
    count();
    write_in_turns();
    print("finished: %s\n", until(&finished) ? "yes" : "no");
    print("counted %lx, IPIs %d and %d\n", (word)counter, from_first, from_second);
    print("calls of what the other wrote: %d, wrong: %d\n", (int)called, (int)wrong);
    print("done\n");
    return 0;
}
