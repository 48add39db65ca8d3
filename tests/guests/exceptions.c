/* Every exception that 64-bit ring-0 code can raise, with its error code. mode: 64 */
#include "runtime/runtime.h"

u32 mxcsr = 0x1F80 & ~0x200; /* divide-by-zero unmasked */
u16 fcw = 0x037F & ~0x4;     /* zero-divide unmasked */
static const u32 default_mxcsr = 0x1F80;
float zero[4] __attribute__((aligned(16)));

static void arithmetic(void)
{
    TRY("xor %%edx, %%edx\n xor %%ecx, %%ecx\n div %%ecx");
    report("div by zero");
    TRY("mov $2, %%edx\n mov $1, %%ecx\n div %%ecx");
    report("div overflow");
    TRY("mov $0x80, %%eax\n mov $0xFFFFFFFF, %%ecx\n cdq\n mov $0x80000000, %%eax\n cdq\n idiv %%ecx");
    report("idiv overflow");
    TRY("ldmxcsr mxcsr(%%rip)\n pcmpeqd %%xmm0, %%xmm0\n psrld $25, %%xmm0\n pslld $23, %%xmm0\n"
        "divps zero(%%rip), %%xmm0");
    report("divps by zero, unmasked");
    asm volatile("ldmxcsr %0" : : "m"(*(u32 *)&default_mxcsr));
    TRY("fninit\n fldcw fcw(%%rip)\n fld1\n fldz\n fdivrp\n fwait");
    report("fdiv by zero, unmasked");
    asm volatile("fnclex; fninit");
}

static void control_flow(void)
{
    TRY("int3");
    report("int3");
    TRY("int $0x80");
    report("int 0x80 through a DPL 0 gate at CPL 0");
    TRY(".byte 0xF1");
    report("int1");
    TRY("ud2");
    report("ud2");
    TRY(".byte 0x06");
    report("push es");
    TRY(".byte 0x0F, 0xFF, 0xC0");
    report("ud0");
    TRY(".byte 0xF0, 0x01, 0xC0");
    report("lock add register");
    TRY(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
    report("16-byte instruction");
}

static void segments(void)
{
    TRY("mov %0, %%ds", "r"(NOT_PRESENT));
    report("load a not-present data segment");
    TRY("mov %0, %%ss", "r"(NOT_PRESENT));
    report("load a not-present stack segment");
    TRY("mov %0, %%ds", "r"(0xFFF8));
    report("load beyond the GDT");
    TRY("mov %0, %%ss", "r"(USER_DATA));
    report("load a user stack segment");
    TRY("mov %0, %%cs", "r"(DATA));
    report("mov cs");
    TRY("ltr %w0", "r"(DATA));
    report("ltr of data");
    TRY("lldt %w0", "r"(DATA));
    report("lldt of data");
    TRY("pushq %0\n lea 1f(%%rip), %%rcx\n push %%rcx\n lretq\n 1: pop %%rcx\n pop %%rcx", "i"(DATA));
    report("far return to data");
}

static void memory(void)
{
    TRY("mov 0x40000000, %%eax");
    report("read unmapped");
    TRY("movl $1, 0x40000000");
    report("write unmapped");
    TRY("lock incl 0x40000000");
    report("locked write unmapped");
    TRY("mov $0x40000000, %%ecx\n jmp *%%rcx");
    report("fetch unmapped");
    TRY("movabs $0x800000000000, %%rcx\n mov (%%rcx), %%eax");
    report("non-canonical read");
    TRY("movabs $0x800000000000, %%rcx\n mov (%%rsp, %%rcx), %%eax");
    report("non-canonical stack read");
    TRY("movaps zero+4(%%rip), %%xmm0");
    report("movaps unaligned");
    TRY("mov $0xC0000999, %%ecx\n rdmsr");
    report("rdmsr unknown");
    TRY("mov $0xC0000100, %%ecx\n mov $0x8000, %%edx\n wrmsr");
    report("wrmsr non-canonical FS base");
}

static void coprocessor(void)
{
    WRITE_CR(0, READ_CR(0) | 8);
    TRY("fnop");
    report("x87 with TS");
    TRY("pxor %%xmm0, %%xmm0");
    report("SSE with TS");
    WRITE_CR(0, (READ_CR(0) & ~8) | 4);
    TRY("fnop");
    report("x87 with EM");
    TRY("pxor %%xmm0, %%xmm0");
    report("SSE with EM");
    WRITE_CR(0, READ_CR(0) & ~4);
    WRITE_CR(4, READ_CR(4) & ~0x200);
    TRY("pxor %%xmm0, %%xmm0");
    report("SSE without OSFXSR");
    WRITE_CR(4, READ_CR(4) | 0x200);
}

int guest_main(void)
{
    arithmetic();
    control_flow();
    segments();
    memory();
    coprocessor();
    print("done\n");
    return 0;
}
