#include "wire/handshake.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "base/status.h"
#include "wire/bytes.h"

#define MAGIC 0x53483443u /* "C4HS" */

/* Layout: magic 4, version 2, type 1, zero 1, fields 40, nonce 32, tag 32. Fields: role 1, keyed 1, epoch 2, client
 * rank 4, server rank 4, nranks 4, stream 4, TLS 1, zero 3, job 8, transport 8. */
enum { TYPE_AT = 6, FIELDS_AT = 8, NONCE_AT = 48, TAG_AT = 80 };
enum {
    ROLE_AT = 0,
    KEYED_AT = 1,
    EPOCH_AT = 2,
    CLIENT_AT = 4,
    SERVER_AT = 8,
    NRANKS_AT = 12,
    STREAM_AT = 16,
    TLS_AT = 20,
    JOB_AT = 24,
    TRANSPORT_AT = 32,
    FIELDS_BYTES = 40
};
enum { NOTHING = 0, HELLO = 1, CHALLENGE = 2, PROOF = 3, ACCEPT = 4, REFUSE = 5 };

/* Why a side refuses. The number goes over the wire (first byte of the nonce field), unprotected: it only explains. */
typedef enum refusal {
    BAD_KEY = 1,
    BAD_KEYED,
    BAD_JOB,
    BAD_ROLE,
    BAD_TRANSPORT,
    BAD_EPOCH,
    BAD_NRANKS,
    BAD_SERVER_RANK,
    BAD_CLIENT_RANK,
    BAD_TLS,
    NREFUSALS
} refusal;

static const char *const refusal_texts[NREFUSALS] = {
    [BAD_KEY] = "the two sides have different keys",
    [BAD_KEYED] = "one side has a key and the other has none",
    [BAD_JOB] = "the two sides belong to different jobs",
    [BAD_ROLE] = "a data connection met a control port, or the reverse",
    [BAD_TRANSPORT] = "the two sides run different transports",
    [BAD_EPOCH] = "the two sides have different membership epochs",
    [BAD_NRANKS] = "the two sides were started with different rank counts",
    [BAD_SERVER_RANK] = "the connection was meant for another rank",
    [BAD_CLIENT_RANK] = "the client's rank is out of range, the server's own or not the expected one",
    [BAD_TLS] = "one side has C4_TLS=on and the other has not; set it alike on all ranks",
};

/* ---- messages ---- */

static void send_message(c4_handshake *h, unsigned char type, const unsigned char *nonce, const unsigned char *tag)
{
    memset(h->out, 0, sizeof h->out);
    c4_put_u32(h->out, MAGIC);
    c4_put_u16(h->out + 4, C4_HANDSHAKE_VERSION);
    h->out[TYPE_AT] = type;
    memcpy(h->out + FIELDS_AT, h->fields, FIELDS_BYTES);
    if (nonce)
        memcpy(h->out + NONCE_AT, nonce, C4_HANDSHAKE_NONCE_BYTES);
    if (tag)
        memcpy(h->out + TAG_AT, tag, C4_HMAC_BYTES);
    h->out_bytes = sizeof h->out;
    h->sent_bytes = 0;
}

static c4_status refuse(c4_handshake *h, refusal why)
{
    unsigned char code[C4_HANDSHAKE_NONCE_BYTES] = {(unsigned char)why};
    snprintf(h->reason, sizeof h->reason, "%s", refusal_texts[why]);
    send_message(h, REFUSE, code, NULL);
    return C4_ERR_AUTH;
}

static c4_status malformed(c4_handshake *h, const char *text)
{
    snprintf(h->reason, sizeof h->reason, "%s", text);
    return C4_ERR_PROTOCOL;
}

/* ---- tags ---- */

