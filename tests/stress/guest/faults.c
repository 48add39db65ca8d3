/* Where a fault stops a program: at the very instruction, with every register and flag as it came there. */
#include "check.h"
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#define PAGE 4096
#define ARITHMETIC 0x8D5u /* CF PF AF ZF SF OF */
#define NO_ADDRESS 0

static uint8_t *edge; /* the first byte of a page that nobody may touch, behind two that all may */
static uint8_t *sealed; /* a page that can only be read */

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, REGISTERS = 16 };
static const int places[REGISTERS] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
                                      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

struct state {
    uint64_t value[REGISTERS];
    uint64_t flags;
};

struct state in, expected;
static struct {
    const char *name;
    void (*function)(void);
    uint8_t *at, *behind;
    int signal;
} current;
static volatile int caught;
static uint64_t fault_address;
static uint64_t flags_compared;

/* Loads every register but RSP from `in`, which learns RSP, and the flags; then runs what shall fault. */
#define CASE(label, instruction)                                                                                       \
    extern void label(void);                                                                                           \
    extern uint8_t label##_fault[], label##_behind[];                                                                  \
    __asm__(".text\n" #label ":\n"                                                                                     \
            "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"                                  \
            "mov %rsp, in+56(%rip)\n"                                                                                  \
            "pushq in+128(%rip)\n popfq\n"                                                                             \
            "mov in+0(%rip), %rax\n mov in+8(%rip), %rbx\n mov in+16(%rip), %rcx\n mov in+24(%rip), %rdx\n"            \
            "mov in+32(%rip), %rsi\n mov in+40(%rip), %rdi\n mov in+48(%rip), %rbp\n"                                  \
            "mov in+64(%rip), %r8\n mov in+72(%rip), %r9\n mov in+80(%rip), %r10\n mov in+88(%rip), %r11\n"            \
            "mov in+96(%rip), %r12\n mov in+104(%rip), %r13\n mov in+112(%rip), %r14\n mov in+120(%rip), %r15\n"       \
            #label "_fault: " instruction "\n" #label "_behind:\n"                                                     \
            "mov in+56(%rip), %rsp\n cld\n"                                                                            \
            "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n")

#define RUN(label, number)                                                                                             \
    do {                                                                                                               \
        current.name = #label;                                                                                         \
        current.function = label;                                                                                      \
        current.at = label##_fault;                                                                                    \
        current.behind = label##_behind;                                                                               \
        current.signal = number;                                                                                       \
        run();                                                                                                         \
    } while (0)

CASE(load, "mov (%rdi), %rax");
CASE(load_widened, "movsbq (%rdi), %rbx");
CASE(store, "mov %rax, -56(%rdi,%rcx,8)");
CASE(store_constant, "movl $0x12345678, (%rdi)");
CASE(add_to_memory, "add %rax, (%rdi)");
CASE(add_from_memory, "adc (%rdi), %rax");
CASE(compare_memory, "cmpb $1, (%rdi)");
CASE(exchange, "lock cmpxchg %rdx, (%rdi)");
CASE(exchange_wide, "lock cmpxchg16b (%rdi)");
CASE(exchange_add, "lock xadd %rdx, (%rdi)");
CASE(push_memory, "push (%rdi)");
CASE(pop_memory, "pop (%rdi)");
CASE(call_memory, "call *(%rdi)");
CASE(jump_memory, "jmp *(%rdi)");
CASE(bit_set, "btsl %ecx, (%rdi)");
CASE(rotate, "rclq $3, (%rdi)");
CASE(multiply, "mulq (%rdi)");
CASE(vector_load, "movdqu (%rdi), %xmm3");
CASE(vector_store, "movdqu %xmm3, (%rdi)");
CASE(x87_load, "fldt (%rdi)");
CASE(x87_store, "fnstcw (%rdi)");
CASE(copy, "rep movsb");
CASE(fill, "rep stosq");
CASE(compare, "repe cmpsb");
CASE(divide, "div %rbx");
CASE(illegal, "ud2");
CASE(privileged, "hlt");
CASE(port, "in %dx, %al");
CASE(misaligned, "movaps (%rdi), %xmm0");
CASE(noncanonical, "mov (%rdi), %rax");

static void compare_state(const mcontext_t *machine)
{
    for (int i = 0; i < REGISTERS; i++) {
        uint64_t value = machine->gregs[places[i]], wanted = i == RSP ? in.value[RSP] : expected.value[i];
        if (value != wanted)
            WRONG("%s: register %d is %#lx instead of %#lx", current.name, i, value, wanted);
    }
    if ((machine->gregs[REG_EFL] ^ expected.flags) & flags_compared)
        WRONG("%s: flags %#llx instead of %#lx", current.name, machine->gregs[REG_EFL], expected.flags);
}

static void handle(int number, siginfo_t *information, void *context)
{
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    if (caught++ > 0 || number != current.signal) {
        printf("%s: signal %d, number %d, at %#llx\n", current.name, number, caught, machine->gregs[REG_RIP]);
        _exit(2);
    }
    if (machine->gregs[REG_RIP] != (greg_t)current.at)
        WRONG("%s: at %#llx instead of %p", current.name, machine->gregs[REG_RIP], (void *)current.at);
    if (fault_address != NO_ADDRESS && information->si_addr != (void *)fault_address)
        WRONG("%s: address %p instead of %#lx", current.name, information->si_addr, fault_address);
    compare_state(machine);
    machine->gregs[REG_RIP] = (greg_t)current.behind;
}

static void run(void)
{
    caught = 0;
    current.function();
    if (caught != 1)
        WRONG("%s: %d signals instead of one", current.name, caught);
}

