/* What the stress programs share: they say what went wrong, count it, and end with status 1 if anything did. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int mistakes;

#define WRONG(...)                                                                                                     \
    do {                                                                                                               \
        if (__atomic_add_fetch(&mistakes, 1, __ATOMIC_SEQ_CST) <= 10) {                                                \
            printf("wrong: " __VA_ARGS__);                                                                             \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("cannot go on: %s: %s\n", #condition, strerror(errno));                                             \
            exit(2);                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline uint64_t random64(void)
{
    static __thread uint64_t state = 0x9E3779B97F4A7C15;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* How often each part repeats: the program's only argument. */
static inline int rounds(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;
    return count > 0 ? count : 1;
}

static inline int verdict(const char *name)
{
    printf("%s: %d mistakes\n", name, mistakes);
    return mistakes != 0;
}
