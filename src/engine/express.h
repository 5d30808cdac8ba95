/* The short way for blocking calls, see express.c. */
#ifndef C4_ENGINE_EXPRESS_H
#define C4_ENGINE_EXPRESS_H

#include "engine/internal.h"

/* *express: the program's moves; NULL when it does not qualify. */
c4_status c4_express_create(c4_engine *engine, const c4_call *call, const c4_program *program, c4_express **express);
void c4_express_destroy(c4_express *express);

#endif