/* Random registers; the fault will be at `address`, and so is RDI. RCX suits the scaled cases. */
static void prepare(uint8_t *address)
{
    for (int i = 0; i < REGISTERS; i++)
        in.value[i] = random64();
    in.value[RCX] = 7;
    in.value[RDI] = (uint64_t)address;
    in.flags = 0x202 | (random64() & ARITHMETIC);
    expected = in;
    fault_address = (uint64_t)address;
    flags_compared = ARITHMETIC;
}

#define FAULT(label, address, number)                                                                                  \
    do {                                                                                                               \
        prepare(address);                                                                                              \
        RUN(label, number);                                                                                            \
    } while (0)

static void forbidden_reads(void)
{
    FAULT(load, edge, SIGSEGV);
    FAULT(load_widened, edge, SIGSEGV);
    FAULT(add_from_memory, edge, SIGSEGV);
    FAULT(compare_memory, edge, SIGSEGV);
    FAULT(push_memory, edge, SIGSEGV);
    FAULT(call_memory, edge, SIGSEGV);
    FAULT(jump_memory, edge, SIGSEGV);
    FAULT(multiply, edge, SIGSEGV);
    FAULT(vector_load, edge, SIGSEGV);
    FAULT(x87_load, edge, SIGSEGV);
}

static void forbidden_writes(uint8_t *page)
{
    FAULT(store, page, SIGSEGV);
    FAULT(store_constant, page, SIGSEGV);
    FAULT(add_to_memory, page, SIGSEGV);
    FAULT(exchange, page, SIGSEGV);
    FAULT(exchange_wide, page, SIGSEGV);
    FAULT(exchange_add, page, SIGSEGV);
    FAULT(bit_set, page, SIGSEGV);
    FAULT(rotate, page, SIGSEGV);
    FAULT(pop_memory, page, SIGSEGV);
    FAULT(vector_store, page, SIGSEGV);
    FAULT(x87_store, page, SIGSEGV);
}

/* What crosses into the forbidden page may not change what lies before it. */
static void across_the_edge(void)
{
    uint64_t before = random64();
    memcpy(edge - 8, &before, 8);
    prepare(edge - 3);
    fault_address = (uint64_t)edge;
    RUN(store, SIGSEGV);
    RUN(add_to_memory, SIGSEGV);
    RUN(exchange_add, SIGSEGV);
    RUN(rotate, SIGSEGV);
    RUN(vector_store, SIGSEGV);
    RUN(load, SIGSEGV);
    if (memcmp(edge - 8, &before, 8) != 0)
        WRONG("a store across the edge changed what is before it");
}

/* Strings stop at the element that faults, with the registers of that moment. */
static void strings(void)
{
    uint64_t done = random64() % 4000;
    memset(edge - 2 * PAGE, 0, 2 * PAGE);
    prepare(edge - done);
    in.value[RSI] = (uint64_t)sealed;
    in.value[RCX] = done + 50;
    expected = in;
    expected.value[RDI] = fault_address = (uint64_t)edge;
    expected.value[RSI] += done;
    expected.value[RCX] -= done;
    RUN(copy, SIGSEGV);
    if (memcmp(edge - done, sealed, done) != 0)
        WRONG("copy: what lies before the fault is not copied");

    memcpy(edge - done, sealed, done);
    flags_compared = 0; /* the manual has them as before the instruction, processors as after the last element */
    RUN(compare, SIGSEGV);

    uint64_t words = done / 8;
    prepare(edge - 8 * words - 4);
    in.value[RCX] = words + 9;
    expected = in;
    expected.value[RDI] += 8 * words;
    expected.value[RCX] -= words;
    fault_address = (uint64_t)edge;
    memset(edge - 4, 0x5A, 4);
    RUN(fill, SIGSEGV);
    if (memcmp(edge - 4, "\x5A\x5A\x5A\x5A", 4) != 0)
        WRONG("fill: the element that faults was written in part");
}

static void other_faults(void)
{
    prepare(edge - 64);
    in.value[RBX] = expected.value[RBX] = 0;
    fault_address = (uint64_t)divide_fault;
    RUN(divide, SIGFPE);
    in.value[RBX] = expected.value[RBX] = in.value[RDX] = expected.value[RDX] = random64() | 1; /* a quotient too wide */
    RUN(divide, SIGFPE);
    FAULT(illegal, illegal_fault, SIGILL);
    prepare(edge - 63);
    fault_address = NO_ADDRESS;
    RUN(privileged, SIGSEGV);
    RUN(port, SIGSEGV);
    RUN(misaligned, SIGSEGV);
    in.value[RDI] = expected.value[RDI] = 0x8000000000000000 | (random64() >> 2);
    RUN(noncanonical, SIGSEGV);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < 4; i++)
        MUST(sigaction((int[]){SIGSEGV, SIGFPE, SIGILL, SIGBUS}[i], &action, NULL) == 0);
    uint8_t *pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(pages != MAP_FAILED);
    edge = pages + 2 * PAGE;
    sealed = pages + 3 * PAGE;
    for (int i = 0; i < PAGE; i++)
        sealed[i] = random64();
    MUST(mprotect(edge, PAGE, PROT_NONE) == 0 && mprotect(sealed, PAGE, PROT_READ) == 0);
    for (int i = rounds(argc, argv) * 20; i > 0; i--) {
        forbidden_reads();
        forbidden_writes(edge);
        forbidden_writes(sealed + 64);
        across_the_edge();
        strings();
        other_faults();
    }
    return verdict("faults");
}
