/* guestbench - a self-contained benchmark that is also the /init of a tiny initramfs.
 *
 * Runs as an ordinary program on the host or, with the same code, as PID 1 of a guest, where it mounts
 * /proc, /sys, /dev and /tmp, measures, and powers off.
 *
 * usage: gb [-t seconds_per_row] [name-prefix ...]
 * kernel command line (as PID 1): gb.t=<s> gb.only=<prefix,prefix>
 *
 * What it prints, a line each:
 *   GB_USERSPACE                  PID 1 runs
 *   GBI <text>                    something about the guest, for the reader
 *   GBC <row> <hex>               checksum of a fixed amount of the row's work: a wrong processor shows as a wrong
 *                                 sum, not as a fast score
 *   GBM start <row>               the timed part begins; with the next, whoever reads the serial port can time the
 *   GBM end <row> <ns> <n>        same interval by the host's clock, and catch a guest clock that lies
 *   GB <row> <value> <unit>       the result, of the best batch; "GB <row> FAIL" when the work went wrong
 *   GB_DONE                       all rows are there
 *
 * Left out: disks and networks, more than one processor (parallel.c).
 */
#define _GNU_SOURCE
#include <emmintrin.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define FAILED (~0ull) /* what a row returns instead of a checksum */

static double T = 1.0; /* seconds a row */
static char selfpath[256] = "/proc/self/exe";
static volatile u64 sink;

static u64 now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static u64 rng_s = 88172645463325252ull;
static inline u64 rng(void)
{
    rng_s ^= rng_s << 13;
    rng_s ^= rng_s >> 7;
    rng_s ^= rng_s << 17;
    return rng_s;
}
static void rng_reset(void) { rng_s = 88172645463325252ull; }

enum mode { RATE, LATENCY }; /* per_unit * n a second; nanoseconds / n / per_unit */

struct row {
    const char *name;
    u64 (*fn)(u64 n); /* does n units of work; returns a checksum or FAILED */
    double per_unit;
    const char *unit;
    enum mode mode;
    void (*setup)(void);
    u64 sum_n; /* the checksum of so many units is printed, if any */
};

