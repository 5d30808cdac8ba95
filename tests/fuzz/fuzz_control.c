/* A stream of control messages, and each payload parser on its own. What a parser accepts must survive being packed and
 * parsed again. Byte 0: rank count. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "wire/control_message.h"
#include "wire/control_overlay.h"
#include "wire/unique_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_process(const uint8_t *data, size_t size)
{
    c4_process process;
    c4_process again;
    unsigned char packed[C4_PROCESS_BYTES];
    if (c4_process_unpack(data, size, &process) < 0)
        return;
    c4_process_pack(&process, packed);
    if (c4_process_unpack(packed, sizeof packed, &again) < 0 || strcmp(process.host, again.host) != 0)
        abort();
}

static void parse_fault(const uint8_t *data, size_t size)
{
    c4_control_fault fault;
    unsigned char packed[C4_CONTROL_MESSAGE_MAX_BYTES];
    if (c4_control_fault_unpack(data, size, &fault) < 0)
        return;
    if (fault.status >= 0 || strlen(fault.text) > C4_CONTROL_TEXT_MAX_BYTES)
        abort();
    if (c4_control_fault_pack(&fault, packed) > sizeof packed)
        abort();
}

/* What is accepted is packed again into the same bytes, and stays within the ranks. */
static void parse_agree(const uint8_t *data, size_t size, uint32_t nranks)
{
    static unsigned char packed[C4_CONTROL_MESSAGE_MAX_BYTES + 256];
    c4_overlay_agree agree;
    c4_overlay_agree again;
    if (c4_overlay_agree_unpack(data, size, nranks, &agree) < 0)
        return;
    if (size > c4_overlay_max_bytes(nranks) || c4_overlay_agree_pack(&agree, packed) != size ||
        c4_overlay_agree_unpack(packed, size, nranks, &again) < 0 || again.round != agree.round ||
        (agree.blob_bytes && memcmp(agree.blob, again.blob, agree.blob_bytes) != 0))
        abort();
}

static void parse_overlay(const uint8_t *data, size_t size, uint32_t nranks)
{
    unsigned char packed[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_overlay_leavers leavers;
    c4_overlay_rumor rumor;
    c4_overlay_card card;
    if (c4_overlay_leavers_unpack(data, size, nranks, &leavers) == C4_OK &&
        (c4_overlay_leavers_pack(&leavers, packed) != size || memcmp(packed, data, size) != 0))
        abort();
    if (c4_overlay_rumor_unpack(data, size, &rumor) == C4_OK) {
        c4_overlay_rumor_pack(&rumor, packed);
        if (c4_overlay_rumor_unpack(packed, C4_OVERLAY_RUMOR_BYTES, &rumor) < 0)
            abort();
    }
    if (c4_overlay_card_unpack(data, size, nranks, &card) == C4_OK) {
        c4_overlay_card_pack(&card, packed);
        if (card.about >= nranks || c4_overlay_card_unpack(packed, C4_OVERLAY_CARD_BYTES, nranks, &card) < 0)
            abort();
    }
    parse_agree(data, size, nranks);
}

static void parse_unique_id(const uint8_t *data, size_t size)
{
    c4_unique_id id;
    c4_unique_id again;
    c4_unique_id_fields fields;
    if (size < sizeof id.bytes)
        return;
    memcpy(id.bytes, data, sizeof id.bytes);
    if (c4_unique_id_unpack(&id, &fields) < 0)
        return;
    c4_unique_id_pack(&fields, &again);
    if (c4_unique_id_unpack(&again, &fields) < 0)
        abort();
}

static void parse_stream(const uint8_t *data, size_t size, uint32_t nranks)
{
    while (size >= C4_CONTROL_HEADER_BYTES) {
        c4_control_header header;
        c4_control_welcome welcome;
        if (c4_control_header_unpack(data, nranks, &header) < 0)
            return;
        if (header.bytes > (uint64_t)C4_CONTROL_BLOB_MAX_BYTES * nranks)
            abort();
        data += C4_CONTROL_HEADER_BYTES;
        size -= C4_CONTROL_HEADER_BYTES;
        size_t take = header.bytes < size ? header.bytes : size;
        parse_process(data, take);
        parse_fault(data, take);
        parse_overlay(data, take, nranks);
        c4_control_welcome_unpack(data, take, &welcome);
        data += take;
        size -= take;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    c4_log_configure(C4_LOG_NONE, NULL);
    if (!size)
        return 0;
    parse_stream(data + 1, size - 1, data[0] + 1u);
    parse_process(data + 1, size - 1);
    parse_fault(data + 1, size - 1);
    parse_overlay(data + 1, size - 1, data[0] + 1u);
    parse_unique_id(data, size);
    return 0;
}
