/* Programs that write programs: code changed in place, through aliases, by other processes and by other threads. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#define PAGE 4096
typedef uint32_t Function(void);

/* mov eax, value; ret */
static void write_function(uint8_t *at, uint32_t value)
{
    at[0] = 0xB8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xC3;
    __asm__ volatile("" ::: "memory");
}

static uint32_t call(uint8_t *at)
{
    return ((Function *)at)();
}

static void expect(const char *how, uint8_t *at, uint32_t value)
{
    uint32_t result = call(at);
    if (result != value)
        WRONG("%s: the code says %u, its last version %u", how, result, value);
}

static uint8_t *map(size_t size, int protection, int file)
{
    int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    uint8_t *at = mmap(NULL, size, protection, flags, file, 0);
    MUST(at != MAP_FAILED);
    return at;
}

static void in_place(int count)
{
    uint8_t *page = map(2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1);
    for (int i = 0; i < 200 * count; i++) {
        uint8_t *at = page + random64() % (2 * PAGE - 6);
        write_function(at, i);
        expect("in place", at, i);
        write_function(at, ~i);
        expect("in place again", at, ~i);
    }
    for (int i = 0; i < 200 * count; i++) { /* the immediate's bytes one by one, over the end of a page */
        uint8_t *at = page + PAGE - 1 - i % 6;
        write_function(at, 0);
        uint32_t value = random64();
        for (int byte = 0; byte < 4; byte++) {
            at[1 + byte] = value >> 8 * byte;
            expect("byte by byte", at, value & (0xFFFFFFFFu >> (24 - 8 * byte)));
        }
    }
    munmap(page, 2 * PAGE);
}

static void through_an_alias(int count)
{
    int file = memfd_create("code", 0);
    MUST(file >= 0 && ftruncate(file, PAGE) == 0);
    uint8_t *run = map(PAGE, PROT_READ | PROT_EXEC, file);
    uint8_t *write = map(PAGE, PROT_READ | PROT_WRITE, file);
    for (int i = 0; i < 200 * count; i++) {
        size_t offset = random64() % (PAGE - 6);
        write_function(write + offset, i);
        expect("through an alias", run + offset, i);
        uint32_t value = ~i; /* and by the kernel, through its own mapping */
        MUST(pwrite(file, &value, 4, offset + 1) == 4);
        expect("by pwrite", run + offset, ~i);
    }
    munmap(run, PAGE);
    munmap(write, PAGE);
    close(file);
}

static void by_turns(int count)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE, -1);
    for (int i = 0; i < 50 * count; i++) {
        MUST(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
        write_function(page, i);
        MUST(mprotect(page, PAGE, PROT_READ | PROT_EXEC) == 0);
        expect("by turns", page, i);
    }
    munmap(page, PAGE);
}

static void remapped(int count)
{
    uint8_t *place = map(PAGE, PROT_NONE, -1);
    for (int i = 0; i < 50 * count; i++) { /* another page at the same address; the old one goes back to the kernel */
        uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1);
        write_function(page, i);
        if (i % 2)
            expect("before it moves", page, i);
        MUST(mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
        expect("remapped", place, i);
        if (i % 3 == 0) {
            MUST(madvise(place, PAGE, MADV_DONTNEED) == 0);
            write_function(place, i + 1);
            expect("given back and written anew", place, i + 1);
        }
    }
    munmap(place, PAGE);
}

static void in_a_child(int count)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1);
    for (int i = 0; i < 10 * count; i++) {
        write_function(page, i);
        expect("before the fork", page, i);
        pid_t child = fork();
        MUST(child >= 0);
        if (child == 0) {
            write_function(page, i + 1000);
            expect("in the child", page, i + 1000);
            _exit(mistakes != 0);
        }
        expect("beside the child", page, i);
        int status;
        MUST(waitpid(child, &status, 0) == child);
        if (status != 0)
            WRONG("the child ends with 0x%x", status);
        expect("after the child", page, i);
    }
    munmap(page, PAGE);
}

/* As a debugger does it: INT3 over a child's code, then the byte that was there, and a single step over it. */
__attribute__((noinline)) static uint32_t debugged(uint32_t value)
{
    __asm__ volatile("" : "+r"(value));
    return value + 1;
}

static void expect_stop(pid_t child, uint64_t rip, const char *what)
{
    int status;
    struct user_regs_struct registers;
    MUST(waitpid(child, &status, 0) == child);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
        WRONG("%s: the child has status 0x%x", what, status);
        exit(verdict("code"));
    }
    MUST(ptrace(PTRACE_GETREGS, child, NULL, &registers) == 0);
    if (rip != 0 && registers.rip != rip)
        WRONG("%s: the child is at %llx instead of %llx", what, (long long)registers.rip, (long long)rip);
}

