/* What an instruction leaves that faults: registers and flags as they were, strings as far as they came. mode: 64 */
#include "runtime/runtime.h"

enum { RAX, RBX, RCX, RDX, RSI, RDI, REGISTERS };
static const char *const names[REGISTERS] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi"};
#define ARITHMETIC 0x8D5 /* CF PF AF ZF SF OF */
#define EDGE 0x40200000ull /* the first byte that is not mapped; what lies before it is RAM */
#define BACKING 0x2000000ull

u64 in[REGISTERS], in_flags, resume;
static struct frame seen;
static int faults;
static u64 table[512] __attribute__((aligned(4096)));

static int note(struct frame *frame)
{
    seen = *frame;
    faults++;
    frame->ip = resume;
    return 1;
}

static void tell(const char *name)
{
    const u64 out[REGISTERS] = {seen.rax, seen.rbx, seen.rcx, seen.rdx, seen.rsi, seen.rdi};
    for (; *name; name += name[0] == '%' ? 2 : 1) /* in an asm string a register's sign is doubled */
        print("%c", *name);
    print(", flags 0x%x: ", (u32)in_flags & ARITHMETIC);
    if (faults != 1) {
        print("%d faults\n", faults);
        return;
    }
    print("#%d", (u32)seen.vector);
    for (int i = 0; i < REGISTERS; i++)
        if (out[i] != in[i])
            print(", %s by %s%d", names[i], out[i] < in[i] ? "-" : "+",
                  (u32)(out[i] < in[i] ? in[i] - out[i] : out[i] - in[i]));
    if ((seen.flags ^ in_flags) & ARITHMETIC)
        print(", flags become 0x%x", (u32)seen.flags & ARITHMETIC);
    print("\n");
}

/* Once with all flags set, once with none. RDI and RSI are given, RCX is 100. */
#define LEAVES(code, to)                                                                                               \
    for (int set_ = 1; set_ >= 0; set_--) {                                                                            \
        in[RAX] = 0x1122334455667788, in[RBX] = 0, in[RCX] = 100, in[RDX] = 0x0102030405060708;                        \
        in[RSI] = BACKING, in[RDI] = (to);                                                                             \
        in_flags = 2 | (set_ ? ARITHMETIC : 0);                                                                        \
        faults = 0;                                                                                                    \
        asm volatile("lea 771f(%%rip), %%rax\n mov %%rax, resume(%%rip)\n pushq in_flags(%%rip)\n popfq\n"             \
                     "mov in(%%rip), %%rax\n mov in+8(%%rip), %%rbx\n mov in+16(%%rip), %%rcx\n"                       \
                     "mov in+24(%%rip), %%rdx\n mov in+32(%%rip), %%rsi\n mov in+40(%%rip), %%rdi\n" code "\n771:\n"   \
                     :                                                                                                 \
                     :                                                                                                 \
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc");                                      \
        tell(code);                                                                                                    \
    }

static void arithmetic(void)
{
    LEAVES("div %%rbx", 0);
    LEAVES("div %%bl", 0);
    LEAVES("idiv %%ebx", 0);
    LEAVES("div %%ecx", 0);
    LEAVES("lock cmpxchg16b 8(%%rdi)", BACKING);
}

static void memory(void)
{
    LEAVES("add %%rax, (%%rdi)", EDGE);
    LEAVES("sub (%%rdi), %%rax", EDGE);
    LEAVES("adcb $1, (%%rdi)", EDGE);
    LEAVES("cmp %%rax, (%%rdi)", EDGE);
    LEAVES("testl $1, (%%rdi)", EDGE);
    LEAVES("incl (%%rdi)", EDGE);
    LEAVES("negq (%%rdi)", EDGE);
    LEAVES("shll $3, (%%rdi)", EDGE);
    LEAVES("rcll %%cl, (%%rdi)", EDGE);
    LEAVES("shld $5, %%rax, (%%rdi)", EDGE);
    LEAVES("btsl $3, (%%rdi)", EDGE);
    LEAVES("imul (%%rdi), %%rax", EDGE);
    LEAVES("mulq (%%rdi)", EDGE);
    LEAVES("bsf (%%rdi), %%rax", EDGE);
    LEAVES("popcnt (%%rdi), %%rax", EDGE);
    LEAVES("lock xadd %%rax, (%%rdi)", EDGE);
    LEAVES("lock cmpxchg %%rdx, (%%rdi)", EDGE);
    LEAVES("lock cmpxchg8b (%%rdi)", EDGE);
    LEAVES("comiss (%%rdi), %%xmm0", EDGE);
    LEAVES("ptest (%%rdi), %%xmm0", EDGE);
    LEAVES("push (%%rdi)", EDGE);
    LEAVES("xchg %%rax, (%%rdi)", EDGE);
    LEAVES("movzbl (%%rdi), %%eax", EDGE);
    LEAVES("cmovne (%%rdi), %%rax", EDGE);
}

static void across(void)
{
    *(volatile u64 *)(EDGE - 8) = 0xAAAAAAAAAAAAAAAA;
    LEAVES("mov %%rax, (%%rdi)", EDGE - 3);
    LEAVES("add %%rax, (%%rdi)", EDGE - 3);
    LEAVES("movdqu %%xmm0, (%%rdi)", EDGE - 3);
    LEAVES("lock incq (%%rdi)", EDGE - 3);
    print("before the edge: 0x%llx\n", *(volatile u64 *)(EDGE - 8));
}

static void strings(void)
{
    LEAVES("rep movsb", EDGE - 40);
    LEAVES("rep movsq", EDGE - 44);
    LEAVES("rep stosb", EDGE - 41);
    LEAVES("rep stosl", EDGE - 42);
    LEAVES("movsb", EDGE);
    LEAVES("stosq", EDGE - 4);
    LEAVES("scasb", EDGE);
    LEAVES("cmpsb", EDGE);
}

int guest_main(void)
{
    handlers[0] = handlers[13] = handlers[14] = note;
    table[0] = BACKING | 0x83; /* one page of 2 MiB */
    pdpt[1] = (word)table | 3;
    WRITE_CR(3, READ_CR(3));
    arithmetic();
    memory();
    across();
    strings();
    print("done\n");
    return 0;
}
