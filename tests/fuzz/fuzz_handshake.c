/* Bytes from a stranger into both ends of the handshake, in pieces whose sizes the input chooses. Byte 0: bit 0 which
 * end, bit 1 with a key; byte 1: size of the pieces. Without the key nothing may end in C4_OK. */
#include <stdlib.h>

#include "wire/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char key[C4_KEY_BYTES] = "a key that fuzzers cannot know";
    if (size < 2)
        return 0;
    bool client = data[0] & 1;
    bool keyed = data[0] & 2;
    size_t piece = data[1] + 1u;
    c4_handshake handshake;
    c4_handshake_identity identity = {.key = keyed ? key : NULL,
                                      .job_id = 1,
                                      .rank = client ? 1 : 0,
                                      .peer_rank = client ? 0 : C4_HANDSHAKE_ANY_RANK,
                                      .nranks = 4,
                                      .role = C4_HANDSHAKE_DATA,
                                      .transport = "tcp"};
    if (c4_handshake_init(&handshake, &identity, client) < 0)
        return 0;
    data += 2;
    size -= 2;
    while (size) {
        const unsigned char *out = NULL;
        size_t consumed = 0;
        size_t take = piece < size ? piece : size;
        c4_status status = c4_handshake_input(&handshake, data, take, &consumed);
        c4_handshake_sent(&handshake, c4_handshake_output(&handshake, &out));
        if (consumed > take || (keyed && c4_handshake_status(&handshake) == C4_OK))
            abort();
        if (c4_handshake_status(&handshake) == C4_OK && !client && handshake.peer_rank >= 4)
            abort();
        if (status != C4_IN_PROGRESS || consumed < take)
            break;
        data += take;
        size -= take;
    }
    return 0;
}