static void with_breakpoints(int count)
{
    uint64_t at = (uint64_t)debugged;
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGTRAP);
        for (int i = 0; i < 20 * count; i++)
            if (debugged(i) != (uint32_t)i + 1)
                _exit(1);
        _exit(0);
    }
    expect_stop(child, 0, "the first stop");
    long word = ptrace(PTRACE_PEEKTEXT, child, at, NULL);
    for (int i = 0; i < 20 * count; i++) {
        struct user_regs_struct registers;
        MUST(ptrace(PTRACE_POKETEXT, child, at, (word & ~0xFFL) | 0xCC) == 0);
        MUST(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
        expect_stop(child, at + 1, "at the breakpoint");
        MUST(ptrace(PTRACE_POKETEXT, child, at, word) == 0);
        MUST(ptrace(PTRACE_GETREGS, child, NULL, &registers) == 0);
        registers.rip = at;
        MUST(ptrace(PTRACE_SETREGS, child, NULL, &registers) == 0);
        MUST(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
        expect_stop(child, 0, "after the step");
    }
    MUST(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (status != 0)
        WRONG("the child with breakpoints ends with 0x%x", status);
}

/* One thread writes versions, another runs them: what it has been told is there must be what it runs. */
struct crossing {
    uint8_t *run, *write;
    int versions;
    volatile int written, seen;
};

static void serialize(void)
{
    uint32_t a = 0, c = 0, b, d;
    __asm__ volatile("cpuid" : "+a"(a), "+c"(c), "=b"(b), "=d"(d)::"memory");
}

/* Gives way now and then: the one that is waited for may need this processor. */
static void wait_until(volatile int *counter, int value)
{
    for (int spins = 0; *counter < value; spins++)
        if (spins % 1000 == 999)
            sched_yield();
}

static void *write_versions(void *argument)
{
    struct crossing *crossing = argument;
    for (int version = 1; version <= crossing->versions; version++) {
        write_function(crossing->write + version % 64, version);
        __atomic_store_n(&crossing->written, version, __ATOMIC_RELEASE);
        wait_until(&crossing->seen, version);
    }
    return NULL;
}

static void across_threads(int count)
{
    int file = memfd_create("code", 0);
    MUST(file >= 0 && ftruncate(file, PAGE) == 0);
    struct crossing crossing = {.versions = 500 * count};
    crossing.run = map(PAGE, PROT_READ | PROT_EXEC, file);
    crossing.write = map(PAGE, PROT_READ | PROT_WRITE, file);
    pthread_t writer;
    MUST(pthread_create(&writer, NULL, write_versions, &crossing) == 0);
    for (int version = 1; version <= crossing.versions; version++) {
        wait_until(&crossing.written, version);
        serialize();
        expect("across threads", crossing.run + version % 64, version);
        __atomic_store_n(&crossing.seen, version, __ATOMIC_RELEASE);
    }
    pthread_join(writer, NULL);
    munmap(crossing.run, PAGE);
    munmap(crossing.write, PAGE);
    close(file);
}

/* The immediate of running code changes in one aligned store, unannounced: either version may run, but no mixture,
   and in the end the last. */
struct patching {
    uint8_t *code;
    int patches;
    volatile int over;
};

#define TWICE(half) ((uint32_t)((half) | (half) << 16))

static void *patch(void *argument)
{
    struct patching *patching = argument;
    for (int i = 0; i < patching->patches; i++)
        __atomic_store_n((uint32_t *)(patching->code + 8), TWICE(i & 0xFFFF), __ATOMIC_SEQ_CST);
    __atomic_store_n(&patching->over, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void while_it_runs(int count)
{
    struct patching patching = {.patches = 3000 * count};
    patching.code = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1);
    write_function(patching.code + 7, 0);
    pthread_t patcher;
    MUST(pthread_create(&patcher, NULL, patch, &patching) == 0);
    while (!patching.over) {
        uint32_t value = call(patching.code + 7);
        if (value != TWICE(value & 0xFFFF))
            WRONG("while it runs: a mixture, 0x%x", value);
    }
    pthread_join(patcher, NULL);
    serialize();
    expect("after the last patch", patching.code + 7, TWICE((patching.patches - 1) & 0xFFFF));
    munmap(patching.code, PAGE);
}

int main(int argc, char **argv)
{
    int count = rounds(argc, argv);
    in_place(count);
    through_an_alias(count);
    by_turns(count);
    remapped(count);
    in_a_child(count);
    with_breakpoints(count);
    across_threads(count);
    while_it_runs(count);
    return verdict("code");
}
