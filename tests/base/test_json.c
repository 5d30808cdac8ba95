#include <stdint.h>

#include "base/json.h"
#include "tests/c4test.h"

static void test_json(void)
{
    c4_json json;
    c4_json_init(&json, 4096);
    c4_json_open(&json, NULL, '{');
    c4_json_string(&json, "a", "q\"\\\n\x01 \xc3\xa9 \xff\xc3[");
    c4_json_open(&json, "b", '[');
    c4_json_int(&json, NULL, -5);
    c4_json_uint(&json, NULL, UINT64_MAX);
    c4_json_open(&json, NULL, '{');
    c4_json_close(&json, '{');
    c4_json_real(&json, NULL, 1.0005);
    c4_json_real(&json, NULL, -0.25);
    c4_json_real(&json, NULL, 1e300);
    c4_json_close(&json, '[');
    c4_json_bool(&json, "c", true);
    c4_json_string(&json, "d", NULL);
    c4_json_format(&json, "e", "%d%%", 7);
    c4_json_close(&json, '{');
    C4TEST_STRING(
        json.text,
        "{\"a\":\"q\\\"\\\\\\u000a\\u0001 \xc3\xa9 ?\x3f[\",\"b\":[-5,18446744073709551615,{},1.001,-0.250,null],"
        "\"c\":true,\"d\":null,\"e\":\"7%\"}");
    CU_ASSERT(!json.failed);
    c4_json_fini(&json);
    c4_json_init(&json, 32);
    for (int i = 0; i < 100; i++)
        c4_json_string(&json, NULL, "0123456789");
    CU_ASSERT(json.failed);
    CU_ASSERT(json.bytes < 32);
    c4_json_fini(&json);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(json), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
