/* The C half of the tiny guests' runtime. */
#include <stdarg.h>
#include "runtime.h"

volatile struct caught caught;
int (*volatile handlers[256])(struct frame *);
extern u8 gdt_tss[], idt[];

#ifdef LONG_MODE
static struct { u32 reserved0; u64 rsp[3]; u64 reserved1; u64 ist[7]; u64 reserved2; u16 reserved3, iomap; }
    __attribute__((packed, aligned(16))) tss;
#else
u32 tss[32] __attribute__((aligned(128)));
#endif

static void put(char c)
{
    while (!(inb(0x3FD) & 0x20))
        ;
    outb(0x3F8, c);
}

static void put_number(u64 value, unsigned base)
{
    char digits[20];
    int n = 0;
    /* 64-bit division by a constant in two steps, so that 32-bit guests need no helper library. */
    do {
        u32 high = value >> 32, low = value;
        u32 remainder = high % base;
        u32 quotient_high = high / base, quotient_low;
        asm("divl %3" : "=a"(quotient_low), "=d"(remainder) : "0"(low), "r"(base), "1"(remainder));
        digits[n++] = "0123456789abcdef"[remainder];
        value = (u64)quotient_high << 32 | quotient_low;
    } while (value);
    while (n)
        put(digits[--n]);
}

void print(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        int longs = 0;
        while (*++format == 'l')
            longs++;
        if (*format == 's') {
            for (const char *s = va_arg(list, const char *); *s; s++)
                put(*s);
            continue;
        }
        if (*format == 'c') {
            put(va_arg(list, int));
            continue;
        }
        if (*format == '%') {
            put('%');
            continue;
        }
        u64 value = longs == 2 ? va_arg(list, u64) : longs == 1 ? va_arg(list, word) : va_arg(list, u32);
        if (*format == 'd' && longs == 0 && (int)value < 0) {
            put('-');
            value = -(int)value;
        }
        put_number(value, *format == 'x' ? 16 : 10);
    }
    va_end(list);
}

void finish(int status)
{
    outl(0xF4, status);
    static struct { u16 limit; word base; } __attribute__((packed)) none;
    asm volatile("lidt %0; ud2" : : "m"(none));
    for (;;)
        ;
}

void on_interrupt(struct frame *frame)
{
    if (handlers[frame->vector & 255] && handlers[frame->vector & 255](frame))
        return;
    word address = 0;
    if (frame->vector == 14)
        asm volatile("mov %%cr2, %0" : "=r"(address));
    if (!caught.resume) {
        print("unexpected #%d(0x%lx) at 0x%lx address 0x%lx\n", (int)frame->vector, (word)frame->error,
              (word)frame->ip, address);
        finish(127);
    }
    caught.vector = frame->vector;
    caught.error = frame->error;
    caught.address = address;
    caught.ip = frame->ip;
    caught.flags = frame->flags;
    frame->ip = caught.resume;
#ifdef LONG_MODE
    frame->sp = caught.sp;
#endif
    caught.resume = 0;
}

void report(const char *name)
{
    caught.resume = 0;
    if (caught.vector == NONE)
        print("%s: ok\n", name);
    else if (caught.vector == 14)
        print("%s: #14(0x%lx) address 0x%lx\n", name, caught.error, caught.address);
    else
        print("%s: #%d(0x%lx)\n", name, (int)caught.vector, caught.error);
}

void set_gate(int vector, void *handler, int selector, int type_and_dpl, int ist)
{
    word offset = (word)handler;
    u32 low = (offset & 0xFFFF) | selector << 16;
    u32 high = (offset & 0xFFFF0000) | 0x8000 | type_and_dpl << 8 | ist;
#ifdef LONG_MODE
    u32 *gate = (u32 *)(idt + 16 * vector);
    gate[2] = offset >> 32;
    gate[3] = 0;
#else
    u32 *gate = (u32 *)(idt + 8 * vector);
#endif
    gate[0] = low;
    gate[1] = high;
}

void set_kernel_stack(void *top)
{
#ifdef LONG_MODE
    tss.rsp[0] = (u64)top;
#else
    tss[1] = (u32)top;
    tss[2] = DATA;
#endif
}

void set_ist(int number, void *top)
{
#ifdef LONG_MODE
    tss.ist[number - 1] = (u64)top;
#else
    (void)number, (void)top;
#endif
}

STACK(kernel_stack);

void fill_tables(void)
{
#ifdef LONG_MODE
    int code = CODE64;
#else
    int code = CODE32;
#endif
    for (int vector = 0; vector < 256; vector++)
        set_gate(vector, interrupt_stubs + 16 * vector, code, vector == 3 || vector == 4 ? 0x6E : 0x0E, 0);
    word base = (word)&tss;
    u32 limit = sizeof tss - 1;
    u32 *descriptor = (u32 *)gdt_tss;
    descriptor[0] = limit | base << 16;
    descriptor[1] = (base >> 16 & 0xFF) | 0x8900 | (base & 0xFF000000);
#ifdef LONG_MODE
    descriptor[2] = base >> 32;
    descriptor[3] = 0;
    tss.iomap = sizeof tss;
#else
    tss[25] = sizeof tss << 16;
#endif
    set_kernel_stack(TOP(kernel_stack));
}