static c4_status make_tag(const c4_handshake *h, const char label[16], unsigned char tag[C4_HMAC_BYTES])
{
    memset(tag, 0, C4_HMAC_BYTES);
    if (!h->self.key)
        return C4_OK;
    unsigned char version[2];
    c4_put_u16(version, C4_HANDSHAKE_VERSION);
    struct iovec parts[] = {
        {(void *)label, 16},
        {version, sizeof version},
        {(void *)h->fields, FIELDS_BYTES},
        {(void *)h->client_nonce, C4_HANDSHAKE_NONCE_BYTES},
        {(void *)h->server_nonce, C4_HANDSHAKE_NONCE_BYTES},
    };
    return c4_hmac_sha256(h->self.key, C4_KEY_BYTES, parts, sizeof parts / sizeof parts[0], tag);
}

static const char server_label[16] = "c4 server proof";
static const char client_label[16] = "c4 client proof";
static const char accept_label[16] = "c4 server ok";

/* A proof that cannot be made says so where others say why they were refused. */
static c4_status try_tag(c4_handshake *h, const char label[16], unsigned char tag[C4_HMAC_BYTES])
{
    c4_status status = make_tag(h, label, tag);
    if (status < 0)
        snprintf(h->reason, sizeof h->reason, "this side has no memory to compute proofs");
    return status;
}

static c4_status check_tag(c4_handshake *h, const char label[16])
{
    unsigned char tag[C4_HMAC_BYTES];
    C4_TRY(try_tag(h, label, tag));
    if (!c4_equal_constant_time(tag, h->in + TAG_AT, C4_HMAC_BYTES))
        return refuse(h, BAD_KEY);
    return C4_OK;
}

static c4_status send_tagged(c4_handshake *h, unsigned char type, const unsigned char *nonce, const char label[16])
{
    unsigned char tag[C4_HMAC_BYTES];
    C4_TRY(try_tag(h, label, tag));
    send_message(h, type, nonce, tag);
    return C4_OK;
}

/* ---- the agreed fields ---- */

static void put_identity(unsigned char *fields, const c4_handshake_identity *identity, uint32_t client_rank,
                         uint32_t server_rank)
{
    memset(fields, 0, FIELDS_BYTES);
    fields[ROLE_AT] = (unsigned char)identity->role;
    fields[KEYED_AT] = identity->key != NULL;
    c4_put_u16(fields + EPOCH_AT, identity->epoch);
    c4_put_u32(fields + CLIENT_AT, client_rank);
    c4_put_u32(fields + SERVER_AT, server_rank);
    c4_put_u32(fields + NRANKS_AT, identity->nranks);
    c4_put_u32(fields + STREAM_AT, identity->stream);
    fields[TLS_AT] = identity->tls;
    c4_put_u64(fields + JOB_AT, identity->job_id);
    memcpy(fields + TRANSPORT_AT, identity->transport, strnlen(identity->transport, C4_HANDSHAKE_TRANSPORT_BYTES));
}

/* Does the client's hello suit this server? The first difference decides what is said, most telling first. */
static refusal compare_hello(const c4_handshake *h, const unsigned char *theirs)
{
    static const struct {
        unsigned char at, bytes, why;
    } equal[] = {
        {JOB_AT, 8, BAD_JOB},
        {ROLE_AT, 1, BAD_ROLE},
        {TRANSPORT_AT, 8, BAD_TRANSPORT},
        {KEYED_AT, 1, BAD_KEYED},
        {TLS_AT, 1, BAD_TLS},
        {NRANKS_AT, 4, BAD_NRANKS},
        {EPOCH_AT, 2, BAD_EPOCH},
        {SERVER_AT, 4, BAD_SERVER_RANK},
    };
    for (size_t i = 0; i < sizeof equal / sizeof equal[0]; i++)
        if (memcmp(theirs + equal[i].at, h->fields + equal[i].at, equal[i].bytes) != 0)
            return (refusal)equal[i].why;
    uint32_t rank = c4_get_u32(theirs + CLIENT_AT);
    bool expected = h->self.peer_rank == C4_HANDSHAKE_ANY_RANK || h->self.peer_rank == rank;
    return rank < h->self.nranks && rank != h->self.rank && expected ? (refusal)0 : BAD_CLIENT_RANK;
}

/* ---- one function per message ---- */

