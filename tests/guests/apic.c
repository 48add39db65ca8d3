/* The local APIC: timer modes, priorities, self IPIs, and the switch to x2APIC. mode: 64 */
#include "runtime/runtime.h"

#define APIC(offset) (*(volatile u32 *)(0xFEE00000ull + (offset)))
enum { TPR = 0x80, PPR = 0xA0, EOI = 0xB0, SVR = 0xF0, ISR = 0x100, IRR = 0x200, ICR = 0x300, ICR2 = 0x310,
       LVT_TIMER = 0x320, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3E0 };

static volatile u32 order[8], taken;
static int x2apic;

static void end_of_interrupt(void)
{
    if (x2apic)
        wrmsr(0x80B, 0);
    else
        APIC(EOI) = 0;
}

static int on_vector(struct frame *frame)
{
    order[taken++ & 7] = frame->vector;
    end_of_interrupt();
    return 1;
}

static void map_apic(void)
{
    static u64 pd[512] __attribute__((aligned(4096)));
    pd[0x1F7] = 0xFEE00000ull | 0x9B; /* uncached, 2 MiB */
    pdpt[3] = (u64)pd | 3;
}

static int waited(u32 count)
{
    u64 start = rdtsc();
    while (taken < count)
        if (rdtsc() - start > 20000000000ull)
            return 0;
    return 1;
}

static void self_ipi(u8 vector)
{
    if (x2apic)
        wrmsr(0x83F, vector);
    else {
        APIC(ICR) = 0x40000 | vector;
        while (APIC(ICR) & 0x1000)
            ;
    }
}

static void priorities(void)
{
    taken = 0;
    self_ipi(0x31);
    self_ipi(0x61);
    self_ipi(0x45);
    print("pending: %d %d %d\n", (int)(APIC(IRR + 0x10) >> 17 & 1), (int)(APIC(IRR + 0x30) >> 1 & 1),
          (int)(APIC(IRR + 0x20) >> 5 & 1));
    asm volatile("sti; nop; cli");
    for (int i = 0; i < 1000 && taken < 3; i++)
        asm volatile("sti; nop; cli");
    print("order: 0x%x 0x%x 0x%x\n", order[0], order[1], order[2]);
    taken = 0;
    asm volatile("mov %0, %%cr8" : : "r"(4ull));
    print("TPR 0x%x PPR 0x%x\n", APIC(TPR), APIC(PPR));
    self_ipi(0x45);
    asm volatile("sti; nop; nop; cli");
    print("held back by TPR: %s\n", taken ? "no" : "yes");
    asm volatile("mov %0, %%cr8" : : "r"(0ull));
    asm volatile("sti; nop; nop; cli");
    print("let through: %s\n", taken ? "yes" : "no");
}

static void timer(void)
{
    taken = 0;
    APIC(DIVIDE) = 0xB;
    APIC(LVT_TIMER) = 0x50;
    APIC(INITIAL) = 100000;
    asm volatile("sti");
    print("one-shot: %s\n", waited(1) ? "came" : "lost");
    print("count at rest: %d\n", APIC(CURRENT));
    APIC(LVT_TIMER) = 0x20050;
    APIC(INITIAL) = 100000;
    print("periodic: %s\n", waited(6) ? "five came" : "lost");
    APIC(INITIAL) = 0;
    APIC(LVT_TIMER) = 0x10050;
    asm volatile("cli");
    u32 r[4];
    cpuid(1, 0, r);
    if (r[2] >> 24 & 1) {
        taken = 0;
        APIC(LVT_TIMER) = 0x40050;
        asm volatile("mfence");
        wrmsr(0x6E0, rdtsc() + 1000000);
        asm volatile("sti");
        print("TSC deadline: %s\n", waited(1) ? "came" : "lost");
        asm volatile("cli");
        print("deadline at rest: %d\n", (int)rdmsr(0x6E0));
    } else
        print("no TSC deadline\n");
}

static void halt(void)
{
    taken = 0;
    APIC(LVT_TIMER) = 0x50;
    APIC(INITIAL) = 1000000;
    asm volatile("sti; hlt; cli");
    print("woken from HLT: %d\n", taken);
}

static void x2(void)
{
    u32 r[4];
    cpuid(1, 0, r);
    if (!(r[2] >> 21 & 1)) {
        print("no x2APIC\n");
        return;
    }
    wrmsr(0x1B, rdmsr(0x1B) | 0x400);
    x2apic = 1;
    print("id %d, base 0x%lx\n", (int)rdmsr(0x802), (word)rdmsr(0x1B));
    taken = 0;
    self_ipi(0x33);
    asm volatile("sti; nop; nop; cli");
    print("self IPI: 0x%x\n", order[0]);
    TRY("mov $0x809, %%ecx\n rdmsr");
    report("read of an absent x2APIC register");
    TRY("mov $0x80B, %%ecx\n mov $1, %%eax\n xor %%edx, %%edx\n wrmsr");
    report("EOI with a value");
    TRY("mov $0x1B, %%ecx\n mov $0xFEE00900, %%eax\n xor %%edx, %%edx\n wrmsr");
    report("x2APIC back to xAPIC");
}

int guest_main(void)
{
    map_apic();
    int vectors[] = {0x31, 0x33, 0x45, 0x50, 0x61};
    for (unsigned i = 0; i < sizeof vectors / sizeof *vectors; i++)
        handlers[vectors[i]] = on_vector;
    APIC(SVR) = 0x1FF;
    APIC(TPR) = 0;
    priorities();
    timer();
    halt();
    x2();
    print("done\n");
    return 0;
}
