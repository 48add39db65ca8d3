/* Control registers refuse what they must; TCG does not, and loses its way. mode: 64 qemu: hangs */
#include "runtime/runtime.h"

int guest_main(void)
{
    TRY("mov %%cr0, %%rcx\n and $-2, %%rcx\n mov %%rcx, %%cr0");
    report("clear PE under paging");
    TRY("mov %%cr4, %%rcx\n bts $31, %%rcx\n mov %%rcx, %%cr4");
    report("reserved CR4 bit");
    print("done\n");
    return 0;
}
