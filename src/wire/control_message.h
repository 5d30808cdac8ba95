/* Messages of the control plane, from the bootstrap on: a header of 16 bytes, then a payload.
 *
 *     0  0xC4   1  version   2  kind   3  zero   4  payload bytes 4   8  rank 4   12  value 4
 *
 * The rank is the one the message is about or comes from; the value depends on the kind. Lengths are capped per kind,
 * before anything is allocated. */
#ifndef C4_WIRE_CONTROL_MESSAGE_H
#define C4_WIRE_CONTROL_MESSAGE_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/handshake.h"

#define C4_CONTROL_VERSION           2u
#define C4_CONTROL_HEADER_BYTES      16u
#define C4_CONTROL_BLOB_MAX_BYTES    4096u /* one rank's part of an all-gather */
#define C4_CONTROL_JOIN_MAX_BYTES    256u
#define C4_CONTROL_TABLE_RANK_BYTES  192u /* of an address table, at most, for each rank */
#define C4_CONTROL_MESSAGE_MAX_BYTES 512u /* everything else */
#define C4_CONTROL_TEXT_MAX_BYTES    384u /* of an error, without its end */
#define C4_CONTROL_MAX_RANKS         65536u

typedef enum c4_control_kind {
    C4_CONTROL_JOIN = 1,    /* client: c4_process, c4_endpoint; value: nranks */
    C4_CONTROL_WELCOME = 2, /* root: c4_control_welcome */
    C4_CONTROL_BLOCKS = 3,  /* blocks of an all-gather; value: its number * 32 + step */
    C4_CONTROL_FAULT = 5,   /* rank reports an error; value: communicator; c4_control_fault */
    /* of the control threads; payloads in control_overlay.h, but for c4_control_fault */
    C4_CONTROL_GOODBYE = 6,   /* ranks have left in good order; value: the communicator, 0: the job; leavers */
    C4_CONTROL_HEARTBEAT = 7, /* nothing else was to be said */
    C4_CONTROL_QUESTION = 8,  /* from rank; value: communicator; card */
    C4_CONTROL_ANSWER = 9,    /* the same */
    C4_CONTROL_DEATH = 10,    /* rank has died or is given up; c4_control_fault */
    C4_CONTROL_RUMOR = 11,    /* about rank's silence; rumor */
    C4_CONTROL_REPORT = 12,   /* rank reports an error; value: communicator; envelope, c4_control_fault */
    C4_CONTROL_AGREE = 13,    /* from rank; value: communicator; agree, one bit per rank more than the others */
    /* set-up of the neighbours' links, see rendezvous/bootstrap_internal.h */
    C4_CONTROL_TABLE = 24,  /* root: where all ranks listen; c4_address_table */
    C4_CONTROL_ASK = 25,    /* through the root: `rank` shall connect to the sender; value 0, or the errno it met */
    C4_CONTROL_LINK = 26,   /* on a new connection, from the side that chooses: this is the link */
    C4_CONTROL_LINKED = 27, /* client: has all its links; root: everybody has */
    C4_CONTROL_NKINDS
} c4_control_kind;

typedef struct c4_control_header {
    c4_control_kind kind;
    uint32_t bytes;
    uint32_t rank; /* UINT32_MAX: none */
    uint32_t value;
} c4_control_header;

void c4_control_header_pack(const c4_control_header *header, unsigned char out[C4_CONTROL_HEADER_BYTES]);
/* C4_ERR_PROTOCOL (not logged): magic, version, kind, or more bytes than the kind may have among `nranks` ranks. */
c4_status c4_control_header_unpack(const unsigned char in[C4_CONTROL_HEADER_BYTES], uint32_t nranks,
                                   c4_control_header *header);

/* ---- payloads ---- */

/* Which process a rank is. Two ranks can watch one another by pid when boot_id and pid_namespace are equal. */
#define C4_PROCESS_BYTES   112u
#define C4_HOST_NAME_BYTES 64u
typedef struct c4_process {
    uint32_t pid;
    uint32_t uid;
    uint64_t start_ticks;   /* /proc/PID/stat, field 22: tells a process from a later one with its pid */
    uint64_t pid_namespace; /* inode of /proc/self/ns/pid */
    unsigned char boot_id[16];
    char host[C4_HOST_NAME_BYTES]; /* printable, with its end */
} c4_process;

void c4_process_pack(const c4_process *process, unsigned char out[C4_PROCESS_BYTES]);
/* C4_ERR_PROTOCOL (not logged): wrong size, pid 0, a host name without end or with bytes a terminal would obey. */
c4_status c4_process_unpack(const unsigned char *in, size_t bytes, c4_process *process);

#define C4_CONTROL_WELCOME_BYTES 56u
#define C4_JOB_NONCE_BYTES       16u
typedef struct c4_control_welcome {
    bool has_key;
    unsigned char nonce[C4_JOB_NONCE_BYTES]; /* tells this run from others of the same job id and key */
    unsigned char key[C4_KEY_BYTES];
} c4_control_welcome;

void c4_control_welcome_pack(const c4_control_welcome *welcome, unsigned char out[C4_CONTROL_WELCOME_BYTES]);
c4_status c4_control_welcome_unpack(const unsigned char *in, size_t bytes, c4_control_welcome *welcome);

/* An error of one rank, for all the others. */
typedef struct c4_control_fault {
    c4_status status; /* < 0 */
    char text[C4_CONTROL_TEXT_MAX_BYTES + 1];
} c4_control_fault;

/* Returns the payload's size, <= C4_CONTROL_MESSAGE_MAX_BYTES; longer texts are cut. */
size_t c4_control_fault_pack(const c4_control_fault *fault, unsigned char out[C4_CONTROL_MESSAGE_MAX_BYTES]);
/* C4_ERR_PROTOCOL for an unknown status. Unprintable bytes of the text become '?'. */
c4_status c4_control_fault_unpack(const unsigned char *in, size_t bytes, c4_control_fault *fault);

#endif
