/* A machine of which the doctor has nothing to say. */
#ifndef C4_TESTS_TOOLS_C4INFO_MACHINE_H
#define C4_TESTS_TOOLS_C4INFO_MACHINE_H

#include "tools/c4info/doctor.h"

#define MIB (1024ll * 1024)
#define GIB (1024 * MIB)

c4info_netif_facts machine_netif(const char *name, unsigned char last, unsigned char third);
/* Every check applies, and none has anything to say. */
void machine_healthy(c4info_facts *facts);

#endif
