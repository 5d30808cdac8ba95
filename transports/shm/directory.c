#include "transports/shm/directory.h"

#include <string.h>

#include "base/hash.h"

#define FIRST_ENTRIES 64u
#define REACH         8u /* entries looked at from the hashed one on */

uint64_t c4_shm_key(const c4_channel_spec *spec)
{
    int32_t head[4] = {(int32_t)spec->comm, (int32_t)spec->tag, spec->writer, spec->nreaders};
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, head, sizeof head);
    hash = c4_hash_bytes(hash, spec->readers, (size_t)spec->nreaders * sizeof *spec->readers);
    hash ^= hash >> 29; /* FNV's low bits, used as the index, are its weakest */
    return hash ? hash : 1;
}

static uint32_t table_entries(uint32_t table)
{
    return FIRST_ENTRIES << table;
}

static c4_shm_entry *insert_into(c4_shm_entry *table, uint32_t entries, uint64_t key, const c4_shm_shape *shape)
{
    for (uint32_t i = 0; i < REACH; i++) {
        c4_shm_entry *entry = &table[(key + i) & (entries - 1)];
        if (entry->key)
            continue;
        entry->shape = *shape;
        __atomic_store_n(&entry->key, key, __ATOMIC_RELEASE);
        return entry;
    }
    return NULL;
}

c4_status c4_shm_directory_insert(c4_shm_arena *arena, uint64_t key, const c4_shm_shape *shape, c4_shm_entry **entry)
{
    c4_shm_head *head = c4_shm_arena_head(arena);
    c4_shm_entry *made = NULL;
    for (uint32_t t = 0; !made; t++) {
        if (t == C4_SHM_TABLES)
            return C4_ERR_SHM;
        if (t == head->ntables) {
            size_t offset;
            size_t bytes = table_entries(t) * sizeof(c4_shm_entry);
            if (c4_shm_arena_alloc(arena, bytes, &offset) != C4_OK)
                return C4_ERR_SHM;
            memset(arena->base + offset, 0, bytes);
            head->table_offset[t] = offset;
            __atomic_store_n(&head->ntables, t + 1, __ATOMIC_RELEASE);
        }
        made = insert_into((c4_shm_entry *)(arena->base + head->table_offset[t]), table_entries(t), key, shape);
    }
    __atomic_fetch_add(&head->directory_version, 1, __ATOMIC_SEQ_CST);
    *entry = made;
    return C4_OK;
}

void c4_shm_directory_remove(c4_shm_arena *arena, c4_shm_entry *entry)
{
    __atomic_store_n(&entry->key, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&c4_shm_arena_head(arena)->directory_version, 1, __ATOMIC_SEQ_CST);
}

const c4_shm_entry *c4_shm_directory_find(const unsigned char *base, size_t bytes, uint64_t key)
{
    const c4_shm_head *head = (const c4_shm_head *)base;
    uint32_t ntables = __atomic_load_n(&head->ntables, __ATOMIC_ACQUIRE);
    for (uint32_t t = 0; t < ntables && t < C4_SHM_TABLES; t++) {
        uint64_t offset = head->table_offset[t];
        uint32_t entries = table_entries(t);
        if (offset % C4_SHM_LINE || offset > bytes || entries * sizeof(c4_shm_entry) > bytes - offset)
            return NULL;
        const c4_shm_entry *table = (const c4_shm_entry *)(base + offset);
        for (uint32_t i = 0; i < REACH; i++)
            if (__atomic_load_n(&table[(key + i) & (entries - 1)].key, __ATOMIC_ACQUIRE) == key)
                return &table[(key + i) & (entries - 1)];
    }
    return NULL;
}
