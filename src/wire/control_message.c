#include "wire/control_message.h"

#include <stdio.h>
#include <string.h>

#include "wire/bytes.h"
#include "wire/control_overlay.h"

#define MAGIC 0xc4u

/* How many payload bytes each kind may have: `max` and `max_each` for each rank of the job. */
static const struct {
    uint32_t min, max, max_each;
} limits[C4_CONTROL_NKINDS] = {
    [C4_CONTROL_JOIN] = {C4_PROCESS_BYTES, C4_CONTROL_JOIN_MAX_BYTES, 0},
    [C4_CONTROL_WELCOME] = {C4_CONTROL_WELCOME_BYTES, C4_CONTROL_WELCOME_BYTES, 0},
    [C4_CONTROL_BLOCKS] = {0, 0, C4_CONTROL_BLOB_MAX_BYTES},
    [C4_CONTROL_TABLE] = {0, 0, C4_CONTROL_TABLE_RANK_BYTES},
    [C4_CONTROL_FAULT] = {4, 4 + C4_CONTROL_TEXT_MAX_BYTES, 0},
    [C4_CONTROL_GOODBYE] = {0, C4_CONTROL_MESSAGE_MAX_BYTES, 0},
    [C4_CONTROL_HEARTBEAT] = {0, C4_CONTROL_MESSAGE_MAX_BYTES, 0},
    [C4_CONTROL_QUESTION] = {C4_OVERLAY_CARD_BYTES, C4_OVERLAY_CARD_BYTES, 0},
    [C4_CONTROL_ANSWER] = {C4_OVERLAY_CARD_BYTES, C4_OVERLAY_CARD_BYTES, 0},
    [C4_CONTROL_DEATH] = {4, 4 + C4_CONTROL_TEXT_MAX_BYTES, 0},
    [C4_CONTROL_RUMOR] = {C4_OVERLAY_RUMOR_BYTES, C4_OVERLAY_RUMOR_BYTES, 0},
    [C4_CONTROL_REPORT] = {C4_OVERLAY_ENVELOPE_BYTES + 4, C4_OVERLAY_ENVELOPE_BYTES + 4 + C4_CONTROL_TEXT_MAX_BYTES, 0},
    [C4_CONTROL_AGREE] = {C4_OVERLAY_AGREE_BYTES, C4_CONTROL_MESSAGE_MAX_BYTES, 1},
};

void c4_control_header_pack(const c4_control_header *header, unsigned char out[C4_CONTROL_HEADER_BYTES])
{
    out[0] = MAGIC;
    out[1] = C4_CONTROL_VERSION;
    out[2] = (unsigned char)header->kind;
    out[3] = 0;
    c4_put_u32(out + 4, header->bytes);
    c4_put_u32(out + 8, header->rank);
    c4_put_u32(out + 12, header->value);
}

c4_status c4_control_header_unpack(const unsigned char in[C4_CONTROL_HEADER_BYTES], uint32_t nranks,
                                   c4_control_header *header)
{
    unsigned kind = in[2];
    if (in[0] != MAGIC || in[1] != C4_CONTROL_VERSION || in[3] != 0 || kind < 1 || kind >= C4_CONTROL_NKINDS)
        return C4_ERR_PROTOCOL;
    c4_control_header made = {(c4_control_kind)kind, c4_get_u32(in + 4), c4_get_u32(in + 8), c4_get_u32(in + 12)};
    uint64_t max = limits[kind].max + (uint64_t)limits[kind].max_each * nranks;
    if (made.bytes < limits[kind].min || made.bytes > max || (made.rank >= nranks && made.rank != UINT32_MAX))
        return C4_ERR_PROTOCOL;
    *header = made;
    return C4_OK;
}

/* ---- payloads ---- */

static bool is_printable(char c)
{
    return c >= 0x20 && c < 0x7f;
}