/* ---------------- integer ---------------- */
static const u32 K256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
#define ROR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
static void sha_block(u32 *h, const u8 *p)
{
    u32 w[64], a, b, c, d, e, f, g, hh;
    for (int i = 0; i < 16; i++)
        w[i] = (u32)p[4 * i] << 24 | (u32)p[4 * i + 1] << 16 | (u32)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        u32 s0 = ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ (w[i - 15] >> 3),
            s1 = ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    a = h[0];
    b = h[1];
    c = h[2];
    d = h[3];
    e = h[4];
    f = h[5];
    g = h[6];
    hh = h[7];
    for (int i = 0; i < 64; i++) {
        u32 t1 = hh + (ROR(e, 6) ^ ROR(e, 11) ^ ROR(e, 25)) + ((e & f) ^ (~e & g)) + K256[i] + w[i],
            t2 = (ROR(a, 2) ^ ROR(a, 13) ^ ROR(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        hh = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
    h[5] += f;
    h[6] += g;
    h[7] += hh;
}
static u8 *buf64k;
static void set_buf(void)
{
    if (!buf64k) buf64k = malloc(65536);
    rng_reset();
    for (int i = 0; i < 65536; i++) buf64k[i] = (u8)rng();
}
static u64 k_sha256(u64 n)
{
    u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    while (n--)
        for (int i = 0; i < 65536; i += 64) sha_block(h, buf64k + i);
    return (u64)h[0] << 32 | h[7];
}
static u32 crct[256];
static void set_crc(void)
{
    set_buf();
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        crct[i] = c;
    }
}
static u64 k_crc32(u64 n)
{
    u32 c = ~0u;
    while (n--)
        for (int i = 0; i < 65536; i++) c = crct[(c ^ buf64k[i]) & 255] ^ (c >> 8);
    return ~c;
}
static int cmpu(const void *a, const void *b)
{
    u32 x = *(u32 *)a, y = *(u32 *)b;
    return x < y ? -1 : x > y;
}
static u64 k_qsort(u64 n)
{
    enum { N = 32768 };
    static u32 a[N];
    u64 s = 0;
    while (n--) {
        rng_reset();
        for (int i = 0; i < N; i++) a[i] = (u32)rng();
        qsort(a, N, 4, cmpu);
        s = a[0] ^ ((u64)a[N / 2] << 32) ^ a[N - 1];
    }
    return s;
}
/* dhrystone-like: record copies, string compares, calls through pointers, small loops */
struct rec {
    struct rec *next;
    int disc, en, ic;
    char str[32];
};
static __attribute__((noinline)) int strfn(const char *a, const char *b)
{
    int i = 0;
    while (i < 2 && a[i] != b[i + 1]) i++;
    return i;
}
static __attribute__((noinline)) int pfn(int a, int b) { return a + b + 2; }
static int (*volatile pfp)(int, int) = pfn;
static __attribute__((noinline)) void recfn(struct rec *r)
{
    struct rec *n = r->next;
    *n = *r;
    r->ic = 5;
    n->ic = r->ic;
    n->next = r->next;
    if (n->disc == 0) {
        n->ic = 6;
        n->en = r->en;
        n->ic = pfp(n->ic, 10);
    } else
        *r = *n;
}
static u64 k_dhry(u64 n)
{
    static struct rec a, b;
    static int arr1[50], arr2[50][50];
    u64 s = 0;
    char s1[32], s2[32];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    memset(arr1, 0, sizeof arr1);
    memset(arr2, 0, sizeof arr2);
    a.next = &b;
    a.disc = 0;
    a.ic = 40;
    a.en = 2;
    strcpy(a.str, "DHRYSTONE PROGRAM, SOME STRING");
    strcpy(s1, "DHRYSTONE PROGRAM, 1'ST STRING");
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 1000; i++) {
            a.next = &b;
            strcpy(s2, "DHRYSTONE PROGRAM, 2'ND STRING");
            s2[10] = 'A' + (i & 15);
            int x = 2, y = 3, z = 0;
            while (x < y) {
                z = 5 * x - y;
                z = pfp(z, y) - y - 2;
                x++;
            }
            int l = z + 5;
            l = (l & 31);
            arr1[l] = y;
            arr1[l + 1] = arr1[l];
            for (int q = l; q <= l + 1; q++) arr2[l][q] = l;
            arr2[l][l - 1 < 0 ? 0 : l - 1]++;
            recfn(&a);
            a.disc = 0;
            for (char c = 'A'; c <= 'C'; c++)
                if (strfn(s1, s2) == c - 'A') s++;
            y = x * z;
            x = y / (z | 1);
            y = 7 * (y - z) - x;
            s += (unsigned)(strcmp(s1, s2) > 0) + (u32)y + b.ic;
            if (u == 0 && i == 999) sink = s;
        }
    return s;
}
/* switch-dispatched bytecode interpreter: indirect branches */
static u64 k_interp(u64 n)
{
    static const u8 prog[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 1, 4, 1, 5, 9,
                              2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 10};
    u64 a = 1, b = 2, c = 3, d = 0;
    for (u64 u = 0; u < n; u++)
        for (int r = 0; r < 4096; r++) {
            const u8 *pc = prog;
            for (;;) {
                switch (*pc++) {
                case 0: a += b; continue;
                case 1: b ^= a; continue;
                case 2: c += a >> 3; continue;
                case 3: a = (a << 7) | (a >> 57); continue;
                case 4: d += c; continue;
                case 5:
                    if (a & 1) b++;
                    continue;
                case 6: c ^= d; continue;
                case 7: a -= d; continue;
                case 8: b = b * 5 + 1; continue;
                case 9: d = ~d; continue;
                case 10: break;
                }
                break;
            }
        }
    return a ^ b ^ c ^ d;
}
static __attribute__((noinline)) u64 fib(u64 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static volatile u64 fibn = 20;
static u64 k_fib(u64 n)
{
    u64 s = 0;
    while (n--) s += fib(fibn);
    return s;
}
static u64 k_muldiv(u64 n)
{
    u64 x = 123456789, m = 0xfffffffffffffc5ull;
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 1000; i++) {
            x = (u64)((unsigned __int128)x * x % m) + 1;
            x += x / ((x & 0xffff) | 1);
        }
    return x;
}
static u64 k_sieve(u64 n)
{
    enum { N = 262144 };
    static u8 f[N];
    u64 c = 0;
    while (n--) {
        memset(f, 0, N);
        c = 0;
        for (u32 i = 2; i < N; i++)
            if (!f[i]) {
                c++;
                for (u64 j = (u64)i * i; j < N; j += i) f[j] = 1;
            }
    }
    return c;
}
static u64 k_strops(u64 n)
{
    static char b[4096];
    u64 s = 0;
    if (!b[0]) {
        for (int i = 0; i < 4000; i++) b[i] = 'a' + (i * 7 % 26);
        b[4000] = 0;
    }
    while (n--) {
        s += strlen(b);
        s += (u64)(strchr(b, '!') == 0);
        char t[4096];
        strcpy(t, b);
        s += (u64)(strcmp(t, b) == 0);
        s += memchr(b, 'z', 4000) ? 1 : 0;
        t[9]++;
        s += (u64)(memcmp(t, b, 4000) > 0);
    }
    return s;
}

/* ---------------- floating point ---------------- */
struct body {
    double x, y, z, vx, vy, vz, m;
};
static u64 dbits(double d)
{
    u64 u;
    memcpy(&u, &d, 8);
    return u;
}
static u64 k_nbody(u64 n)
{
    static struct body b[5] = {{0, 0, 0, 0, 0, 0, 39.47},
                               {4.84, -1.16, -.10, .6, 2.81, -.02, .037},
                               {8.34, 4.12, -.4, -1.01, 1.82, .008, .011},
                               {12.89, -15.11, -.22, 1.08, .868, -.01, .0017},
                               {15.37, -25.9, .179, .979, .594, -.034, .002}};
    static struct body init[5];
    static int have;
    if (!have) {
        memcpy(init, b, sizeof b);
        have = 1;
    }
    memcpy(b, init, sizeof b);
    for (u64 u = 0; u < n; u++)
        for (int s = 0; s < 1000; s++) {
            for (int i = 0; i < 5; i++)
                for (int j = i + 1; j < 5; j++) {
                    double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z,
                           d2 = dx * dx + dy * dy + dz * dz, mag = .01 / (d2 * sqrt(d2));
                    b[i].vx -= dx * b[j].m * mag;
                    b[i].vy -= dy * b[j].m * mag;
                    b[i].vz -= dz * b[j].m * mag;
                    b[j].vx += dx * b[i].m * mag;
                    b[j].vy += dy * b[i].m * mag;
                    b[j].vz += dz * b[i].m * mag;
                }
            for (int i = 0; i < 5; i++) {
                b[i].x += .01 * b[i].vx;
                b[i].y += .01 * b[i].vy;
                b[i].z += .01 * b[i].vz;
            }
        }
    return dbits(b[0].x) ^ dbits(b[4].vy);
}
enum { MM = 96 };
static double ma[MM][MM], mb[MM][MM], mc[MM][MM];
static u64 k_matmul(u64 n)
{
    for (int i = 0; i < MM; i++)
        for (int j = 0; j < MM; j++) {
            ma[i][j] = 1.0 / (1 + i + j);
            mb[i][j] = (double)(i - j) / MM;
        }
    while (n--)
        for (int i = 0; i < MM; i++) {
            for (int j = 0; j < MM; j++) mc[i][j] = 0;
            for (int k = 0; k < MM; k++) {
                double a = ma[i][k];
                for (int j = 0; j < MM; j++) mc[i][j] += a * mb[k][j];
            }
        }
    return dbits(mc[3][5]) ^ dbits(mc[90][17]);
}
static u64 k_mandel(u64 n)
{
    u64 it = 0;
    for (u64 u = 0; u < n; u++) {
        it = 0;
        for (int y = 0; y < 64; y++)
            for (int x = 0; x < 64; x++) {
                double cr = -2 + x * 3.0 / 64, ci = -1.5 + y * 3.0 / 64, zr = 0, zi = 0;
                int k = 0;
                while (k < 64 && zr * zr + zi * zi < 4) {
                    double t = zr * zr - zi * zi + cr;
                    zi = 2 * zr * zi + ci;
                    zr = t;
                    k++;
                }
                it += k;
            }
        sink = it;
    }
    return it;
}
static u64 k_x87(u64 n)
{
    volatile long double acc = 0;
    long double x = 1.0L;
    for (u64 u = 0; u < n; u++)
        for (int i = 1; i <= 1000; i++) {
            x = x * 1.0000001L + 1.0L / i;
            if (x > 1e6L) x -= 1e6L;
        }
    acc = x;
    u64 m;
    long double a = acc;
    memcpy(&m, &a, 8);
    return m;
}
static u64 k_libm(u64 n)
{
    volatile double in = 0.37;
    double s = 0;
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 200; i++) {
            double x = in + i * .01;
            s += sin(x) * exp(-x) + pow(x, 1.3) + atan2(x, 2.0);
        }
    return dbits(s);
}
static u64 k_sse_chacha(u64 n)
{
    __m128i a = _mm_set_epi32(0x6b206574, 0x79622d32, 0x3320646e, 0x61707865), b = _mm_set_epi32(4, 3, 2, 1),
            c = _mm_set_epi32(8, 7, 6, 5), d = _mm_set_epi32(0, 9, 0, 0), acc = _mm_setzero_si128(),
            one = _mm_set_epi32(0, 0, 0, 1);
#define RL(x, k) _mm_or_si128(_mm_slli_epi32(x, k), _mm_srli_epi32(x, 32 - (k)))
#define QR                              \
    a0 = _mm_add_epi32(a0, b0);         \
    d0 = RL(_mm_xor_si128(d0, a0), 16); \
    c0 = _mm_add_epi32(c0, d0);         \
    b0 = RL(_mm_xor_si128(b0, c0), 12); \
    a0 = _mm_add_epi32(a0, b0);         \
    d0 = RL(_mm_xor_si128(d0, a0), 8);  \
    c0 = _mm_add_epi32(c0, d0);         \
    b0 = RL(_mm_xor_si128(b0, c0), 7);
    for (u64 u = 0; u < n; u++)
        for (int k = 0; k < 1024; k++) {
            __m128i a0 = a, b0 = b, c0 = c, d0 = d;
            for (int r = 0; r < 10; r++) {
                QR b0 = _mm_shuffle_epi32(b0, 0x39);
                c0 = _mm_shuffle_epi32(c0, 0x4e);
                d0 = _mm_shuffle_epi32(d0, 0x93);
                QR b0 = _mm_shuffle_epi32(b0, 0x93);
                c0 = _mm_shuffle_epi32(c0, 0x4e);
                d0 = _mm_shuffle_epi32(d0, 0x39);
            }
            acc = _mm_xor_si128(acc, _mm_add_epi32(_mm_xor_si128(a0, c0), _mm_xor_si128(b0, d0)));
            d = _mm_add_epi32(d, one);
        }
    u64 o[2];
    _mm_storeu_si128((__m128i *)o, acc);
    return o[0] ^ o[1];
}
static u64 k_sse_ps(u64 n)
{
    static float x[4096] __attribute__((aligned(16))), y[4096] __attribute__((aligned(16)));
    for (int i = 0; i < 4096; i++) {
        x[i] = i * .25f;
        y[i] = 1;
    }
    __m128 a = _mm_set1_ps(.999f);
    for (u64 u = 0; u < n; u++) {
        for (int i = 0; i < 4096; i += 4) {
            __m128 v = _mm_add_ps(_mm_mul_ps(a, _mm_load_ps(y + i)), _mm_load_ps(x + i));
            v = _mm_sub_ps(v, _mm_sqrt_ps(v));
            v = _mm_max_ps(v, _mm_set1_ps(.5f));
            _mm_store_ps(y + i, v);
        }
    }
    u32 r;
    memcpy(&r, &y[777], 4);
    return r;
}

