#include "tools/c4train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/status.h"
#include "tools/c4train/message.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checkpoints are written as they lie in memory");
_Static_assert(sizeof(c4_checkpoint_head) == 16 * 8, "the head has no padding");

/* ---- writing ---- */

typedef struct hashed_file {
    FILE *file;
    uint64_t hash;
    bool good;
} hashed_file;

static void put(hashed_file *to, const void *data, size_t bytes)
{
    to->hash = c4_hash_bytes(to->hash, data, bytes);
    to->good = to->good && fwrite(data, 1, bytes, to->file) == bytes;
}

static bool write_all(FILE *file, const c4_checkpoint_head *head, const c4_checkpoint_arrays *arrays)
{
    hashed_file to = {file, C4_HASH_INIT, true};
    put(&to, head, sizeof *head);
    put(&to, arrays->params, head->params * sizeof(float));
    put(&to, arrays->moments, 2 * head->params * sizeof(float));
    put(&to, arrays->losses, head->step * sizeof(double));
    uint64_t hash = to.hash;
    put(&to, &hash, sizeof hash);
    return to.good && fflush(file) == 0 && fsync(fileno(file)) == 0;
}

/* Makes the rename itself durable. Some file systems cannot; the file is whole either way. */
static void sync_directory(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

c4_status c4_checkpoint_save(const char *path, const c4_checkpoint_head *head, const c4_checkpoint_arrays *arrays)
{
    char temporary[4096];
    int length = snprintf(temporary, sizeof temporary, "%s.part", path);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return c4_train_fail(C4_ERR_ARGUMENT, "the checkpoint's path is too long");
    FILE *file = fopen(temporary, "we");
    if (!file)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot write checkpoint %s: %s", temporary, strerror(errno));
    bool good = write_all(file, head, arrays);
    int error = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && rename(temporary, path) != 0) {
        good = false;
        error = errno;
    }
    if (!good) {
        unlink(temporary);
        return c4_train_fail(C4_ERR_SYSTEM, "cannot write checkpoint %s: %s", path, strerror(error));
    }
    sync_directory(path);
    return C4_OK;
}

/* ---- reading ---- */

static c4_status read_file(const char *path, unsigned char **data, size_t *size)
{
    struct stat info;
    FILE *file = fopen(path, "re");
    if (!file)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot open checkpoint %s: %s", path, strerror(errno));
    c4_status status = C4_ERR_SYSTEM;
    unsigned char *bytes = NULL;
    if (fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && (bytes = malloc((size_t)info.st_size + 1)) &&
        fread(bytes, 1, (size_t)info.st_size, file) == (size_t)info.st_size)
        status = C4_OK;
    fclose(file);
    if (status < 0) {
        free(bytes);
        return c4_train_fail(status, "cannot read checkpoint %s: %s", path, strerror(errno));
    }
    *data = bytes;
    *size = (size_t)info.st_size;
    return C4_OK;
}

static size_t file_bytes(const c4_checkpoint_head *head)
{
    return sizeof *head + 3 * head->params * sizeof(float) + head->step * sizeof(double) + sizeof(uint64_t);
}

/* Nothing of the file is believed before its checksum holds. */
static c4_status check_whole(const char *path, const unsigned char *data, size_t size, c4_checkpoint_head *head)
{
    uint64_t stored;
    if (size < sizeof *head + sizeof stored || memcmp(data, C4_CHECKPOINT_MAGIC, sizeof head->magic) != 0)
        return c4_train_fail(C4_ERR_ARGUMENT, "%s is not a checkpoint of c4train", path);
    memcpy(&stored, data + size - sizeof stored, sizeof stored);
    if (c4_hash_bytes(C4_HASH_INIT, data, size - sizeof stored) != stored)
        return c4_train_fail(C4_ERR_ARGUMENT, "checkpoint %s is damaged or incomplete: its checksum does not match",
                             path);
    memcpy(head, data, sizeof *head);
    if (head->version != C4_CHECKPOINT_VERSION)
        return c4_train_fail(C4_ERR_UNSUPPORTED, "checkpoint %s has version %llu; this c4train reads version %d", path,
                             (unsigned long long)head->version, C4_CHECKPOINT_VERSION);
    return C4_OK;
}

static double as_double(uint64_t value)
{
    return (double)value;
}

/* First those that must agree, then those that only change the trajectory. */
static c4_status compare(const char *path, const c4_checkpoint_head *have, const c4_checkpoint_head *want)
{
    const struct {
        const char *option;
        double have, want;
        bool shape;
    } fields[] = {
        {"--layers", as_double(have->layers), as_double(want->layers), true},
        {"--dim", as_double(have->dim), as_double(want->dim), true},
        {"--heads", as_double(have->heads), as_double(want->heads), true},
        {"--seq", as_double(have->seq), as_double(want->seq), false},
        {"--batch", as_double(have->batch), as_double(want->batch), false},
        {"--steps", as_double(have->steps), as_double(want->steps), false},
        {"--warmup", as_double(have->warmup), as_double(want->warmup), false},
        {"--seed", as_double(have->seed), as_double(want->seed), false},
        {"--lr", have->lr, want->lr, false},
        {"--weight-decay", have->decay, want->decay, false},
        {"--clip", have->clip, want->clip, false},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].have == fields[i].want)
            continue;
        if (fields[i].shape)
            return c4_train_fail(C4_ERR_ARGUMENT, "checkpoint %s was made with %s %.15g, this run has %.15g", path,
                                 fields[i].option, fields[i].have, fields[i].want);
        c4_train_note("note: the checkpoint was made with %s %.15g, this run has %.15g: it will take another course",
                      fields[i].option, fields[i].have, fields[i].want);
    }
    if (have->text_hash != want->text_hash)
        c4_train_note("note: the checkpoint was made with another text: it will take another course");
    return C4_OK;
}

static c4_status unpack(const char *path, const unsigned char *data, size_t size, const c4_checkpoint_head *want,
                        const c4_checkpoint_arrays *arrays, uint64_t *step)
{
    c4_checkpoint_head head = {0};
    C4_TRY(check_whole(path, data, size, &head));
    C4_TRY(compare(path, &head, want));
    if (head.params != want->params || head.step > want->steps)
        return c4_train_fail(C4_ERR_ARGUMENT,
                             "checkpoint %s is at step %llu with %llu parameters; this run has --steps "
                             "%llu and %llu parameters",
                             path, (unsigned long long)head.step, (unsigned long long)head.params,
                             (unsigned long long)want->steps, (unsigned long long)want->params);
    if (size != file_bytes(&head))
        return c4_train_fail(C4_ERR_ARGUMENT, "checkpoint %s has %zu bytes instead of %zu", path, size,
                             file_bytes(&head));
    const unsigned char *from = data + sizeof head;
    size_t values = head.params * sizeof(float);
    memcpy(arrays->params, from, values);
    memcpy(arrays->moments, from + values, 2 * values);
    memcpy(arrays->losses, from + 3 * values, head.step * sizeof(double));
    *step = head.step;
    return C4_OK;
}

c4_status c4_checkpoint_load(const char *path, const c4_checkpoint_head *want, const c4_checkpoint_arrays *arrays,
                             uint64_t *step)
{
    unsigned char *data = NULL;
    size_t size = 0;
    C4_TRY(read_file(path, &data, &size));
    c4_status status = unpack(path, data, size, want, arrays, step);
    free(data);
    return status;
}
