/* Two threads at once: locked instructions lose nothing, plain ones keep x86's order, futexes wake who sleeps.

   The order is that of the SDM, volume 3, "Memory Ordering": stores are seen in program order, loads are done in it;
   only a load may pass an older store, and not over MFENCE or a locked instruction. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#define PAGE 4096
#define THREADS 2

/* ---- counters ---- */

struct counters {
    uint64_t add, increment, exchanged, compared, wide[2] __attribute__((aligned(16)));
    uint64_t bits[64];
    uint64_t under_lock;
    volatile uint32_t lock;
};

static struct counters counters;
static uint8_t *edge; /* where two pages meet: counters over it are locked on both */
static int per_thread;
static pthread_barrier_t together;

static void add_wide(uint64_t *at)
{
    uint64_t low = at[0], high = at[1];
    uint8_t done;
    do
        __asm__ volatile("mov %1, %%rbx\n mov %2, %%rcx\n add $1, %%rbx\n adc $0x100, %%rcx\n"
                         "lock cmpxchg16b (%3)\n sete %0\n"
                         : "=q"(done), "+a"(low), "+d"(high)
                         : "r"(at)
                         : "rbx", "rcx", "cc", "memory");
    while (!done);
}

static void count_once(int thread, int i)
{
    uint64_t one = 1, old;
    __asm__ volatile("lock addq $1, %0" : "+m"(counters.add)::"cc");
    __asm__ volatile("lock incq %0" : "+m"(counters.increment)::"cc");
    __asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(counters.exchanged)::"cc");
    old = counters.compared;
    while (!__atomic_compare_exchange_n(&counters.compared, &old, old + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    add_wide(counters.wide);
    __asm__ volatile("lock addq $1, %0" : "+m"(*(uint64_t *)(edge - 3))::"cc"); /* over the edge of a page */
    __asm__ volatile("lock addl $1, %0" : "+m"(*(uint32_t *)(edge - 64 - 2))::"cc"); /* over that of a cache line */
    long bit = 2 * (i % 2048) + thread; /* each thread has every other bit of 64 words */
    __asm__ volatile("lock btcq %1, %0" : "+m"(counters.bits) : "r"(bit) : "cc");
    uint32_t taken;
    do {
        taken = 1;
        __asm__ volatile("xchgl %0, %1" : "+r"(taken), "+m"(counters.lock)::"memory");
        if (taken)
            sched_yield();
    } while (taken);
    counters.under_lock++;
    __asm__ volatile("movl $0, %0" : "=m"(counters.lock)::"memory");
}

static void *count(void *argument)
{
    pthread_barrier_wait(&together);
    for (int i = 0; i < per_thread; i++)
        count_once((int)(intptr_t)argument, i);
    return NULL;
}

static void both(void *function(void *))
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, function, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void expect(const char *what, uint64_t value, uint64_t wanted)
{
    if (value != wanted)
        WRONG("%s: %llu instead of %llu", what, (unsigned long long)value, (unsigned long long)wanted);
}

static void counting(void)
{
    uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(pages != MAP_FAILED);
    edge = pages + PAGE;
    both(count);
    uint64_t all = (uint64_t)THREADS * per_thread, over_page;
    uint32_t over_line;
    memcpy(&over_page, edge - 3, 8);
    memcpy(&over_line, edge - 64 - 2, 4);
    expect("lock add", counters.add, all);
    expect("lock inc", counters.increment, all);
    expect("lock xadd", counters.exchanged, all);
    expect("lock cmpxchg", counters.compared, all);
    expect("lock cmpxchg16b, low", counters.wide[0], all);
    expect("lock cmpxchg16b, high", counters.wide[1], all << 8);
    expect("lock add over a page's edge", over_page, all);
    expect("lock add over a cache line's edge", over_line, all);
    expect("under a lock by xchg", counters.under_lock, all);
    for (int i = 0; i < 64; i++)
        expect("lock btc", counters.bits[i], per_thread / 2048 % 2 == 0 ? 0 : ~0ull);
}

/* ---- litmus tests ---- */

struct line {
    volatile uint64_t value;
    uint8_t rest[64 - 8];
} __attribute__((aligned(64)));

#define TURNS 64 /* between two barriers: each turn has its own words */
static struct line x[TURNS], y[TURNS];
static uint64_t seen[THREADS][TURNS], seen_too[THREADS][TURNS];
static int litmus_rounds;

typedef void Turn(int thread, int i);

/* Message passing: who sees the second store sees the first. */
static void passing(int thread, int i)
{
    uint64_t first, second;
    if (thread == 0) {
        __asm__ volatile("movq $1, %0\n movq $1, %1" : "=m"(x[i].value), "=m"(y[i].value)::"memory");
    } else {
        __asm__ volatile("movq %3, %0\n movq %2, %1" : "=&r"(second), "=&r"(first) : "m"(x[i].value), "m"(y[i].value));
        seen[1][i] = second, seen_too[1][i] = first;
    }
}

static int passing_wrong(int i)
{
    return seen[1][i] == 1 && seen_too[1][i] == 0;
}

/* Store buffering with a fence: not both may miss the other's store. */
static void fenced(int thread, int i)
{
    volatile uint64_t *mine = thread ? &y[i].value : &x[i].value, *other = thread ? &x[i].value : &y[i].value;
    __asm__ volatile("movq $1, %1\n mfence\n movq %2, %0" : "=r"(seen[thread][i]), "=m"(*mine) : "m"(*other) : "memory");
}

static void exchanged(int thread, int i)
{
    volatile uint64_t *mine = thread ? &y[i].value : &x[i].value, *other = thread ? &x[i].value : &y[i].value;
    uint64_t one = 1;
    __asm__ volatile("xchgq %1, %2\n movq %3, %0" : "=&r"(seen[thread][i]), "+r"(one), "+m"(*mine) : "m"(*other) : "memory");
}

static int both_missed(int i)
{
    return seen[0][i] == 0 && seen[1][i] == 0;
}

/* Load buffering: not both may see a store that comes after the other's load. */
static void loads_first(int thread, int i)
{
    volatile uint64_t *mine = thread ? &y[i].value : &x[i].value, *other = thread ? &x[i].value : &y[i].value;
    __asm__ volatile("movq %2, %0\n movq $1, %1" : "=&r"(seen[thread][i]), "=m"(*mine) : "m"(*other) : "memory");
}

static int both_saw(int i)
{
    return seen[0][i] == 1 && seen[1][i] == 1;
}

static const struct {
    const char *name;
    Turn *turn;
    int (*wrong)(int i);
} litmus[] = {
    {"message passing", passing, passing_wrong},
    {"store buffering, mfence", fenced, both_missed},
    {"store buffering, xchg", exchanged, both_missed},
    {"load buffering", loads_first, both_saw},
};

static void *play(void *argument)
{
    int thread = (int)(intptr_t)argument;
    for (int i = 0; i < litmus_rounds; i++) {
        if (thread == 0)
            memset(x, 0, sizeof x), memset(y, 0, sizeof y);
        int test = i % (int)(sizeof litmus / sizeof *litmus);
        pthread_barrier_wait(&together);
        for (int turn = 0; turn < TURNS; turn++)
            litmus[test].turn(thread, turn);
        pthread_barrier_wait(&together);
        for (int turn = 0; thread == 0 && turn < TURNS; turn++)
            if (litmus[test].wrong(turn))
                WRONG("%s: against the order", litmus[test].name);
    }
    return NULL;
}

/* ---- futexes ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn_of, handovers;

static void *take_turns(void *argument)
{
    int thread = (int)(intptr_t)argument;
    for (int i = 0; i < per_thread / 4; i++) {
        pthread_mutex_lock(&mutex);
        while (turn_of != thread)
            pthread_cond_wait(&changed, &mutex);
        turn_of = 1 - thread;
        handovers++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int count = rounds(argc, argv);
    per_thread = 2048 * count;
    litmus_rounds = 40 * count;
    MUST(pthread_barrier_init(&together, NULL, THREADS) == 0);
    counting();
    both(play);
    both(take_turns);
    expect("handovers", handovers, per_thread / 4 * THREADS);
    return verdict("threads");
}
