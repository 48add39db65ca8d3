/* Legacy paging: two-level, 4 MiB pages, PAE with its pointer registers. mode: 32 */
#include "runtime/runtime.h"

#define WINDOW 0x40000000u
static u32 directory[1024] __attribute__((aligned(4096)));
static u32 table[1024] __attribute__((aligned(4096)));
static u32 low_table[1024] __attribute__((aligned(4096)));
static u64 pdptes[4] __attribute__((aligned(32)));
static u64 pae_directory[512] __attribute__((aligned(4096)));
static u64 pae_window[512] __attribute__((aligned(4096)));
static u64 pae_table[512] __attribute__((aligned(4096)));
static u8 frame[4096] __attribute__((aligned(4096)));

static void two_level(void)
{
    for (int i = 0; i < 1024; i++)
        low_table[i] = i << 12 | 3;
    directory[0] = (u32)low_table | 3;
    directory[WINDOW >> 22] = (u32)table | 3;
    table[0] = (u32)frame | 3;
    WRITE_CR(3, directory);
    WRITE_CR(0, READ_CR(0) | 0x80000000);
    *(volatile u32 *)WINDOW = 0x1234;
    print("two-level: 0x%x, entry flags 0x%x, directory flags 0x%x\n", *(u32 *)frame, table[0] & 0xFFF,
          directory[WINDOW >> 22] & 0xFFF);
    TRY("mov 0x40001000, %%eax");
    report("table entry not present");
    TRY("mov 0x50000000, %%eax");
    report("directory entry not present");
    table[0] = (u32)frame | 1;
    invlpg((void *)WINDOW);
    TRY("movl $1, 0x40000000");
    report("read-only");
    directory[WINDOW >> 22 | 1] = 0x400083;
    WRITE_CR(4, READ_CR(4) & ~0x10);
    WRITE_CR(3, READ_CR(3));
    TRY("mov 0x40400000, %%eax");
    caught.address = 0;
    print("4 MiB page without PSE: vector %d\n", (int)caught.vector);
    caught.resume = 0;
    WRITE_CR(4, READ_CR(4) | 0x10);
    TRY("mov 0x40500000, %%eax");
    report("4 MiB page");
    directory[WINDOW >> 22 | 1] |= 1 << 21;
    WRITE_CR(3, READ_CR(3));
    TRY("mov 0x40500000, %%eax");
    report("4 MiB page with a reserved bit");
    WRITE_CR(0, READ_CR(0) & ~0x80000000u);
}

static void pae(void)
{
    for (int i = 0; i < 512; i++)
        pae_directory[i] = (u64)i << 21 | 0x83;
    pdptes[0] = (u32)pae_directory | 1;
    pdptes[1] = (u32)pae_window | 1;
    pae_window[0] = (u32)pae_table | 3;
    pae_table[0] = (u32)frame | 3;
    WRITE_CR(3, pdptes);
    WRITE_CR(4, READ_CR(4) | 0x20);
    WRITE_CR(0, READ_CR(0) | 0x80000000);
    *(volatile u32 *)WINDOW = 0x5678;
    print("PAE: 0x%x, entry flags 0x%x\n", *(u32 *)frame, (u32)pae_table[0] & 0xFFF);
    pdptes[1] = 0;
    TRY("mov 0x40000000, %%eax");
    report("pointer cleared in memory only");
    WRITE_CR(3, READ_CR(3));
    TRY("mov 0x40000000, %%eax");
    report("pointer reloaded");
    pdptes[2] = 1 | 2;
    TRY("mov %0, %%cr3", "r"(READ_CR(3)));
    report("pointer with a reserved bit");
    pdptes[2] = 0;
    pdptes[1] = (u32)pae_window | 1;
    WRITE_CR(3, READ_CR(3));
    pae_table[0] |= 1ull << 63;
    invlpg((void *)WINDOW);
    TRY("mov 0x40000000, %%eax");
    report("NX without EFER.NXE");
    wrmsr(0xC0000080, rdmsr(0xC0000080) | 0x800);
    TRY("mov 0x40000000, %%eax");
    report("NX, read");
    TRY("mov $1f, %%ecx\n mov $0x40000000, %%edx\n jmp *%%edx\n 1:");
    report("NX, fetch");
    pae_table[0] |= 1ull << 52;
    invlpg((void *)WINDOW);
    TRY("mov 0x40000000, %%eax");
    report("reserved bit 52");
    WRITE_CR(0, READ_CR(0) & ~0x80000000u);
}

int guest_main(void)
{
    two_level();
    pae();
    print("done\n");
    return 0;
}
