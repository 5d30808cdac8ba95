/* A rendezvous through a file on a file system that all hosts share: rank 0 writes where it listens, the others read it
 * again and again until they have met it. No key is in it; the handshake decides who is who.
 *
 * The file is replaced as a whole (a new one is renamed to its name), belongs to the user (0600), and is removed when all
 * ranks are in. What a dead job has left is known by its process where that was on this host; elsewhere nobody, or
 * another job, answers at its addresses, and the file is read again. As text:
 *
 *     c4-rendezvous 1
 *     job 00000000000011a7 ranks 8
 *     process 4711 5402211 4026531836 0123456789abcdef0123456789abcdef node7     (pid, start, pid name space, boot, host)
 *     address 10.0.0.5:4711                                                      (1 .. 3 of them) */
#ifndef C4_RENDEZVOUS_FILE_STORE_H
#define C4_RENDEZVOUS_FILE_STORE_H

#include "wire/control_message.h"
#include "wire/unique_id.h"

#define C4_FILE_STORE_REASON_BYTES 160
#define C4_FILE_STORE_BYTES        1024 /* the most that is read */

typedef struct c4_file_store_entry {
    uint64_t job_id;
    uint32_t nranks;
    c4_process process; /* of rank 0 */
    size_t naddresses;
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES];
} c4_file_store_entry;

/* Writes or replaces the file. C4_ERR_OPTION, logged with the path: the directory cannot be written to, a rank 0 that is
 * alive on this host uses the file, or what was written is not this user's alone. */
c4_status c4_file_store_publish(const char *path, const c4_file_store_entry *entry);
/* What the file says now. C4_IN_PROGRESS: it is not there yet, or left by a dead job or for another one; `reason` says
 * which. C4_ERR_OPTION, logged: it can never be used (another user's, no regular file, writable by others). */
c4_status c4_file_store_read(const char *path, uint64_t job_id, uint32_t nranks, c4_file_store_entry *entry,
                             char reason[C4_FILE_STORE_REASON_BYTES]);
/* Removes the file if it is still this process's. */
void c4_file_store_remove(const char *path, const c4_file_store_entry *entry);

/* The text, without an end; for the fuzzer, too. false: not such a file. */
bool c4_file_store_parse(const char *text, size_t bytes, c4_file_store_entry *entry);
/* The text of an entry. Returns its length. */
size_t c4_file_store_print(const c4_file_store_entry *entry, char text[C4_FILE_STORE_BYTES]);

#endif