/* ---------------- memory ---------------- */
static u8 *big, *big2;
enum { BIG = 64 << 20, CPY = 16 << 20 };
static void set_big(void)
{
    if (!big) {
        big = mmap(0, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(big, 1, BIG);
    }
}
static void free_big(void)
{
    if (big) {
        munmap(big, BIG);
        big = 0;
    }
}
static u64 k_memcpy(u64 n)
{
    big2 = big + (32 << 20);
    while (n--) memcpy(big2, big, CPY);
    return big2[5];
}
static u64 k_repmovsb(u64 n)
{
    while (n--) {
        void *d = big + (32 << 20), *s = big;
        u64 c = 1 << 20;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c)::"memory");
    }
    return big[100];
}
static u64 k_repstosq(u64 n)
{
    while (n--) {
        void *d = big;
        u64 c = (1 << 20) / 8;
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(c) : "a"(0x0101010101010101ull) : "memory");
    }
    return big[100];
}
static u64 k_triad(u64 n)
{
    double *a = (double *)big, *b = (double *)(big + (8 << 20)), *c = (double *)(big + (16 << 20));
    enum { N = 1 << 19 };
    for (int i = 0; i < N; i++) {
        b[i] = i;
        c[i] = 2;
    }
    while (n--)
        for (int i = 0; i < N; i++) a[i] = b[i] + 3.0 * c[i];
    return dbits(a[77]);
}
static u64 *chase;
static void set_chase(void)
{
    set_big();
    chase = (u64 *)big;
    u64 N = BIG / 64;
    rng_reset();
    static u32 *perm;
    if (!perm) {
        perm = malloc(N * 4);
    }
    for (u64 i = 0; i < N; i++) perm[i] = i;
    for (u64 i = N - 1; i > 0; i--) {
        u64 j = rng() % i;
        u32 t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
    }
    for (u64 i = 0; i < N; i++) chase[(u64)perm[i] * 8] = (u64)perm[(i + 1) % N] * 8;
    free(perm);
    perm = 0;
}
static u64 k_chase(u64 n)
{
    u64 p = 0;
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 1000; i++) p = chase[p];
    sink = p;
    return p;
}
static u64 k_chase_l1(u64 n)
{
    static u64 ring[512];
    for (int i = 0; i < 512; i++) ring[i] = (i * 167 + 1) & 511;
    u64 p = 0;
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 1000; i++) p = ring[p];
    return p;
}
static u64 k_atomic(u64 n)
{
    static u64 v;
    v = 0;
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 1000; i++) {
            __atomic_fetch_add(&v, 1, __ATOMIC_SEQ_CST);
            u64 e = v;
            __atomic_compare_exchange_n(&v, &e, e + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        }
    return v;
}

