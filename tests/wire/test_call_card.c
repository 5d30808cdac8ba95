#include "wire/call_card.h"

#include <string.h>

#include "tests/c4test.h"

static const c4_call_card call = {
    .sequence = 0xfffffff0u, .kind = 3, .dtype = C4_BFLOAT16, .op = C4_NOPS, .root = 65535, .count = 1ull << 40};
static const c4_call_card other = {.sequence = 17, .kind = 14, .dtype = C4_INT8, .root = 1};

static void check_call(const c4_call_card *a, const c4_call_card *b)
{
    CU_ASSERT(a->sequence == b->sequence && a->kind == b->kind && a->dtype == b->dtype && a->op == b->op &&
              a->root == b->root && a->count == b->count);
}

static void test_question(void)
{
    unsigned char bytes[C4_CALL_CARD_BYTES];
    c4_call_question question = {.owner = 511, .call = call}, again;
    c4_call_question_pack(&question, bytes);
    C4TEST_OK(c4_call_question_unpack(bytes, &again));
    C4TEST_INT(again.owner, 511);
    check_call(&again.call, &call);
    bytes[0]++;
    C4TEST_INT(c4_call_question_unpack(bytes, &again), C4_ERR_PROTOCOL);
    question.call.dtype = C4_NDTYPES;
    c4_call_question_pack(&question, bytes);
    C4TEST_INT(c4_call_question_unpack(bytes, &again), C4_ERR_PROTOCOL);
    question.call = call;
    question.call.op = C4_NOPS + 1;
    c4_call_question_pack(&question, bytes);
    C4TEST_INT(c4_call_question_unpack(bytes, &again), C4_ERR_PROTOCOL);
}

static void test_answer(void)
{
    for (unsigned flags = 0; flags < 64; flags++) {
        unsigned char bytes[C4_CALL_CARD_BYTES];
        c4_call_answer answer = {.has_call = flags & 1,
                                 .ended = flags & 2,
                                 .waits = flags & 4,
                                 .blocked = flags & 8,
                                 .receives = flags & 16,
                                 .sure = flags & 32,
                                 .age_ms = 12345,
                                 .call = call,
                                 .waits_for = 65534,
                                 .stuck_ms = 67890,
                                 .stuck = other},
                       again;
        c4_call_answer_pack(&answer, bytes);
        C4TEST_OK(c4_call_answer_unpack(bytes, &again));
        CU_ASSERT(again.has_call == answer.has_call && again.ended == answer.ended && again.waits == answer.waits &&
                  again.blocked == answer.blocked && again.receives == answer.receives && again.sure == answer.sure);
        CU_ASSERT(again.age_ms == 12345 && again.stuck_ms == 67890 && again.waits_for == 65534);
        check_call(&again.call, &call);
        check_call(&again.stuck, &other);
        bytes[1] |= 64;
        C4TEST_INT(c4_call_answer_unpack(bytes, &again), C4_ERR_PROTOCOL);
        bytes[1] = 0;
        bytes[0] = 2;
        C4TEST_INT(c4_call_answer_unpack(bytes, &again), C4_ERR_PROTOCOL);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(question), C4TEST(answer), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
