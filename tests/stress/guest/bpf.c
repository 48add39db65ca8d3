/* Programs that the kernel compiles: random eBPF, run by its JIT and by its interpreter and reckoned here;
   filters on sockets and on system calls. Kernel text appears and disappears all the while.

   Spec: Linux Documentation/bpf/instruction-set.rst, Documentation/networking/filter.rst. */
#include "check.h"
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BODY 60 /* random instructions in a program */
#define PACKET 64
#define REGISTERS 6 /* R0 to R5 take part */

static struct bpf_insn program[BODY * 2 + 64];
static int length;

static void emit(uint8_t code, int to, int from, int16_t offset, int32_t immediate)
{
    program[length++] =
        (struct bpf_insn){.code = code, .dst_reg = to, .src_reg = from, .off = offset, .imm = immediate};
}

/* ---- random programs ---- */

static const uint8_t operations[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,
                                     BPF_LSH, BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH};
static const uint8_t jumps[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE,
                                BPF_JSGT, BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
#define ONE_OF(list) list[random64() % sizeof list]

static int32_t immediate_for(uint8_t operation, int wide)
{
    switch (operation) {
    case BPF_LSH:
    case BPF_RSH:
    case BPF_ARSH:
        return random64() % (wide ? 64 : 32);
    case BPF_DIV:
    case BPF_MOD:
        return (int32_t)random64() | 1;
    case BPF_NEG:
        return 0;
    default:
        return random64() % 2 ? (int32_t)random64() : (int32_t)(random64() % 8) - 4;
    }
}

static void emit_random(int left)
{
    int to = random64() % REGISTERS, from = random64() % REGISTERS, wide = random64() % 2, choice = random64() % 10;
    int16_t skip = left > 4 ? random64() % 4 : 0;
    if (choice == 0)
        emit(BPF_ALU | BPF_END | (random64() % 2 ? BPF_TO_BE : BPF_TO_LE), to, 0, 0, 16 << random64() % 3);
    else if (choice == 1)
        emit((wide ? BPF_JMP : BPF_JMP32) | ONE_OF(jumps) | BPF_X, to, from, skip, 0);
    else if (choice == 2)
        emit((wide ? BPF_JMP : BPF_JMP32) | ONE_OF(jumps) | BPF_K, to, 0, skip, (int32_t)random64());
    else {
        uint8_t operation = ONE_OF(operations), class = wide ? BPF_ALU64 : BPF_ALU;
        if (choice < 6 && operation != BPF_NEG)
            emit(class | operation | BPF_X, to, from, 0, 0);
        else
            emit(class | operation | BPF_K, to, 0, 0, immediate_for(operation, wide));
    }
}

/* R0 to R5 come from the packet, so that the verifier cannot know them; in the end all go into R0. */
static int generate(void)
{
    length = 0;
    emit(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
    for (int i = 0; i < 2 * REGISTERS; i++) { /* packet words, through the stack */
        emit(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 4 * i);
        emit(BPF_STX | BPF_MEM | BPF_W, 10, 0, -4 * (i + 1), 0);
    }
    for (int i = 0; i < REGISTERS; i++)
        emit(BPF_LDX | BPF_MEM | BPF_DW, i, 10, -8 * (i + 1), 0);
    int begin = length;
    for (int left = BODY; left > 0; left--)
        emit_random(left);
    for (int i = 1; i < REGISTERS; i++) {
        emit(BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 31);
        emit(BPF_ALU64 | BPF_ADD | BPF_X, 0, i, 0, 0);
    }
    emit(BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
    emit(BPF_ALU64 | BPF_RSH | BPF_K, 1, 0, 0, 32);
    emit(BPF_ALU64 | BPF_XOR | BPF_X, 0, 1, 0, 0); /* only 32 bits of the result come out */
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    return begin;
}

/* ---- what they must give ---- */

static uint64_t swapped(uint64_t value, int bits, int swap)
{
    switch (bits) {
    case 16:
        return swap ? __builtin_bswap16(value) : (uint16_t)value;
    case 32:
        return swap ? __builtin_bswap32(value) : (uint32_t)value;
    default:
        return swap ? __builtin_bswap64(value) : value;
    }
}

static uint64_t alu64(uint8_t operation, uint64_t a, uint64_t b)
{
    switch (operation) {
    case BPF_ADD: return a + b;
    case BPF_SUB: return a - b;
    case BPF_MUL: return a * b;
    case BPF_DIV: return b ? a / b : 0;
    case BPF_OR: return a | b;
    case BPF_AND: return a & b;
    case BPF_LSH: return a << (b & 63);
    case BPF_RSH: return a >> (b & 63);
    case BPF_NEG: return -a;
    case BPF_MOD: return b ? a % b : a;
    case BPF_XOR: return a ^ b;
    case BPF_ARSH: return (int64_t)a >> (b & 63);
    default: return b;
    }
}

static uint32_t alu32(uint8_t operation, uint32_t a, uint32_t b)
{
    switch (operation) {
    case BPF_LSH: return a << (b & 31);
    case BPF_RSH: return a >> (b & 31);
    case BPF_ARSH: return (int32_t)a >> (b & 31);
    default: return alu64(operation, a, b);
    }
}

static int taken(uint8_t jump, uint64_t a, uint64_t b, int wide)
{
    int64_t sa = wide ? (int64_t)a : (int32_t)a, sb = wide ? (int64_t)b : (int32_t)b;
    if (!wide)
        a = (uint32_t)a, b = (uint32_t)b;
    switch (jump) {
    case BPF_JEQ: return a == b;
    case BPF_JGT: return a > b;
    case BPF_JGE: return a >= b;
    case BPF_JSET: return (a & b) != 0;
    case BPF_JNE: return a != b;
    case BPF_JSGT: return sa > sb;
    case BPF_JSGE: return sa >= sb;
    case BPF_JLT: return a < b;
    case BPF_JLE: return a <= b;
    case BPF_JSLT: return sa < sb;
    default: return sa <= sb;
    }
}

static uint32_t reckon(int begin, const uint8_t *packet)
{
    uint64_t r[REGISTERS];
    for (int i = 0; i < REGISTERS; i++) { /* network order, the second word lower on the stack */
        uint32_t words[2];
        memcpy(words, packet + 8 * i, 8);
        r[i] = __builtin_bswap32(words[1]) | (uint64_t)__builtin_bswap32(words[0]) << 32;
    }
    for (int at = begin; program[at].code != (BPF_JMP | BPF_EXIT); at++) {
        struct bpf_insn *i = &program[at];
        uint8_t class = BPF_CLASS(i->code), operation = BPF_OP(i->code);
        uint64_t b = BPF_SRC(i->code) == BPF_X ? r[i->src_reg] : (uint64_t)(int64_t)i->imm;
        uint64_t *to = &r[i->dst_reg];
        if (class == BPF_JMP || class == BPF_JMP32)
            at += taken(operation, *to, b, class == BPF_JMP) ? i->off : 0;
        else if (operation == BPF_END)
            *to = swapped(*to, i->imm, BPF_SRC(i->code) == BPF_TO_BE);
        else
            *to = class == BPF_ALU64 ? alu64(operation, *to, b) : alu32(operation, *to, b);
    }
    return r[0];
}

/* ---- what they give ---- */

static char complaint[1 << 16];

static int load(void)
{
    union bpf_attr attributes = {.prog_type = BPF_PROG_TYPE_SCHED_CLS, .insns = (uint64_t)program, .insn_cnt = length};
    attributes.license = (uint64_t) "GPL";
    int file = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    if (file >= 0)
        return file;
    attributes.log_buf = (uint64_t)complaint, attributes.log_size = sizeof complaint, attributes.log_level = 1;
    syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    printf("the verifier says: %s\n", complaint);
    MUST(file >= 0);
    return file;
}

static uint32_t run(int file, uint8_t *packet)
{
    union bpf_attr attributes = {.test = {.prog_fd = file, .data_in = (uint64_t)packet, .data_size_in = PACKET}};
    attributes.test.repeat = 2;
    MUST(syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof attributes) == 0);
    return attributes.test.retval;
}

static void control(const char *name, const char *value)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/net/core/%s", name);
    int file = open(path, O_WRONLY);
    MUST(file >= 0 && write(file, value, strlen(value)) > 0);
    close(file);
}

static void random_programs(int count)
{
    static const char *ways[] = {"by the JIT", "by the hardened JIT", "by the interpreter"};
    for (int i = 0; i < count; i++) {
        int begin = generate(), way = i % 3;
        control("bpf_jit_enable", way == 2 ? "0" : "1");
        control("bpf_jit_harden", way == 1 ? "2" : "0");
        int file = load();
        for (int packets = 0; packets < 4; packets++) {
            uint8_t packet[PACKET];
            for (int byte = 0; byte < PACKET; byte++)
                packet[byte] = random64() >> 8;
            uint32_t result = run(file, packet), wanted = reckon(begin, packet);
            if (result != wanted)
                WRONG("program %d %s: 0x%x instead of 0x%x", i, ways[way], result, wanted);
        }
        close(file);
    }
    control("bpf_jit_enable", "1");
    control("bpf_jit_harden", "0");
}

/* ---- classic filters ---- */

/* Lets datagrams pass whose first byte is at least `least`, cut to `cut` bytes. */
static void attach(int socket, uint8_t least, uint32_t cut)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, least, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, cut),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog description = {.len = 4, .filter = filter};
    MUST(setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &description, sizeof description) == 0);
}

