#include "wire/call_card.h"

#include <string.h>

#include "base/status.h"
#include "wire/bytes.h"

enum { OWNER = 4, CALL = 8, AGE = 4, WAITS_FOR = 28, STUCK_CALL = 32, STUCK = 52, CALLED = 56, STATUS = 60 };
enum { HAS_CALL = 1, ENDED = 2, WAITS = 4, BLOCKED = 8, RECEIVES = 16, SURE = 32, ALL_FLAGS = 63 };

static void pack_call(const c4_call_card *call, unsigned char *out)
{
    c4_put_u32(out, call->sequence);
    out[4] = call->kind;
    out[5] = call->dtype;
    out[6] = call->op;
    c4_put_u32(out + 8, (uint32_t)call->root);
    c4_put_u64(out + 12, call->count);
}

static bool unpack_call(const unsigned char *in, c4_call_card *call)
{
    call->sequence = c4_get_u32(in);
    call->kind = in[4];
    call->dtype = in[5];
    call->op = in[6];
    call->root = (int32_t)c4_get_u32(in + 8);
    call->count = c4_get_u64(in + 12);
    return call->dtype < C4_NDTYPES && call->op <= C4_NOPS;
}

void c4_call_question_pack(const c4_call_question *question, unsigned char out[C4_CALL_CARD_BYTES])
{
    memset(out, 0, C4_CALL_CARD_BYTES);
    out[0] = C4_CALL_CARD_VERSION;
    c4_put_u32(out + OWNER, (uint32_t)question->owner);
    pack_call(&question->call, out + CALL);
}

c4_status c4_call_question_unpack(const unsigned char in[C4_CALL_CARD_BYTES], c4_call_question *question)
{
    if (in[0] != C4_CALL_CARD_VERSION || !unpack_call(in + CALL, &question->call))
        return C4_ERR_PROTOCOL;
    question->owner = (int32_t)c4_get_u32(in + OWNER);
    return C4_OK;
}

void c4_call_answer_pack(const c4_call_answer *answer, unsigned char out[C4_CALL_CARD_BYTES])
{
    memset(out, 0, C4_CALL_CARD_BYTES);
    out[0] = C4_CALL_CARD_VERSION;
    out[1] = (unsigned char)((answer->has_call ? HAS_CALL : 0) | (answer->ended ? ENDED : 0) |
                             (answer->waits ? WAITS : 0) | (answer->blocked ? BLOCKED : 0) |
                             (answer->receives ? RECEIVES : 0) | (answer->sure ? SURE : 0));
    c4_put_u32(out + AGE, answer->age_ms);
    pack_call(&answer->call, out + CALL);
    c4_put_u32(out + WAITS_FOR, (uint32_t)answer->waits_for);
    pack_call(&answer->stuck, out + STUCK_CALL);
    c4_put_u32(out + STUCK, answer->stuck_ms);
    c4_put_u32(out + CALLED, answer->called);
    c4_put_u32(out + STATUS, (uint32_t)answer->status);
}

c4_status c4_call_answer_unpack(const unsigned char in[C4_CALL_CARD_BYTES], c4_call_answer *answer)
{
    memset(answer, 0, sizeof *answer);
    if (in[0] != C4_CALL_CARD_VERSION || (in[1] & ~ALL_FLAGS) || !unpack_call(in + CALL, &answer->call) ||
        !unpack_call(in + STUCK_CALL, &answer->stuck))
        return C4_ERR_PROTOCOL;
    answer->has_call = in[1] & HAS_CALL;
    answer->ended = in[1] & ENDED;
    answer->waits = in[1] & WAITS;
    answer->blocked = in[1] & BLOCKED;
    answer->receives = in[1] & RECEIVES;
    answer->sure = in[1] & SURE;
    answer->age_ms = c4_get_u32(in + AGE);
    answer->waits_for = (int32_t)c4_get_u32(in + WAITS_FOR);
    answer->stuck_ms = c4_get_u32(in + STUCK);
    answer->called = c4_get_u32(in + CALLED);
    answer->status = (int32_t)c4_get_u32(in + STATUS);
    return answer->status <= 0 ? C4_OK : C4_ERR_PROTOCOL;
}
