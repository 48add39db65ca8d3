/* A program watched while it runs: single steps by its own trap flag and by a debugger, breakpoints and watchpoints. */
#include "check.h"
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100
#define STEPS (2 + 4 * 4 + 3 + 1 + 1) /* what `walk` executes from its begin to its end */

extern uint8_t walk_begin[], walk_end[], watched_store[], watched_add[], watched_fill[], watched_load[];
extern void walk(void), watched(void);
uint32_t watched_word;
uint8_t walk_buffer[16];

__asm__(".text\nwalk:\n"
        "walk_begin: mov $4, %ecx\n lea walk_buffer(%rip), %rdi\n"
        "1: lea 1(%rax), %rax\n add %rax, %rdx\n dec %ecx\n jnz 1b\n"
        "mov $3, %ecx\n rep stosb\n" /* three iterations, and each is a step: with `mov` one more than counted above */
        "walk_end: ret\n"
        "watched:\n"
        " movl $1, watched_word(%rip)\nwatched_store:\n"
        " addl $2, watched_word(%rip)\nwatched_add:\n"
        " lea watched_word(%rip), %rdi\n mov $4, %ecx\n xor %eax, %eax\n rep stosb\nwatched_fill:\n"
        " mov watched_word(%rip), %eax\nwatched_load:\n"
        " ret\n");

/* ---- by the trap flag ---- */

static volatile int traps;
static volatile uint64_t last_trap;

static void handle_trap(int number, siginfo_t *information, void *context)
{
    (void)number, (void)information;
    uint64_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (at >= (uint64_t)walk_begin && at <= (uint64_t)walk_end) {
        traps++;
        last_trap = at;
    }
}

static void by_trap_flag(int count)
{
    struct sigaction action = {.sa_sigaction = handle_trap, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL) == 0);
    for (int i = 0; i < 5 * count; i++) {
        traps = 0;
        __asm__ volatile("sub $128, %%rsp\n pushfq\n orq %0, (%%rsp)\n popfq\n call walk\n"
                         "pushfq\n andq %1, (%%rsp)\n popfq\n add $128, %%rsp\n"
                         :
                         : "i"(TRAP_FLAG), "i"(~TRAP_FLAG)
                         : "rax", "rcx", "rdx", "rdi", "memory", "cc");
        if (traps != STEPS || last_trap != (uint64_t)walk_end)
            WRONG("by trap flag: %d steps instead of %d, the last at %#lx", traps, STEPS, last_trap);
    }
    signal(SIGTRAP, SIG_DFL);
}

/* ---- by a debugger ---- */

static pid_t start(void function(void), int count)
{
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        for (int i = 0; i < count; i++)
            __asm__ volatile("sub $128, %%rsp\n call *%0\n add $128, %%rsp\n" ::"r"(function)
                             : "rax", "rcx", "rdx", "rdi", "memory", "cc");
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    return child;
}

/* Lets the child go on in the given way. Its RIP where it stops next; 0 once it has ended. */
static uint64_t resume(pid_t child, int how)
{
    int status;
    struct user_regs_struct registers;
    MUST(ptrace(how, child, NULL, NULL) == 0);
    MUST(waitpid(child, &status, 0) == child);
    if (!WIFSTOPPED(status)) {
        if (status != 0)
            WRONG("the child ends with status %#x", status);
        return 0;
    }
    if (WSTOPSIG(status) != SIGTRAP)
        WRONG("the child stops by signal %d", WSTOPSIG(status));
    MUST(ptrace(PTRACE_GETREGS, child, NULL, &registers) == 0);
    return registers.rip;
}

static void set_debug_register(pid_t child, int number, uint64_t value)
{
    MUST(ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[number]), value) == 0);
}

static void by_steps(int count)
{
    pid_t child = start(walk, count);
    int steps = 0;
    uint64_t at, before = 0;
    while ((at = resume(child, PTRACE_SINGLESTEP)) != 0) {
        steps += at >= (uint64_t)walk_begin && at <= (uint64_t)walk_end;
        if (at == (uint64_t)walk_begin && before == at)
            WRONG("by steps: it stays where it is");
        before = at;
    }
    if (steps != STEPS * count)
        WRONG("by steps: %d instead of %d", steps, STEPS * count);
}

static void expect_at(const char *what, uint64_t at, uint8_t *wanted)
{
    if (at != (uint64_t)wanted)
        WRONG("%s: the child stops at %#lx instead of %p", what, at, (void *)wanted);
}

static void by_breakpoints(int count)
{
    pid_t child = start(walk, count);
    set_debug_register(child, 0, (uint64_t)walk_end);
    set_debug_register(child, 7, 1); /* DR7: L0, execution */
    for (int i = 0; i < count; i++)
        expect_at("breakpoint", resume(child, PTRACE_CONT), walk_end);
    expect_at("breakpoint, in the end", resume(child, PTRACE_CONT), NULL);
}

static void by_watchpoints(int count)
{
    pid_t child = start(watched, count);
    set_debug_register(child, 1, (uint64_t)&watched_word);
    set_debug_register(child, 7, 1 << 2 | 0xDu << 20); /* DR7: L1, four bytes, writes */
    for (int i = 0; i < count; i++) {
        expect_at("watchpoint, store", resume(child, PTRACE_CONT), watched_store);
        expect_at("watchpoint, add", resume(child, PTRACE_CONT), watched_add);
        uint64_t at;
        while ((at = resume(child, PTRACE_CONT)) != (uint64_t)watched_fill)
            if (at + 2 != (uint64_t)watched_fill) /* by iteration, then at `rep stosb` still; or once it is over */
                WRONG("watchpoint, fill: the child stops at %#lx", at);
    }
    expect_at("watchpoint, in the end", resume(child, PTRACE_CONT), NULL);
}

static void by_read_watchpoints(int count)
{
    pid_t child = start(watched, count);
    set_debug_register(child, 3, (uint64_t)&watched_word + 2);
    set_debug_register(child, 7, 1 << 6 | 0x7u << 28); /* DR7: L3, two bytes, reads and writes */
    int loads = 0;
    uint64_t at;
    while ((at = resume(child, PTRACE_CONT)) != 0)
        loads += at == (uint64_t)watched_load;
    if (loads != count)
        WRONG("read watchpoint: %d loads instead of %d", loads, count);
}

int main(int argc, char **argv)
{
    int count = rounds(argc, argv);
    by_trap_flag(count);
    by_steps(3 * count);
    by_breakpoints(5 * count);
    by_watchpoints(5 * count);
    by_read_watchpoints(5 * count);
    return verdict("steps");
}
