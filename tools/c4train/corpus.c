#include "tools/c4train/corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/rng.h"
#include "base/status.h"
#include "tools/c4train/bible.h"
#include "tools/c4train/message.h"

enum { HELD_OUT = 20 }; /* one part in this many */

static c4_status map_file(int fd, const char *path, size_t seq, c4_corpus *corpus)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return c4_train_fail(C4_ERR_ARGUMENT, "%s is not a regular file", path);
    size_t size = (size_t)info.st_size, needed = HELD_OUT * (seq + 2);
    if (size < needed)
        return c4_train_fail(C4_ERR_COUNT, "%s has %zu bytes; --seq %zu needs at least %zu", path, size, seq, needed);
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return c4_train_fail(C4_ERR_MEMORY, "cannot map %s: %s", path, strerror(errno));
    corpus->bytes = bytes;
    corpus->size = size;
    corpus->train_size = size - size / HELD_OUT;
    corpus->hash = c4_hash_bytes(C4_HASH_INIT, bytes, size);
    return C4_OK;
}

c4_status c4_corpus_map(const char *path, size_t seq, c4_corpus *corpus)
{
    c4_corpus mapped = {0};
    if (strlen(path) >= sizeof mapped.path)
        return c4_train_fail(C4_ERR_ARGUMENT, "path of %zu characters is too long", strlen(path));
    memcpy(mapped.path, path, strlen(path) + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot open %s: %s", path, strerror(errno));
    c4_status status = map_file(fd, path, seq, &mapped);
    close(fd);
    C4_TRY(status);
    *corpus = mapped;
    return C4_OK;
}

/* Rank 0 first, so that the ranks of its host find the file; then each rank that still lacks one, at once, which is
 * safe because the file appears by rename. */
static c4_status prepare_bible(const c4_train_job *job, char *path, size_t bytes)
{
    c4_status status = c4_bible_path(path, bytes);
    if (status == C4_OK && job->rank == 0)
        status = c4_bible_ensure(path);
    C4_TRY(c4_train_job_agree(job, status)); /* also where the others wait */
    return job->rank == 0 ? C4_OK : c4_bible_ensure(path);
}

c4_status c4_corpus_open(const c4_train_job *job, const char *path, size_t seq, c4_corpus *corpus)
{
    char cached[4096];
    c4_corpus opened = {0};
    c4_status status = C4_OK;
    if (!path)
        status = prepare_bible(job, cached, sizeof cached);
    if (status == C4_OK)
        status = c4_corpus_map(path ? path : cached, seq, &opened);
    C4_TRY_GOTO(c4_train_job_agree(job, status), fail);
    C4_TRY_GOTO(c4_train_job_same(job, opened.hash, "the text they read"), fail);
    *corpus = opened;
    return C4_OK;
fail:
    c4_corpus_close(&opened);
    return status;
}

void c4_corpus_close(c4_corpus *corpus)
{
    if (corpus->bytes)
        munmap((void *)(uintptr_t)corpus->bytes, corpus->size);
    *corpus = (c4_corpus){0};
}

static void take(const uint8_t *from, size_t seq, uint8_t *inputs, uint8_t *targets)
{
    memcpy(inputs, from, seq);
    memcpy(targets, from + 1, seq);
}

void c4_corpus_batch(const c4_corpus *corpus, uint64_t seed, uint64_t step, size_t first, size_t sequences, size_t seq,
                     uint8_t *inputs, uint8_t *targets)
{
    for (size_t i = 0; i < sequences; i++) {
        uint64_t key[3] = {seed, step, first + i};
        c4_rng rng = {.state = c4_hash_bytes(C4_HASH_INIT, key, sizeof key)};
        uint64_t at = c4_rng_below(&rng, corpus->train_size - seq);
        take(corpus->bytes + at, seq, inputs + i * seq, targets + i * seq);
    }
}

void c4_corpus_eval(const c4_corpus *corpus, size_t first, size_t sequences, size_t total, size_t seq, uint8_t *inputs,
                    uint8_t *targets)
{
    size_t places = corpus->size - corpus->train_size - seq;
    for (size_t i = 0; i < sequences; i++)
        take(corpus->bytes + corpus->train_size + places * (first + i) / total, seq, inputs + i * seq,
             targets + i * seq);
}
