/* Four-level paging: accessed and dirty flags, rights, reserved bits, large pages, stale translations. mode: 64 */
#include "runtime/runtime.h"

enum { P = 1, W = 2, U = 4, A = 32, D = 64, PS = 128, G = 256 };
#define NX (1ull << 63)
#define WINDOW 0x40000000ull /* the second GiB: unmapped until we map it */

static u64 window_pd[512] __attribute__((aligned(4096)));
static u64 window_pt[512] __attribute__((aligned(4096)));
static u8 frame_a[4096] __attribute__((aligned(4096)));
static u8 frame_b[4096] __attribute__((aligned(4096)));
static volatile u32 *const window = (u32 *)WINDOW;

static void map(u64 entry)
{
    window_pt[0] = entry;
    invlpg((void *)WINDOW);
}

static void flags(const char *name)
{
    print("%s: A=%d D=%d\n", name, (int)(window_pt[0] >> 5 & 1), (int)(window_pt[0] >> 6 & 1));
}

static void accessed_and_dirty(void)
{
    map((u64)frame_a | P | W);
    flags("fresh");
    (void)*window;
    flags("after a read");
    *window = 1;
    flags("after a write");
    map((u64)frame_a | P | W);
    asm volatile("lock cmpxchgl %1, %0" : "+m"(*window) : "r"(5), "a"(99));
    flags("after a failed cmpxchg");
    print("directory: A=%d\n", (int)(window_pd[0] >> 5 & 1));
    map((u64)frame_a | P);
    TRY("movl $1, 0x40000000");
    report("write to a read-only page");
    print("after the fault: D=%d\n", (int)(window_pt[0] >> 6 & 1));
}

static void rights(void)
{
    WRITE_CR(0, READ_CR(0) & ~0x10000ull);
    TRY("movl $2, 0x40000000");
    report("the same with CR0.WP clear");
    WRITE_CR(0, READ_CR(0) | 0x10000);
    frame_a[0] = 0xC3; /* ret */
    map((u64)frame_a | P | W);
    TRY("mov $0x40000000, %%ecx\n call *%%rcx");
    report("call into an executable page");
    map((u64)frame_a | P | W | NX);
    TRY("mov $0x40000000, %%ecx\n call *%%rcx\n jmp 1f\n 1:");
    report("call into a no-execute page");
    map((u64)frame_a | P | W | 1ull << 51);
    TRY("mov 0x40000000, %%eax");
    report("reserved address bit");
    map(0);
    TRY("mov 0x40000000, %%eax");
    report("not present");
    window_pd[0] &= ~(u64)P;
    invlpg((void *)WINDOW);
    TRY("movl $1, 0x40000000");
    report("directory not present");
    window_pd[0] |= P;
    map((u64)frame_a | P | W | NX);
    wrmsr(0xC0000080, rdmsr(0xC0000080) & ~0x800ull);
    TRY("mov 0x40000000, %%eax");
    report("NX bit without EFER.NXE");
    wrmsr(0xC0000080, rdmsr(0xC0000080) | 0x800);
}

static void smep(void)
{
    u32 r[4];
    cpuid(7, 0, r);
    if (!(r[1] & 1 << 7)) {
        print("no SMEP\n");
        return;
    }
    map((u64)frame_a | P | W | U);
    TRY("mov $0x40000000, %%ecx\n call *%%rcx");
    report("supervisor fetch from a user page");
    WRITE_CR(4, READ_CR(4) | 1 << 20);
    TRY("mov $0x40000000, %%ecx\n call *%%rcx");
    report("the same under SMEP");
    WRITE_CR(4, READ_CR(4) & ~(1ull << 20));
}

static void stale(void)
{
    frame_a[0] = 0xAA;
    frame_b[0] = 0xBB;
    map((u64)frame_a | P | W);
    print("frame a: 0x%x\n", *window & 0xFF);
    map((u64)frame_b | P | W);
    print("frame b after INVLPG: 0x%x\n", *window & 0xFF);
    window_pt[0] = (u64)frame_a | P | W;
    WRITE_CR(3, READ_CR(3));
    print("frame a after CR3: 0x%x\n", *window & 0xFF);
    WRITE_CR(4, READ_CR(4) | 0x80); /* PGE */
    map((u64)frame_b | P | W | G);
    print("frame b, global: 0x%x\n", *window & 0xFF);
    window_pt[0] = (u64)frame_a | P | W;
    WRITE_CR(4, READ_CR(4) & ~0x80ull);
    print("frame a after clearing PGE: 0x%x\n", *window & 0xFF);
}

static void pcid(void)
{
    u32 r[4];
    cpuid(1, 0, r);
    if (!(r[2] & 1 << 17)) {
        print("no PCID\n");
        return;
    }
    WRITE_CR(4, READ_CR(4) | 1 << 17);
    word cr3 = READ_CR(3);
    map((u64)frame_a | P | W);
    print("PCID 0: 0x%x\n", *window & 0xFF);
    WRITE_CR(3, cr3 | 5);
    print("PCID 5: 0x%x\n", *window & 0xFF);
    window_pt[0] = (u64)frame_b | P | W;
    WRITE_CR(3, cr3 | 5); /* bit 63 clear: flushes PCID 5 */
    print("PCID 5, flushed: 0x%x\n", *window & 0xFF);
    TRY("mov %0, %%cr3", "r"(cr3 | 1ull << 62));
    report("reserved CR3 bit");
    WRITE_CR(3, cr3);
    TRY("mov %%cr0, %%rcx\n btr $31, %%rcx\n mov %%rcx, %%cr0");
    report("clear PG in 64-bit code under PCID");
    WRITE_CR(4, READ_CR(4) & ~(1ull << 17));
    WRITE_CR(3, cr3 | 7);
    TRY("mov %%cr4, %%rcx\n bts $17, %%rcx\n mov %%rcx, %%cr4");
    report("set PCIDE with CR3[11:0] not 0");
    WRITE_CR(3, cr3);
}

static void large(void)
{
    window_pd[1] = 0x200000ull | P | W | PS;
    print("2 MiB page: %s\n", *(u32 *)(WINDOW + 0x200000 + 0x1234) == *(u32 *)0x201234 ? "same" : "different");
    window_pd[2] = 0x202000ull | P | W | PS; /* bit 12 would be PAT */
    TRY("mov 0x40400000, %%eax");
    report("2 MiB page with a reserved bit");
    u32 r[4];
    cpuid(0x80000001, 0, r);
    if (!(r[3] & 1 << 26)) {
        print("no 1 GiB pages\n");
        return;
    }
    pdpt[2] = P | W | PS;
    print("1 GiB page: %s\n", *(u32 *)(0x80000000ull + 0x100000) == *(u32 *)0x100000 ? "same" : "different");
    pdpt[3] = 0x200000ull | P | W | PS;
    TRY("mov $0xC0000000, %%ecx\n mov (%%rcx), %%eax");
    report("1 GiB page with a reserved bit");
}

int guest_main(void)
{
    window_pd[0] = (u64)window_pt | P | W | U;
    pdpt[1] = (u64)window_pd | P | W | U;
    pml4[0] |= U;
    WRITE_CR(3, READ_CR(3));
    accessed_and_dirty();
    rights();
    smep();
    stale();
    pcid();
    large();
    print("done\n");
    return 0;
}
