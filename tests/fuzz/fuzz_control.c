/* A stream of control messages, and each payload parser on its own. What a parser accepts must survive being packed and
 * parsed again. Byte 0: rank count. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "wire/control_message.h"
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
    parse_unique_id(data, size);
    return 0;
}
