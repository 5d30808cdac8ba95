#include "comm/declared.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fork_lock.h"
#include "base/status.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `list` and `room` */
/* Sorted by base. `longest` bounds how far before an address the declaration that holds it may begin. */
static struct {
    c4_transport_memory *at;
    size_t longest;
    uint64_t next_id;
} list = {.next_id = 1};
static size_t room;
static atomic_size_t count; /* read without the lock: most programs declare nothing */
static atomic_uint_fast64_t removals;

/* How many begin at the address or before. */
static size_t begin_before(uintptr_t address)
{
    size_t low = 0, high = atomic_load(&count);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)list.at[middle].base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool make_room(void)
{
    if (atomic_load(&count) < room)
        return true;
    size_t more = room > 0 ? room * 2 : 16;
    c4_transport_memory *grown = realloc(list.at, more * sizeof *grown);
    if (grown == NULL)
        return false;
    list.at = grown;
    room = more;
    return true;
}

c4_status c4_declared_add(const void *base, size_t bytes, uint64_t *id)
{
    c4_status status = C4_OK;
    c4_fork_lock(&lock);
    if (make_room()) {
        /* Before those of the same base: who looks from behind finds the oldest first. Nothing is at address 0. */
        size_t place = begin_before((uintptr_t)base - 1), behind = atomic_load(&count) - place;
        memmove(list.at + place + 1, list.at + place, behind * sizeof *list.at);
        *id = list.next_id++;
        list.at[place] = (c4_transport_memory){.base = base, .bytes = bytes, .id = *id};
        list.longest = bytes > list.longest ? bytes : list.longest;
        atomic_fetch_add(&count, 1);
    } else {
        status = C4_ERR_MEMORY;
    }
    pthread_mutex_unlock(&lock);
    return status < 0 ? c4_fail(status, "declaring %zu bytes of memory", bytes) : C4_OK;
}

static void take_out(size_t place)
{
    size_t left = atomic_fetch_sub(&count, 1) - 1;
    memmove(list.at + place, list.at + place + 1, (left - place) * sizeof *list.at);
    atomic_fetch_add(&removals, 1);
    if (left == 0)
        list.longest = 0;
}

bool c4_declared_remove(uint64_t id)
{
    size_t place = 0;
    c4_fork_lock(&lock);
    size_t total = atomic_load(&count);
    while (place < total && list.at[place].id != id)
        place++;
    if (place < total)
        take_out(place);
    pthread_mutex_unlock(&lock);
    return place < total;
}

void c4_declared_forget(const void *base)
{
    c4_fork_lock(&lock);
    for (size_t i = begin_before((uintptr_t)base); i > 0 && list.at[i - 1].base == base; i--)
        take_out(i - 1);
    pthread_mutex_unlock(&lock);
}

bool c4_declared_find(const void *pointer, size_t bytes, c4_transport_memory *found)
{
    uintptr_t from = (uintptr_t)pointer;
    bool holds = false;
    if (atomic_load_explicit(&count, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&lock); /* known to forks since the first declaration */
    for (size_t i = begin_before(from); i > 0 && !holds; i--) {
        const c4_transport_memory *at = &list.at[i - 1];
        size_t offset = from - (uintptr_t)at->base;
        if (offset > list.longest)
            break;
        holds = offset <= at->bytes && at->bytes - offset >= bytes;
        if (holds)
            *found = *at;
    }
    pthread_mutex_unlock(&lock);
    return holds;
}

uint64_t c4_declared_removals(void)
{
    return atomic_load_explicit(&removals, memory_order_acquire);
}