void c4_process_pack(const c4_process *process, unsigned char out[C4_PROCESS_BYTES])
{
    memset(out, 0, C4_PROCESS_BYTES);
    c4_put_u32(out, process->pid);
    c4_put_u32(out + 4, process->uid);
    c4_put_u64(out + 8, process->start_ticks);
    c4_put_u64(out + 16, process->pid_namespace);
    memcpy(out + 24, process->boot_id, 16);
    memcpy(out + 40, process->host, strnlen(process->host, C4_HOST_NAME_BYTES - 1));
}

c4_status c4_process_unpack(const unsigned char *in, size_t bytes, c4_process *process)
{
    if (bytes != C4_PROCESS_BYTES)
        return C4_ERR_PROTOCOL;
    c4_process made = {.pid = c4_get_u32(in),
                       .uid = c4_get_u32(in + 4),
                       .start_ticks = c4_get_u64(in + 8),
                       .pid_namespace = c4_get_u64(in + 16)};
    memcpy(made.boot_id, in + 24, 16);
    memcpy(made.host, in + 40, C4_HOST_NAME_BYTES);
    if (made.pid == 0 || made.pid > INT32_MAX || made.host[C4_HOST_NAME_BYTES - 1] != '\0')
        return C4_ERR_PROTOCOL;
    for (const char *c = made.host; *c; c++)
        if (!is_printable(*c))
            return C4_ERR_PROTOCOL;
    *process = made;
    return C4_OK;
}

void c4_control_welcome_pack(const c4_control_welcome *welcome, unsigned char out[C4_CONTROL_WELCOME_BYTES])
{
    memset(out, 0, C4_CONTROL_WELCOME_BYTES);
    out[0] = welcome->has_key;
    memcpy(out + 8, welcome->nonce, C4_JOB_NONCE_BYTES);
    if (welcome->has_key)
        memcpy(out + 8 + C4_JOB_NONCE_BYTES, welcome->key, C4_KEY_BYTES);
}

c4_status c4_control_welcome_unpack(const unsigned char *in, size_t bytes, c4_control_welcome *welcome)
{
    if (bytes != C4_CONTROL_WELCOME_BYTES || in[0] > 1)
        return C4_ERR_PROTOCOL;
    welcome->has_key = in[0];
    memcpy(welcome->nonce, in + 8, C4_JOB_NONCE_BYTES);
    memcpy(welcome->key, in + 8 + C4_JOB_NONCE_BYTES, C4_KEY_BYTES);
    return C4_OK;
}

static bool is_error(c4_status status)
{
    switch (status) {
#define STATUS_CASE(name, value, text, advice) case C4_##name:
        C4_STATUS_MAP(STATUS_CASE)
#undef STATUS_CASE
        return status < 0;
    }
    return false;
}

size_t c4_control_fault_pack(const c4_control_fault *fault, unsigned char out[C4_CONTROL_MESSAGE_MAX_BYTES])
{
    size_t length = strnlen(fault->text, C4_CONTROL_TEXT_MAX_BYTES);
    c4_put_u32(out, (uint32_t)fault->status);
    memcpy(out + 4, fault->text, length);
    return 4 + length;
}

c4_status c4_control_fault_unpack(const unsigned char *in, size_t bytes, c4_control_fault *fault)
{
    if (bytes < 4 || bytes > 4 + C4_CONTROL_TEXT_MAX_BYTES)
        return C4_ERR_PROTOCOL;
    c4_status status = (c4_status)(int32_t)c4_get_u32(in);
    if (!is_error(status))
        return C4_ERR_PROTOCOL;
    fault->status = status;
    for (size_t i = 0; i < bytes - 4; i++)
        fault->text[i] = is_printable((char)in[4 + i]) ? (char)in[4 + i] : '?';
    fault->text[bytes - 4] = '\0';
    if (bytes == 4) /* an error is never without words */
        snprintf(fault->text, sizeof fault->text, "%s", c4_status_text(status));
    return C4_OK;
}