static c4_status on_hello(c4_handshake *h)
{
    const unsigned char *theirs = h->in + FIELDS_AT;
    refusal why = compare_hello(h, theirs);
    if (why)
        return refuse(h, why);
    memcpy(h->fields, theirs, FIELDS_BYTES);
    memcpy(h->client_nonce, h->in + NONCE_AT, C4_HANDSHAKE_NONCE_BYTES);
    memcpy(h->server_nonce, h->own_nonce, C4_HANDSHAKE_NONCE_BYTES);
    h->peer_rank = c4_get_u32(theirs + CLIENT_AT);
    h->stream = c4_get_u32(theirs + STREAM_AT);
    h->expect = PROOF;
    return send_tagged(h, CHALLENGE, h->server_nonce, server_label);
}

static c4_status on_challenge(c4_handshake *h)
{
    memcpy(h->server_nonce, h->in + NONCE_AT, C4_HANDSHAKE_NONCE_BYTES);
    C4_TRY(check_tag(h, server_label));
    h->expect = ACCEPT;
    return send_tagged(h, PROOF, NULL, client_label);
}

static c4_status on_proof(c4_handshake *h)
{
    C4_TRY(check_tag(h, client_label));
    h->expect = NOTHING;
    return send_tagged(h, ACCEPT, NULL, accept_label);
}

static c4_status on_accept(c4_handshake *h)
{
    C4_TRY(check_tag(h, accept_label));
    h->expect = NOTHING;
    return C4_OK;
}

static c4_status on_refuse(c4_handshake *h)
{
    unsigned code = h->in[NONCE_AT];
    h->other_job = code == BAD_JOB;
    snprintf(h->reason, sizeof h->reason, "the peer refused: %s",
             code > 0 && code < NREFUSALS ? refusal_texts[code] : "for a reason unknown to this version");
    return C4_ERR_AUTH;
}

/* A hello has no tag yet; proof and accept need no nonce. What is unused is zero, so that no bit goes unchecked. */
static bool is_zero(const unsigned char field[32])
{
    static const unsigned char zeros[32];
    return memcmp(field, zeros, sizeof zeros) == 0;
}

static c4_status on_message(c4_handshake *h)
{
    unsigned type = h->in[TYPE_AT];
    if (c4_get_u32(h->in) != MAGIC || h->in[TYPE_AT + 1] != 0)
        return malformed(h, "these are not the bytes of a C4 handshake");
    if (c4_get_u16(h->in + 4) != C4_HANDSHAKE_VERSION) {
        snprintf(h->reason, sizeof h->reason, "the peer speaks version %u of the handshake, this side version %u",
                 (unsigned)c4_get_u16(h->in + 4), C4_HANDSHAKE_VERSION);
        return C4_ERR_PROTOCOL;
    }
    if (type == REFUSE)
        return on_refuse(h);
    if (type != h->expect)
        return malformed(h, "handshake message out of order");
    if (type != CHALLENGE && !is_zero(h->in + (type == HELLO ? TAG_AT : NONCE_AT)))
        return malformed(h, "handshake message with bytes where none belong");
    if (type != HELLO && memcmp(h->in + FIELDS_AT, h->fields, FIELDS_BYTES) != 0)
        return malformed(h, "the peer changed its identity in the middle of the handshake");
    switch (type) {
    case HELLO:
        return on_hello(h);
    case CHALLENGE:
        return on_challenge(h);
    case PROOF:
        return on_proof(h);
    default:
        return on_accept(h);
    }
}

/* ---- interface ---- */