static void socket_filters(int count)
{
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) == 0);
    for (int i = 0; i < count; i++) {
        int least = random64() % 256, on = i % 2;
        uint32_t cut = 1 + random64() % 8;
        attach(ends[1], least, cut);
        MUST(setsockopt(ends[1], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on) == 0); /* a static key of its own */
        for (int number = 0; number < 8; number++) {
            uint8_t sent[8] = {random64() >> 5}, got[8];
            ssize_t wanted = sent[0] >= least ? (ssize_t)cut : -1;
            send(ends[0], sent, sizeof sent, 0); /* an error if the filter drops it */
            ssize_t came = recv(ends[1], got, sizeof got, 0);
            if (came != wanted)
                WRONG("filter %d: %zd bytes instead of %zd", i, came, wanted);
        }
    }
    close(ends[0]);
    close(ends[1]);
}

/* In a child, as such a filter stays: each of many asks for another error of getppid. */
static void system_call_filters(int count)
{
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        for (int i = 1; i <= count && i <= 100; i++) {
            struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | i),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            struct sock_fprog description = {.len = 4, .filter = filter};
            MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &description) == 0);
            errno = 0; /* of filters with equal verdicts the newest counts */
            if (syscall(SYS_getppid) != -1 || errno != i)
                WRONG("system call filter %d: error %d", i, errno);
            if (getpid() == 0)
                WRONG("system call filter %d: no process", i);
        }
        _exit(mistakes != 0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (status != 0)
        WRONG("the child with system call filters ends with 0x%x", status);
}

int main(int argc, char **argv)
{
    int count = rounds(argc, argv);
    random_programs(60 * count);
    socket_filters(30 * count);
    system_call_filters(20 * count);
    return verdict("bpf");
}
