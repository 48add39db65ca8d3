/* What tiny guests are made of: serial text, caught exceptions, machine registers. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long word;

enum { CODE32 = 0x08, DATA = 0x10, CODE64 = 0x18, USER32 = 0x23, USER_DATA = 0x2B, USER64 = 0x33,
       CODE16 = 0x38, DATA16 = 0x40, NOT_PRESENT = 0x48, TSS = 0x50, FREE = 0x60 };

/* printf with %d %u %x %s %c and the length l (word) and ll (u64); goes to COM1. */
void print(const char *format, ...);
/* Ends the run: status through the debug-exit port, and if that is absent, a triple fault. */
void finish(int status) __attribute__((noreturn));
int guest_main(void);

struct frame {
#ifdef LONG_MODE
    u64 r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, vector, error, ip, cs, flags, sp, ss;
#else
    u32 es, ds, edi, esi, ebp, esp_before, ebx, edx, ecx, eax, vector, error, ip, cs, flags, sp, ss;
#endif
};

/* The last exception that TRY let through. `vector` is NONE if there was none. */
#define NONE 999
struct caught { word vector, error, address, ip, flags, resume, sp; };
extern volatile struct caught caught;

/* Called for a vector before the default action; returns nonzero if it dealt with it. */
extern int (*volatile handlers[256])(struct frame *);

/* Runs `code` (one asm string); an exception in it continues behind it. RAX, RCX and RDX are clobbered. */
#ifdef LONG_MODE
#define TRY(code, ...) do { caught.vector = NONE; caught.error = 0; caught.address = 0; \
    asm volatile("lea 771f(%%rip), %%rax\n mov %%rax, caught+5*8(%%rip)\n mov %%rsp, caught+6*8(%%rip)\n 770: " code "\n 771:" \
                 : : __VA_ARGS__ : "rax", "rcx", "rdx", "memory", "cc"); } while (0)
#else
#define TRY(code, ...) do { caught.vector = NONE; caught.error = 0; caught.address = 0; \
    asm volatile("movl $771f, caught+5*4\n 770: " code "\n 771:" \
                 : : __VA_ARGS__ : "eax", "ecx", "edx", "memory", "cc"); } while (0)
#endif
/* Prints what the last TRY met: "name: ok" or "name: #13(0x0)", with the address for #PF. */
void report(const char *name);

void fill_tables(void);
void set_gate(int vector, void *handler, int selector, int type_and_dpl, int ist);
/* The TSS's ring-0 stack and, in long mode, IST entries. */
void set_kernel_stack(void *top);
void set_ist(int number, void *top);

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { asm volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u32 inl(u16 port) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
#define READ_CR(n) ({ word v_; asm volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v) asm volatile("mov %0, %%cr" #n : : "r"((word)(v)) : "memory")
#define READ_DR(n) ({ word v_; asm volatile("mov %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, v) asm volatile("mov %0, %%dr" #n : : "r"((word)(v)) : "memory")
static inline u64 rdmsr(u32 msr) { u32 a, d; asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(msr)); return (u64)d << 32 | a; }
static inline void wrmsr(u32 msr, u64 v) { asm volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory"); }
static inline u64 rdtsc(void) { u32 a, d; asm volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
static inline void invlpg(volatile void *p) { asm volatile("invlpg (%0)" : : "r"(p) : "memory"); }
static inline void cpuid(u32 leaf, u32 sub, u32 *r) { asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub)); }
#define STACK(name) static u8 name[8192] __attribute__((aligned(4096)))
#define TOP(stack) ((void *)((stack) + sizeof(stack)))

extern word gdt[], gdt_free[], pml4[], pdpt[], page_directory[];
extern u8 stack_top[], interrupt_stubs[];