/* ---------------- kernel paths ---------------- */
static u64 k_getppid(u64 n)
{
    while (n--) syscall(SYS_getppid);
    return 0;
}
static u64 k_vdso(u64 n)
{
    struct timespec t;
    while (n--) clock_gettime(CLOCK_MONOTONIC, &t);
    return 0;
}
static u64 k_clksys(u64 n)
{
    struct timespec t;
    while (n--) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return 0;
}
static u64 k_rdtsc(u64 n)
{
    u64 s = 0;
    for (u64 u = 0; u < n; u++)
        for (int i = 0; i < 100; i++) s += __builtin_ia32_rdtsc();
    sink = s;
    return 0;
}
static u64 k_cpuid(u64 n)
{
    while (n--) {
        u32 a = 0, b, c = 0, d;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    }
    return 0;
}
static u64 k_pipe(u64 n)
{
    int p[2], q[2];
    if (pipe(p) || pipe(q)) return FAILED;
    pid_t c = fork();
    char x = 1;
    if (!c) {
        close(p[1]);
        close(q[0]);
        while (read(p[0], &x, 1) == 1)
            if (write(q[1], &x, 1) != 1) break;
        _exit(0);
    }
    close(p[0]);
    close(q[1]);
    u64 bad = 0;
    while (n-- && !bad) bad = write(p[1], &x, 1) != 1 || read(q[0], &x, 1) != 1;
    close(p[1]);
    close(q[0]);
    waitpid(c, 0, 0);
    return bad ? FAILED : 0;
}
static u64 k_fault(u64 n)
{
    enum { SZ = 4 << 20 };
    while (n--) {
        u8 *p = mmap(0, SZ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(p, SZ, MADV_NOHUGEPAGE);
        for (int i = 0; i < SZ; i += 4096) p[i] = 1;
        munmap(p, SZ);
    }
    return 0;
}
static u64 k_mmap(u64 n)
{
    while (n--) {
        void *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p, 65536);
    }
    return 0;
}
static u64 k_mprotect(u64 n)
{
    static u8 *p;
    if (!p) {
        p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        p[0] = 1;
    }
    while (n--) {
        mprotect(p, 4096, PROT_READ);
        sink += p[0];
        mprotect(p, 4096, PROT_READ | PROT_WRITE);
        p[0]++;
    }
    return 0;
}
static u64 k_fork(u64 n)
{
    while (n--) {
        pid_t c = fork();
        if (!c) _exit(0);
        waitpid(c, 0, 0);
    }
    return 0;
}
static u64 k_exec(u64 n)
{
    while (n--) {
        pid_t c = fork();
        if (!c) {
            char *av[] = {"gb", "--true", 0};
            execve(selfpath, av, 0);
            _exit(9);
        }
        int st = 0;
        waitpid(c, &st, 0);
        if (st) return FAILED;
    }
    return 0;
}
static volatile u64 sigs;
static void onsig(int s)
{
    (void)s;
    sigs++;
}
static u64 k_signal(u64 n)
{
    struct sigaction sa = {.sa_handler = onsig};
    sigaction(SIGUSR1, &sa, 0);
    pid_t me = getpid();
    sigs = 0;
    for (u64 u = 0; u < n; u++) kill(me, SIGUSR1);
    return sigs == n ? 0 : FAILED;
}
static u8 *segp;
static void onsegv(int s, siginfo_t *i, void *c)
{
    (void)s;
    (void)c;
    mprotect((void *)((uintptr_t)i->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
    sigs++;
}
static u64 k_sigsegv(u64 n)
{
    struct sigaction sa = {.sa_sigaction = onsegv, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, 0);
    if (!segp) segp = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigs = 0;
    for (u64 u = 0; u < n; u++) {
        mprotect(segp, 4096, PROT_NONE);
        ((volatile u8 *)segp)[1] = 1;
    }
    signal(SIGSEGV, SIG_DFL);
    return sigs == n ? 0 : FAILED;
}
static u64 k_yield(u64 n)
{
    while (n--) sched_yield();
    return 0;
}
static void *thr(void *a) { return a; }
static u64 k_thread(u64 n)
{
    while (n--) {
        pthread_t t;
        if (pthread_create(&t, 0, thr, 0)) return FAILED;
        pthread_join(t, 0);
    }
    return 0;
}
static u64 k_nanosleep(u64 n)
{
    struct timespec t = {0, 1000000};
    while (n--) nanosleep(&t, 0);
    return 0;
}
static u64 k_file(u64 n)
{
    int fd = open("/tmp/gbfile", O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fd < 0) return FAILED;
    static char b[4096];
    while (n--) {
        for (int i = 0; i < 64; i++)
            if (pwrite(fd, b, 4096, (off_t)i * 4096) != 4096) return FAILED;
        for (int i = 0; i < 64; i++)
            if (pread(fd, b, 4096, (off_t)i * 4096) != 4096) return FAILED;
    }
    close(fd);
    unlink("/tmp/gbfile");
    return 0;
}
static u64 k_stat(u64 n)
{
    struct stat st;
    while (n--) stat("/proc/self/status", &st);
    return 0;
}
/* two processes that both use SSE, switching through a pipe */
static u64 k_fpctx(u64 n)
{
    int p[2], q[2];
    if (pipe(p) || pipe(q)) return FAILED;
    pid_t c = fork();
    char x = 1;
    volatile double a = 1.5;
    if (!c) {
        close(p[1]);
        close(q[0]);
        while (read(p[0], &x, 1) == 1) {
            a = a * 1.0001 + .1;
            if (write(q[1], &x, 1) != 1) break;
        }
        _exit(0);
    }
    close(p[0]);
    close(q[1]);
    u64 bad = 0;
    while (n-- && !bad) {
        a = a * 1.0001 + .1;
        bad = write(p[1], &x, 1) != 1 || read(q[0], &x, 1) != 1;
    }
    close(p[1]);
    close(q[0]);
    waitpid(c, 0, 0);
    return bad ? FAILED : 0;
}

/* ---------------- self-modifying / generated code ---------------- */
static u8 *jit;
static void set_jit(void)
{
    if (!jit) jit = mmap(0, 1 << 20, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
/* patch an immediate and call: mov eax,imm32; ret */
static u64 k_smc(u64 n)
{
    u64 s = 0;
    if (jit == MAP_FAILED) return FAILED;
    jit[0] = 0xb8;
    jit[5] = 0xc3;
    for (u64 u = 0; u < n; u++) {
        u32 v = (u32)u * 2654435761u;
        memcpy(jit + 1, &v, 4);
        u32 r = ((u32 (*)(void))jit)();
        if (r != v) return FAILED;
        s += r;
    }
    sink = s;
    return 0;
}
/* emit 256 fresh functions over 64 KiB, run each a few times */
static u64 k_jit(u64 n)
{
    u64 s = 0;
    if (jit == MAP_FAILED) return FAILED;
    for (u64 u = 0; u < n; u++) {
        for (int f = 0; f < 256; f++) {
            u8 *p = jit + 4096 + f * 256;
            for (int i = 0; i < 40; i++) {
                *p++ = 0x05;
                u32 v = (u32)(u + f * i);
                memcpy(p, &v, 4);
                p += 4;
            }
            *p++ = 0xc3;
        }
        for (int rep = 0; rep < 4; rep++)
            for (int f = 0; f < 256; f++) {
                u32 r;
                void *fp = jit + 4096 + f * 256;
                __asm__ volatile("xor %%eax,%%eax; call *%1" : "=&a"(r) : "r"(fp) : "memory", "cc");
                s += r;
            }
    }
    sink = s;
    return s;
}
/* data stores into a page that also holds hot code */
static u64 k_codedata(u64 n)
{
    u64 s = 0;
    if (jit == MAP_FAILED) return FAILED;
    u8 *c = jit + (512 << 10);
    c[0] = 0x8d;
    c[1] = 0x47;
    c[2] = 0x01;
    c[3] = 0xc3; /* lea eax,[rdi+1]; ret */
    volatile u32 *d = (u32 *)(c + 2048);
    *d = 0;
    for (u64 u = 0; u < n; u++) {
        *d = *d + 1;
        s += ((u32 (*)(u32))c)(*d);
    }
    sink = s;
    return s == n * (n - 1) / 2 + 2 * n ? 0 : FAILED;
}

static struct row rows[] = {
    {"int_sha256", k_sha256, 65536 / 1e6, "MB/s", RATE, set_buf, 3},
    {"int_crc32", k_crc32, 65536 / 1e6, "MB/s", RATE, set_crc, 3},
    {"int_qsort", k_qsort, 32768 / 1e6, "Melem/s", RATE, 0, 1},
    {"int_dhry", k_dhry, 1000 / 1e3, "kiter/s", RATE, 0, 3},
    {"int_interp", k_interp, 4096 * 32 / 1e6, "Mop/s", RATE, 0, 3},
    {"int_fib", k_fib, 21891 / 1e6, "Mcall/s", RATE, 0, 3},
    {"int_muldiv", k_muldiv, 1000 / 1e6, "Miter/s", RATE, 0, 3},
    {"int_sieve", k_sieve, 1, "sieve/s", RATE, 0, 1},
    {"int_strops", k_strops, 1 / 1e3, "kiter/s", RATE, 0, 3},
    {"fp_nbody", k_nbody, 1000 / 1e3, "kstep/s", RATE, 0, 3},
    {"fp_matmul", k_matmul, 2.0 * MM * MM * MM / 1e6, "MFLOP/s", RATE, 0, 1},
    {"fp_mandel", k_mandel, 4096 / 1e6, "Mpix/s", RATE, 0, 1},
    {"fp_x87", k_x87, 1000 / 1e6, "Miter/s", RATE, 0, 3},
    {"fp_libm", k_libm, 200 / 1e3, "kiter/s", RATE, 0, 3},
    {"simd_chacha", k_sse_chacha, 65536 / 1e6, "MB/s", RATE, 0, 3},
    {"simd_ps", k_sse_ps, 4096 / 1e6, "Melem/s", RATE, 0, 3},
    {"mem_copy", k_memcpy, CPY / 1e6, "MB/s", RATE, set_big, 0},
    {"mem_repmovsb", k_repmovsb, (1 << 20) / 1e6, "MB/s", RATE, set_big, 0},
    {"mem_repstosq", k_repstosq, (1 << 20) / 1e6, "MB/s", RATE, set_big, 0},
    {"mem_triad", k_triad, 24.0 * (1 << 19) / 1e6, "MB/s", RATE, set_big, 1},
    {"mem_chase64m", k_chase, 1000, "ns/load", LATENCY, set_chase, 3},
    {"mem_chase_l1", k_chase_l1, 1000, "ns/load", LATENCY, 0, 3},
    {"mem_atomic", k_atomic, 2000, "ns/op", LATENCY, 0, 3},
    {"sys_getppid", k_getppid, 1, "ns/call", LATENCY, free_big, 0},
    {"sys_clock_vdso", k_vdso, 1, "ns/call", LATENCY, 0, 0},
    {"sys_clock_sys", k_clksys, 1, "ns/call", LATENCY, 0, 0},
    {"sys_stat_proc", k_stat, 1, "ns/call", LATENCY, 0, 0},
    {"sys_yield", k_yield, 1, "ns/call", LATENCY, 0, 0},
    {"sys_pipe_pp", k_pipe, 1, "ns/roundtrip", LATENCY, 0, 0},
    {"sys_pipe_pp_fp", k_fpctx, 1, "ns/roundtrip", LATENCY, 0, 0},
    {"sys_fault", k_fault, 1024, "ns/page", LATENCY, 0, 0},
    {"sys_mmap", k_mmap, 1, "ns/pair", LATENCY, 0, 0},
    {"sys_mprotect", k_mprotect, 2, "ns/call", LATENCY, 0, 0},
    {"sys_fork", k_fork, 1e3, "us/fork", LATENCY, free_big, 0},
    {"sys_forkexec", k_exec, 1e3, "us/exec", LATENCY, free_big, 0},
    {"sys_signal", k_signal, 1, "ns/signal", LATENCY, 0, 0},
    {"sys_sigsegv", k_sigsegv, 1, "ns/signal", LATENCY, 0, 0},
    {"sys_thread", k_thread, 1e3, "us/thread", LATENCY, 0, 0},
    {"sys_file4k", k_file, 128, "ns/op", LATENCY, 0, 0},
    {"sys_sleep1ms", k_nanosleep, 1e3, "us/sleep", LATENCY, 0, 0},
    {"cpu_rdtsc", k_rdtsc, 100, "ns/insn", LATENCY, 0, 0},
    {"cpu_cpuid", k_cpuid, 1, "ns/insn", LATENCY, 0, 0},
    {"smc_patch", k_smc, 1, "ns/patch+call", LATENCY, set_jit, 0},
    {"smc_jit64k", k_jit, 256, "ns/func(emit+4calls)", LATENCY, set_jit, 1},
    {"smc_codedata", k_codedata, 1, "ns/store+call", LATENCY, set_jit, 0},
    {0},
};

static void fail(struct row *t) { printf("GB %s FAIL\n", t->name); }

static void run(struct row *t)
{
    if (t->setup) t->setup();
    printf("GBI row %s\n", t->name);
    if (t->sum_n) {
        u64 c = t->fn(t->sum_n);
        if (c == FAILED) return fail(t);
        printf("GBC %s %016llx\n", t->name, (unsigned long long)c);
    }
    u64 n = 1, tot = 0, el = 0, t0;
    if (t->fn(1) == FAILED) return fail(t);
    /* grow the batch until it takes T/8, then run batches until T is spent; keep the best of the batches */
    for (;;) {
        u64 a = now_ns();
        t->fn(n);
        u64 b = now_ns();
        if (b - a > T * 1e9 / 8 || n > (1ull << 40)) break;
        u64 d = b - a;
        n = d < 1000 ? n * 16 : (u64)(n * (T * 1e9 / 8) / d) + 1 > n * 16 ? n * 16 : (u64)(n * (T * 1e9 / 7) / d) + 1;
    }
    printf("GBM start %s\n", t->name);
    double best = 1e30;
    t0 = now_ns();
    do {
        u64 a = now_ns();
        if (t->fn(n) == FAILED) return fail(t);
        u64 b = now_ns();
        double per = (double)(b - a) / n;
        if (per < best) best = per;
        tot += n;
        el = b - t0;
    } while (el < T * 1e9);
    double v = t->mode == RATE ? t->per_unit / (best / 1e9) : best / t->per_unit;
    printf("GBM end %s %llu %llu\n", t->name, (unsigned long long)el, (unsigned long long)tot);
    printf("GB %s %.4g %s\n", t->name, v, t->unit);
}

static char only[1024];

/* Whether a name begins with one of the prefixes, given by the kernel's command line or ours. No prefix means all. */
static int selected(const char *name, int count, char **prefixes)
{
    if (only[0]) {
        char list[sizeof only];
        strcpy(list, only);
        for (char *prefix = strtok(list, ","); prefix; prefix = strtok(0, ","))
            if (!strncmp(name, prefix, strlen(prefix))) return 1;
        return 0;
    }
    for (int i = 0; i < count; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return 1;
    return count == 0;
}

/* Reads a file as text, cut to the buffer. */
static char *read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    text[length > 0 ? length : 0] = 0;
    return text;
}

static void take_console(void)
{
    int console = open("/dev/console", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(console, fd);
    if (console > 2) close(console);
}

static void describe_guest(double boot_s)
{
    char text[4096];
    printf("\nGB_USERSPACE\nGBI booted in %.4g s by the guest's clock\n", boot_s);
    char *model = strstr(read_text("/proc/cpuinfo", text, sizeof text), "model name");
    if (model) printf("GBI %s\n", strtok(model, "\n"));
    char *clocksource = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    printf("GBI clocksource %s", read_text(clocksource, text, sizeof text));
}

static void start_as_init(void)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    mount("proc", "/proc", "proc", 0, 0);
    mount("sysfs", "/sys", "sysfs", 0, 0);
    mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
    mount("tmpfs", "/tmp", "tmpfs", 0, 0);
    take_console();
    char text[4096];
    for (char *word = strtok(read_text("/proc/cmdline", text, sizeof text), " \n"); word; word = strtok(0, " \n")) {
        if (!strncmp(word, "gb.t=", 5)) T = atof(word + 5);
        if (!strncmp(word, "gb.only=", 8)) strncpy(only, word + 8, sizeof only - 1);
    }
    describe_guest(boot.tv_sec + boot.tv_nsec / 1e9);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--true")) return 0; /* what sys_forkexec starts */
    int init = getpid() == 1, first = 1;
    setvbuf(stdout, 0, _IOLBF, 0);
    if (init) {
        start_as_init();
        argc = 1;
    }
    ssize_t length = readlink("/proc/self/exe", selfpath, sizeof selfpath - 1);
    if (length > 0) selfpath[length] = 0;
    if (argc > 2 && !strcmp(argv[1], "-t")) {
        T = atof(argv[2]);
        first = 3;
    }
    for (struct row *t = rows; t->name; t++)
        if (selected(t->name, argc - first, argv + first)) run(t);
    printf("GB_DONE\n");
    if (init) reboot(RB_POWER_OFF);
    return 0;
}
