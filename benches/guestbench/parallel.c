/* parallel - does a guest with two processors compute twice as much? Runs on the host, or as PID 1 of a guest.
 *
 * usage: parallel SECONDS WORKERS      (a guest's kernel passes what stands behind `--` on its command line)
 *
 * Each worker is a process pinned to a processor of its own. The time is cut into slices, which all begin together.
 * It prints one row in the words of gb.c: "GB par_compute" is the work that all workers did in a second of the best
 * slice, which is the one that the host's other work disturbed least; GBC is the sum that each of them must get.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 20000, TABLE = 512, SLICES = 10, MOST_WORKERS = 64 };

struct shared {
    _Atomic int ready;
    struct result {
        uint64_t sum;
        double rates[SLICES]; /* steps a second */
    } results[MOST_WORKERS];
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* STEPS steps of integer work in registers and in a table that fits the first-level cache. */
static uint64_t compute(void)
{
    static uint64_t table[TABLE];
    uint64_t x = 88172645463325252, sum = 0;
    for (int i = 0; i < TABLE; i++) table[i] = i;
    for (int i = 0; i < STEPS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint64_t *slot = &table[x % TABLE];
        *slot = *slot * 5 + x;
        if (*slot & 4) sum += *slot;
    }
    return sum;
}

/* Pins this process to the nth of these processors. */
static int pin(int n, const cpu_set_t *processors)
{
    int cpu = 0;
    while (!CPU_ISSET(cpu, processors) || n-- > 0) cpu++;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one);
}

static void work(struct shared *shared, struct result *result, int workers, double seconds)
{
    result->sum = compute();
    for (int slice = 0; slice < SLICES; slice++) {
        shared->ready++;
        while (shared->ready < workers * (slice + 1)) sched_yield();
        uint64_t steps = 0, start = now_ns(), ns;
        do {
            if (compute() != result->sum) _exit(1);
            steps += STEPS;
            ns = now_ns() - start;
        } while (ns < seconds / SLICES * 1e9);
        result->rates[slice] = steps / (ns / 1e9);
    }
}

/* Whether there was a processor for each worker, all ran to their end, and they agree. */
static int run(struct shared *shared, int workers, double seconds)
{
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof processors, &processors) || CPU_COUNT(&processors) < workers) return 0;
    for (int n = 0; n < workers; n++)
        if (fork() == 0) {
            if (pin(n, &processors)) _exit(2);
            work(shared, &shared->results[n], workers, seconds);
            _exit(0);
        }
    int right = 1, status;
    while (wait(&status) > 0) right &= status == 0;
    for (int n = 0; n < workers; n++) right &= shared->results[n].sum == shared->results[0].sum;
    return right;
}

static double best_rate(const struct shared *shared, int workers)
{
    double best = 0;
    for (int slice = 0; slice < SLICES; slice++) {
        double rate = 0;
        for (int n = 0; n < workers; n++) rate += shared->results[n].rates[slice];
        if (rate > best) best = rate;
    }
    return best;
}

static void measure(int workers, double seconds)
{
    struct shared *shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    printf("GBM start par_compute\n");
    uint64_t start = now_ns();
    if (workers < 1 || workers > MOST_WORKERS || shared == MAP_FAILED || !run(shared, workers, seconds)) {
        printf("GB par_compute FAIL\n");
        return;
    }
    printf("GBM end par_compute %llu %d\n", (unsigned long long)(now_ns() - start), SLICES);
    printf("GBC par_compute %016llx\n", (unsigned long long)shared->results[0].sum);
    printf("GB par_compute %.5g Mstep/s\n", best_rate(shared, workers) / 1e6);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    measure(argc > 2 ? atoi(argv[2]) : 1, argc > 1 ? atof(argv[1]) : 1);
    printf("GB_DONE\n");
    if (getpid() == 1) reboot(RB_POWER_OFF);
    return 0;
}