c4_status c4_handshake_init(c4_handshake *handshake, const c4_handshake_identity *identity, bool client)
{
    memset(handshake, 0, sizeof *handshake);
    if (identity->rank >= identity->nranks || strlen(identity->transport) > C4_HANDSHAKE_TRANSPORT_BYTES)
        return c4_fail(C4_ERR_INTERNAL, "handshake of rank %u of %u for transport %s", identity->rank, identity->nranks,
                       identity->transport);
    handshake->self = *identity;
    handshake->client = client;
    handshake->status = C4_IN_PROGRESS;
    handshake->expect = client ? CHALLENGE : HELLO;
    C4_TRY(c4_random_bytes(handshake->own_nonce, sizeof handshake->own_nonce));
    put_identity(handshake->fields, identity, client ? identity->rank : identity->peer_rank,
                 client ? identity->peer_rank : identity->rank);
    if (!client)
        return C4_OK;
    unsigned char tag[C4_HMAC_BYTES];
    C4_TRY(make_tag(handshake, client_label, tag)); /* finds out now whether tags can be made */
    handshake->peer_rank = identity->peer_rank;
    handshake->stream = identity->stream;
    memcpy(handshake->client_nonce, handshake->own_nonce, sizeof handshake->own_nonce);
    send_message(handshake, HELLO, handshake->client_nonce, NULL);
    return C4_OK;
}

c4_status c4_handshake_look(const unsigned char *bytes, size_t nbytes, c4_handshake_hello *hello)
{
    const unsigned char *fields = bytes + FIELDS_AT;
    unsigned char magic[4];
    c4_put_u32(magic, MAGIC);
    if (memcmp(bytes, magic, nbytes < sizeof magic ? nbytes : sizeof magic) != 0)
        return C4_ERR_PROTOCOL;
    if (nbytes < C4_HANDSHAKE_MESSAGE_BYTES)
        return C4_IN_PROGRESS;
    if (c4_get_u16(bytes + 4) != C4_HANDSHAKE_VERSION || bytes[TYPE_AT] != HELLO)
        return C4_ERR_PROTOCOL;
    *hello = (c4_handshake_hello){.job_id = c4_get_u64(fields + JOB_AT), .role = (c4_handshake_role)fields[ROLE_AT]};
    memcpy(hello->transport, fields + TRANSPORT_AT, C4_HANDSHAKE_TRANSPORT_BYTES);
    return C4_OK;
}

size_t c4_handshake_output(const c4_handshake *handshake, const unsigned char **bytes)
{
    *bytes = handshake->out + handshake->sent_bytes;
    return handshake->out_bytes - handshake->sent_bytes;
}

void c4_handshake_sent(c4_handshake *handshake, size_t bytes)
{
    size_t left = handshake->out_bytes - handshake->sent_bytes;
    handshake->sent_bytes += bytes < left ? bytes : left;
}

c4_status c4_handshake_input(c4_handshake *handshake, const void *bytes, size_t nbytes, size_t *consumed)
{
    const unsigned char *from = bytes;
    size_t used = 0;
    while (used < nbytes && handshake->status == C4_IN_PROGRESS && handshake->expect != NOTHING) {
        size_t room = sizeof handshake->in - handshake->in_bytes;
        size_t take = nbytes - used < room ? nbytes - used : room;
        memcpy(handshake->in + handshake->in_bytes, from + used, take);
        handshake->in_bytes += take;
        used += take;
        bool stranger = handshake->in_bytes >= 4 && c4_get_u32(handshake->in) != MAGIC; /* told by its first bytes */
        if (handshake->in_bytes < sizeof handshake->in && !stranger)
            break;
        handshake->in_bytes = 0;
        c4_status status = on_message(handshake);
        if (status < 0)
            handshake->status = status;
    }
    *consumed = used;
    return c4_handshake_status(handshake);
}

c4_status c4_handshake_status(const c4_handshake *handshake)
{
    if (handshake->status != C4_IN_PROGRESS)
        return handshake->status;
    bool drained = handshake->sent_bytes == handshake->out_bytes;
    return handshake->expect == NOTHING && drained ? C4_OK : C4_IN_PROGRESS;
}

c4_status c4_handshake_secret(const c4_handshake *handshake, const char label[16], unsigned char secret[C4_HMAC_BYTES])
{
    if (handshake->self.key == NULL || c4_handshake_status(handshake) != C4_OK)
        return c4_fail(C4_ERR_ARGUMENT, "secret of a handshake without a key or that has not ended");
    return make_tag(handshake, label, secret);
}
