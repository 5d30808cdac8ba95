/* The file by which ranks meet (C4_RENDEZVOUS=file:/PATH): anybody of this user may have written it. What is accepted is
 * within its limits, and the same again after it was written. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rendezvous/file_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check(const c4_file_store_entry *entry)
{
    require(entry->naddresses >= 1 && entry->naddresses <= C4_UNIQUE_ID_ADDRESSES);
    for (size_t i = 0; i < entry->naddresses; i++)
        require(entry->addresses[i].family == 4 || entry->addresses[i].family == 6);
    require(memchr(entry->process.host, '\0', sizeof entry->process.host) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    c4_file_store_entry entry, back;
    char text[C4_FILE_STORE_BYTES], again[C4_FILE_STORE_BYTES];
    c4_log_configure(C4_LOG_NONE, NULL);
    if (!c4_file_store_parse((const char *)data, size, &entry))
        return 0;
    check(&entry);
    size_t length = c4_file_store_print(&entry, text);
    require(length < sizeof text && c4_file_store_parse(text, length, &back));
    check(&back);
    require(c4_file_store_print(&back, again) == length && memcmp(again, text, length) == 0);
    require(back.job_id == entry.job_id && back.nranks == entry.nranks && back.process.pid == entry.process.pid);
    return 0;
}
