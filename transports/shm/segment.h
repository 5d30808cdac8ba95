/* The shared memory of a host's ranks: one file, which each of them maps once, whole, with a plot for each.
 *
 * Every rank makes such a file when its module opens, since nobody knows yet who will be there; once the addresses are
 * known, all move into that of the lowest rank that shares their place (host, user, and what a file is found by) and give
 * their own back. So a rank opens and maps one file however many peers it has, and what a rank has written outlives it
 * for everybody, whether they have looked at it before or not.
 *
 * The file is as long as all plots together from the start (address space only); memory is allocated, page by page, when a
 * range is handed out, so that a full /dev/shm or a memory limit is an error at that moment and never a SIGBUS later.
 * memfd files are sealed against shrinking, so a peer cannot cause one either. */
#ifndef C4_TRANSPORTS_SHM_SEGMENT_H
#define C4_TRANSPORTS_SHM_SEGMENT_H

#include <c4/transport.h>
#include <stdbool.h>

enum { C4_SHM_BACKEND_AUTO, C4_SHM_BACKEND_MEMFD, C4_SHM_BACKEND_FILE };

#define C4_SHM_MAGIC      0x324d48535f344300u /* "\0C4_SHM2" */
#define C4_SHM_LINE       64u
#define C4_SHM_PAGE       4096u
#define C4_SHM_NAME_BYTES 48

/* Who a rank is, and where the file that it has made is found. Meaningful on one host only: boot_id says which. */
typedef struct c4_shm_address {
    uint64_t magic;
    uint32_t struct_bytes;
    uint32_t backend;
    unsigned char boot_id[16];
    uint64_t place; /* pid namespace (memfd) or file system of /dev/shm (file): files are found within it */
    int32_t pid;
    int32_t fd;
    uint64_t nonce[2]; /* the rank's; also of the file that it has made */
    uint64_t bytes;    /* of that file */
    uint32_t uid;
    int32_t rank;
    char name[C4_SHM_NAME_BYTES]; /* file backend: path under /dev/shm */
} c4_shm_address;

typedef struct c4_shm_segment {
    int fd;
    unsigned char *base; /* NULL: none */
    size_t bytes;
    size_t mapped; /* of them: all, or the register and the first plot's head */
    size_t plots_at, plot_bytes;
    uint32_t nplots;
    bool made;                    /* by this rank, which takes the name away at the end */
    char name[C4_SHM_NAME_BYTES]; /* "": it has none, or none any more */
} c4_shm_segment;

/* Makes a file of `nplots` plots of `plot_bytes` each (whole pages). C4_ERR_SHM with a text that names the mend. Maps no more
 * than its maker writes before it knows whether it stays here: two whole segments would be half a gigabyte of address space
 * too many where that is limited. */
c4_status c4_shm_segment_create(c4_shm_segment *segment, int backend, uint32_t nplots, size_t plot_bytes,
                                const uint64_t nonce[2]);
/* Maps the rest too, elsewhere: nothing may point into it yet. */
c4_status c4_shm_segment_expand(c4_shm_segment *segment);
/* Opens and maps the file that `address` names. C4_ERR_UNREACHABLE with a reason. */
c4_status c4_shm_segment_open(c4_shm_segment *segment, const c4_shm_address *address, char *reason,
                              size_t reason_bytes);
void c4_shm_segment_close(c4_shm_segment *segment);

/* Takes a plot, for good. C4_ERR_SHM, silent: all are taken. */
c4_status c4_shm_segment_claim(c4_shm_segment *segment, uint32_t *index);
/* From now on others find it. The last one to come takes the file's name away. */
void c4_shm_segment_publish(c4_shm_segment *segment, uint32_t index, const uint64_t nonce[2]);
/* Takes the file's name away, so that nothing is left after a SIGKILL of all: for when nobody will come any more, also if
 * there is a plot for some who could not (another pid namespace, another /dev/shm, no memory). */
void c4_shm_segment_hide(c4_shm_segment *segment);
/* The plot of the rank with that nonce; NULL: it has none here. */
unsigned char *c4_shm_segment_find(const c4_shm_segment *segment, const uint64_t nonce[2]);
static inline size_t c4_shm_segment_plot_at(const c4_shm_segment *segment, uint32_t index)
{
    return segment->plots_at + index * segment->plot_bytes;
}

/* Why ranks of these two addresses cannot share a file; NULL: they can. */
const char *c4_shm_address_mismatch(const c4_shm_address *address, const c4_shm_address *own);
/* Everything of `address` but the file: backend (resolved), host, place, process. */
c4_status c4_shm_address_init(c4_shm_address *address, int backend, int rank);

/* A memfd or a named file, empty. -1 and errno on failure. */
int c4_shm_file_create(int backend, const char *label, char *name);
/* posix_fallocate that refuses before the kernel would raise SIGXFSZ. 0 or an errno. */
int c4_shm_file_allocate(int fd, size_t offset, size_t bytes);
/* 0 or EFBIG where the process's file-size limit forbids the length (setting it would raise SIGXFSZ). */
int c4_shm_file_resize(int fd, size_t bytes);
/* C4_ERR_SHM, with size and mend of /dev/shm as this thread's error text. Not logged: at set-up another transport may take
 * the place of this one, and one line for all ranks will do. `all_bytes`: what the ranks of this host need together; 0: not
 * known. */
c4_status c4_shm_no_room(int error, size_t bytes, size_t all_bytes);

#endif
