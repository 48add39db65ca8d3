/* Protected mode's oldest corners: task switches, call gates, rings 1-3, conforming code, LDT, limits. mode: 32 */
#include "runtime/runtime.h"

extern u32 tss[32];
STACK(task_stack);
STACK(ring_stack);
static u32 other[32] __attribute__((aligned(128)));
static u64 ldt[2] __attribute__((aligned(8)));
static volatile u32 seen, seen_nt, seen_back, gate_cs, gate_ss, gate_parameter;

static void descriptor(int selector, u32 base, u32 limit, u32 rights)
{
    u32 *entry = (u32 *)((u8 *)gdt + (selector & ~7));
    entry[0] = (limit & 0xFFFF) | base << 16;
    entry[1] = (base >> 16 & 0xFF) | rights << 8 | (limit & 0xF0000) | (base & 0xFF000000);
}

static void gate(int selector, void *offset, int target, u32 rights_and_count)
{
    u32 *entry = (u32 *)((u8 *)gdt + (selector & ~7));
    entry[0] = ((u32)offset & 0xFFFF) | target << 16;
    entry[1] = ((u32)offset & 0xFFFF0000) | rights_and_count;
}

static void prepare(void *entry)
{
    for (int i = 0; i < 32; i++)
        other[i] = 0;
    other[7] = READ_CR(3);
    other[8] = (u32)entry;
    other[9] = 2;
    other[14] = (u32)TOP(task_stack);
    other[18] = DATA, other[19] = CODE32, other[20] = DATA, other[21] = DATA, other[22] = DATA, other[23] = DATA;
    other[25] = sizeof other << 16;
    descriptor(FREE, (u32)other, sizeof other - 1, 0x89);
}

extern u8 task_entry[], task_error[], gate_target[], ring3_code[];
asm("task_entry: pushf\n pop %eax\n mov %eax, seen_nt\n incl seen\n movzwl other, %eax\n mov %eax, seen_back\n iret\n"
    " incl seen\n iret\n"
    "task_error: pop %eax\n mov %eax, seen_back\n incl seen\n addl $2, tss+32\n iret\n jmp task_error\n"
    "gate_target: push %ss\n pop %ds\n mov %cs, gate_cs\n mov %ss, gate_ss\n mov 8(%esp), %eax\n mov %eax, gate_parameter\n lret $4\n"
    "ring3_code: push $0xCAFE\n lcall $0x6B, $0\n int $0x70\n");

static volatile u32 ring_sp, ring_cs, ring_ss;
static int on_service(struct frame *frame)
{
    ring_cs = frame->cs;
    ring_ss = frame->ss;
    frame->cs = CODE32;
    frame->ip = (u32)frame->ebx;
    frame->flags = 2;
    return 1;
}

static void switches(void)
{
    prepare(task_entry);
    asm volatile("lcall %0, $0" : : "i"(FREE) : "memory");
    print("call: ran %d, NT %d, back link 0x%x, busy bits %d %d\n", seen, seen_nt >> 14 & 1, seen_back,
          (int)(((u32 *)gdt)[FREE / 4 + 1] >> 9 & 1), (int)(((u32 *)gdt)[TSS / 4 + 1] >> 9 & 1));
    asm volatile("lcall %0, $0" : : "i"(FREE) : "memory");
    print("call again, behind its iret: ran %d\n", seen);
    TRY("ljmp %0, $0", "i"(TSS));
    report("jump to the busy current task");
    descriptor(FREE, (u32)other, 0x66, 0x89);
    TRY("lcall %0, $0", "i"(FREE));
    report("task state too short");
    descriptor(FREE, (u32)other, sizeof other - 1, 0x09);
    TRY("lcall %0, $0", "i"(FREE));
    report("task not present");
    /* A fault through a task gate: the error code is pushed on the new task's stack; its IRET resumes. */
    prepare(task_error);
    set_gate(11, 0, FREE, 0x05, 0);
    seen = 0;
    asm volatile("mov %0, %%eax\n mov %%eax, %%fs\n 1:" : : "i"(NOT_PRESENT) : "eax", "memory");
    print("task gate: ran %d, error 0x%x\n", seen, seen_back);
}

static void gates(void)
{
    gate(FREE + 8, gate_target, CODE32, 0xEC01); /* 68: call gate, DPL 3, one parameter */
    set_kernel_stack(TOP(ring_stack));
    set_gate(0x70, interrupt_stubs + 16 * 0x70, CODE32, 0x6E, 0);
    handlers[0x70] = on_service;
    asm volatile("push %%ebp\n mov $1f, %%ebx\n mov %%esp, ring_sp\n"
                 "push %0\n push %%esp\n push %1\n push $ring3_code\n lret\n"
                 "1: mov %2, %%eax\n mov %%eax, %%ss\n mov %%eax, %%ds\n mov %%eax, %%es\n mov ring_sp, %%esp\n"
                 "mov %%eax, %%fs\n mov %%eax, %%gs\n pop %%ebp"
                 : : "i"(USER_DATA), "i"(USER32), "i"(DATA) : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory");
    print("call gate: cs 0x%x ss 0x%x parameter 0x%x\n", gate_cs, gate_ss, gate_parameter);
    print("ring 3 left from cs 0x%x ss 0x%x\n", ring_cs, ring_ss);
}

static void segments(void)
{
    ldt[1] = 0x00CF93000000FFFFull;
    descriptor(FREE + 16, (u32)ldt, sizeof ldt - 1, 0x82);
    TRY("lldt %w0\n mov $0xC, %%eax\n mov %%eax, %%fs", "r"(FREE + 16));
    report("LDT segment");
    TRY("mov $0x14, %%eax\n mov %%eax, %%fs");
    report("beyond the LDT");
    descriptor(FREE + 24, 0x1000, 0xFFF, 0x4093 & 0xFF);
    ((u32 *)gdt)[(FREE + 24) / 4 + 1] |= 0x400000;
    TRY("mov %0, %%eax\n mov %%eax, %%fs\n mov %%fs:0xFFC, %%ecx", "i"(FREE + 24));
    report("last dword within the limit");
    TRY("mov %%fs:0xFFD, %%ecx");
    report("dword across the limit");
    ((u32 *)gdt)[(FREE + 24) / 4 + 1] |= 0x400; /* expand down */
    TRY("mov %0, %%eax\n mov %%eax, %%fs\n mov %%fs:0xFFC, %%ecx", "i"(FREE + 24));
    report("expand-down, below the limit");
    TRY("mov %%fs:0x2000, %%ecx");
    report("expand-down, above the limit");
    u32 rights = 0, limit = 0;
    asm volatile("lar %1, %0" : "+r"(rights) : "r"(CODE32));
    asm volatile("lsl %1, %0" : "+r"(limit) : "r"(FREE + 24));
    print("lar 0x%x lsl 0x%x\n", rights, limit);
    TRY("xor %%eax, %%eax\n mov %%eax, %%fs\n mov %%fs:0, %%ecx");
    report("null segment");
    TRY("xor %%eax, %%eax\n mov %%eax, %%ss");
    report("null stack segment");
    TRY("bound %%eax, zero_bounds");
    report("bound");
    TRY("mov $0x7F, %%al\n add $1, %%al\n into");
    report("into");
}
volatile int zero_bounds[2] = {1, 0};

int guest_main(void)
{
    gates();
    segments();
    switches();
    print("done\n");
    return 0;
}
