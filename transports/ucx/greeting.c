#include "transports/ucx/greeting.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "transports/ucx/channel.h"
#include "transports/ucx/link.h"
#include "transports/ucx/send.h"
#include "wire/bytes.h"

static const char token_label[16] = "c4 ucx frames";

void c4_ucx_refuse(c4_module *module, const char *what)
{
    uint64_t n = ++module->refused;
    if ((n & (n - 1)) == 0) /* the 1st, 2nd, 4th, 8th... */
        C4_UCX_LOG(module, C4_TLOG_WARN, "ucx: %llu messages dropped so far, the last one: %s", (unsigned long long)n,
                   what);
}

static void forget(c4_ucx_handshake **handshake)
{
    free(*handshake);
    *handshake = NULL;
}

void c4_ucx_greetings_free(c4_ucx_link *link)
{
    forget(&link->client);
    for (unsigned i = 0; i < C4_UCX_MAX_SERVERS; i++)
        forget(&link->servers[i]);
}

static c4_ucx_handshake *begin(c4_ucx_link *link, uint64_t attempt, bool client)
{
    const c4_transport_host *host = &link->module->host;
    const c4_handshake_identity identity = {.key = host->key,
                                            .job_id = host->job_id,
                                            .rank = (uint32_t)host->rank,
                                            .peer_rank = (uint32_t)link->peer,
                                            .nranks = (uint32_t)host->nranks,
                                            .epoch = host->epoch,
                                            .role = C4_HANDSHAKE_DATA,
                                            .transport = c4_ucx_ops.name};
    c4_ucx_handshake *handshake = malloc(sizeof *handshake);
    if (handshake == NULL)
        return NULL;
    handshake->attempt = attempt;
    if (c4_handshake_init(&handshake->state, &identity, client) < 0)
        forget(&handshake);
    return handshake;
}

/* What the machine has to say goes out at once: UCX keeps it until it can. */
static void say(c4_ucx_link *link, c4_ucx_handshake *handshake, bool to_server)
{
    const c4_ucx_greeting greeting = {to_server, (uint32_t)link->module->host.rank, handshake->attempt};
    const unsigned char *message;
    size_t bytes = c4_handshake_output(&handshake->state, &message);
    if (bytes == 0)
        return;
    c4_handshake_sent(&handshake->state, bytes);
    c4_ucx_send_greeting(link, &greeting, message, bytes);
}

/* Without a key there is nothing secret to show, and nobody is kept out. */
static uint64_t token_of(const c4_ucx_link *link, const c4_ucx_handshake *handshake)
{
    unsigned char secret[C4_HMAC_BYTES];
    if (link->module->host.key == NULL || c4_handshake_secret(&handshake->state, token_label, secret) < 0)
        return link->module->host.job_id;
    return c4_get_u64(secret);
}

void c4_ucx_greeting_begin(c4_ucx_link *link)
{
    uint64_t attempt = 0;
    if (link->client != NULL || link->sends || link->state != C4_UCX_LIVE)
        return;
    if (c4_random_bytes(&attempt, sizeof attempt) == C4_OK)
        link->client = begin(link, attempt, true);
    if (link->client == NULL)
        c4_ucx_link_fail(link, c4_fail(C4_ERR_MEMORY, "ucx: handshake with rank %d", link->peer));
    else
        say(link, link->client, true);
}

static void client_hears(c4_ucx_link *link, uint64_t attempt, const void *message, size_t bytes)
{
    size_t consumed;
    c4_ucx_handshake *client = link->client;
    if (client == NULL || client->attempt != attempt) {
        c4_ucx_refuse(link->module, "an answer in a handshake that this rank has not begun");
        return;
    }
    c4_status status = c4_handshake_input(&client->state, message, bytes, &consumed);
    if (status < 0) {
        c4_ucx_link_fail(link, c4_fail(status, "ucx: handshake with rank %d: %s", link->peer, client->state.reason));
        return;
    }
    say(link, client, true);
    if (link->client == NULL || c4_handshake_status(&client->state) != C4_OK)
        return;
    link->send_token = token_of(link, client);
    link->sends = true;
    forget(&link->client);
    c4_ucx_channels_go(link);
}

static c4_ucx_handshake **server_find(c4_ucx_link *link, uint64_t attempt)
{
    for (unsigned i = 0; i < C4_UCX_MAX_SERVERS; i++)
        if (link->servers[i] != NULL && link->servers[i]->attempt == attempt)
            return &link->servers[i];
    c4_ucx_handshake **oldest = &link->servers[link->next_server++ % C4_UCX_MAX_SERVERS];
    forget(oldest);
    *oldest = begin(link, attempt, false);
    return *oldest != NULL ? oldest : NULL;
}

static void server_hears(c4_ucx_link *link, uint64_t attempt, const void *message, size_t bytes)
{
    size_t consumed;
    if (link->receives) {
        c4_ucx_refuse(link->module, "a handshake with a rank that has had one");
        return;
    }
    c4_ucx_handshake **server = server_find(link, attempt);
    if (server == NULL)
        return;
    c4_ucx_handshake *handshake = *server;
    c4_status status = c4_handshake_input(&handshake->state, message, bytes, &consumed);
    if (status < 0)
        c4_ucx_refuse(link->module, handshake->state.reason);
    say(link, handshake, false); /* a refusal too */
    if (link->state == C4_UCX_FAILED)
        return; /* and its handshakes are gone */
    if (status >= 0 && c4_handshake_status(&handshake->state) == C4_OK) {
        link->receive_token = token_of(link, handshake);
        link->receives = true;
    }
    if (status < 0)
        forget(server);
    for (unsigned i = 0; link->receives && i < C4_UCX_MAX_SERVERS; i++)
        forget(&link->servers[i]);
}

ucs_status_t c4_ucx_on_greeting(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                const ucp_am_recv_param_t *param)
{
    c4_module *module = arg;
    c4_ucx_greeting greeting;
    c4_ucx_link *link;
    bool whole = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0 && bytes == C4_HANDSHAKE_MESSAGE_BYTES &&
                 c4_ucx_greeting_unpack(header, header_bytes, &greeting);
    if (!whole || greeting.from >= (uint32_t)module->host.nranks || module->addresses[greeting.from] == NULL) {
        c4_ucx_refuse(module, "no message of a C4 handshake");
        return UCS_OK;
    }
    if (module->closing || c4_ucx_link_create(module, (int)greeting.from, &link) < 0 || link->state != C4_UCX_LIVE)
        return UCS_OK;
    if (greeting.to_server)
        server_hears(link, greeting.attempt, data, bytes);
    else
        client_hears(link, greeting.attempt, data, bytes);
    return UCS_OK;
}
