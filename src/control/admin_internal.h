/* Shared by admin*.c only. Under the control plane's lock, but for what fork handlers need. */
#ifndef C4_CONTROL_ADMIN_INTERNAL_H
#define C4_CONTROL_ADMIN_INTERNAL_H

#include "base/json.h"
#include "control/admin.h"
#include "record/place.h"
#include "wire/admin_request.h"

enum {
    C4_ADMIN_CLIENTS = 8,
    C4_ADMIN_REQUEST_MS = 5000, /* for a client's line */
    C4_ADMIN_TAKE_MS = 10000,   /* for taking the answer */
    C4_ADMIN_MUTE_MS = 1000,    /* no descriptor for a client: none is accepted for so long */
    C4_ADMIN_PROBE_MS = 2000,   /* for the answers of all ranks */
    C4_ADMIN_PROBE_STEP_MS = 50,
    C4_ADMIN_ASKED_AT_ONCE = 32, /* ranks; of the 64 questions that a process may have under way */
    C4_ADMIN_ANSWER_BYTES = 16 * 1024 * 1024
};

typedef struct c4_admin_client {
    int fd; /* -1: free */
    uint32_t generation;
    pid_t pid;
    uid_t uid;
    uint64_t deadline_ns;
    size_t got;
    char line[C4_ADMIN_LINE_BYTES];
    bool answered; /* from here on only `out` matters */
    bool probes;   /* waits for the end of the probe */
    c4_admin_request request;
    char *out;
    size_t out_bytes, sent;
} c4_admin_client;

/* What is asked of the members of one communicator. */
typedef struct c4_admin_inquiry {
    uint32_t comm;
    int nmembers;
    const c4_control_attachment *attachment; /* to compare with, not to be followed */
    c4_control_testimony *members;           /* [nmembers] */
    unsigned char *progress;                 /* [nmembers] PROBE_* */
} c4_admin_inquiry;

typedef struct c4_admin_probe {
    bool running;
    uint64_t end_ns;
    size_t ninquiries;
    c4_admin_inquiry *inquiries;
    unsigned char *asking; /* [nranks]: a question to it is under way */
    int nasking;
} c4_admin_probe;

struct c4_admin {
    c4_control *control;
    int listen_fd, directory;
    char name[C4_RECORD_NAME_BYTES];
    uint64_t job_id, started_ns;
    uint64_t unmute_ns; /* 0: clients are accepted */
    c4_admin_client clients[C4_ADMIN_CLIENTS];
    c4_admin_probe probe;
    c4_admin *next; /* of this process's, for its forks */
};

/* ---- admin.c ---- */
/* Sends the answer, which it takes, and then ends the connection. */
void c4_admin_finish(c4_admin *admin, c4_admin_client *client, c4_json *json);

/* ---- admin_answer.c ---- */
/* The beginning of every answer, inside whose object the rest goes. */
void c4_admin_begin(const c4_admin *admin, c4_admin_command command, c4_json *json);
void c4_admin_error(c4_json *json, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* status, dump, plan, abort. True: an abort that was selected well, to be carried out when the answer has gone. */
bool c4_admin_answer(c4_admin *admin, const c4_admin_client *client, c4_json *json);
/* Carries out the abort that the client has asked for. The process may end of it at once. */
void c4_admin_abort(c4_admin *admin, const c4_admin_client *client);
bool c4_admin_selects(const c4_admin_request *request, const c4_control_attachment *attachment);
/* false, and the error written: the request names a communicator that is not here. */
bool c4_admin_check_selection(const c4_admin *admin, const c4_admin_request *request, c4_json *json);
/* Opens the object of a communicator and says which it is. */
void c4_admin_open_comm(const c4_admin *admin, const c4_control_attachment *attachment, bool members, c4_json *json);
const char *c4_admin_state_name(c4_control_state state);

/* ---- admin_probe.c ---- */
/* Begins one unless one is under way. false: no memory. */
bool c4_admin_probe_start(c4_admin *admin, uint64_t now_ns);
/* Asks, and tells the clients when all have answered or the time is over. Returns the next time. */
uint64_t c4_admin_probe_tick(c4_admin *admin, uint64_t now_ns);
void c4_admin_probe_end(c4_admin *admin);

#endif
