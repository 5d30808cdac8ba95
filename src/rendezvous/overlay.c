#include "rendezvous/overlay.h"

/* Is it 2^k < n? */
static bool is_step(int distance)
{
    return distance > 0 && (distance & (distance - 1)) == 0;
}

static int distance(int nranks, int from, int to)
{
    return to >= from ? to - from : to - from + nranks;
}

bool c4_overlay_is_edge(int nranks, int rank, int other)
{
    if (nranks <= C4_OVERLAY_FULL_RANKS)
        return rank != other;
    return is_step(distance(nranks, rank, other)) || is_step(distance(nranks, other, rank));
}

int c4_overlay_owner(int nranks, int rank, int other)
{
    int low = rank < other ? rank : other;
    int high = rank < other ? other : rank;
    if (low == 0)
        return high;
    return is_step(distance(nranks, high, low)) && !is_step(distance(nranks, low, high)) ? high : low;
}

static void insert(int *list, int *count, int rank)
{
    int at = *count;
    while (at > 0 && list[at - 1] > rank)
        at--;
    if (at > 0 && list[at - 1] == rank)
        return;
    for (int i = (*count)++; i > at; i--)
        list[i] = list[i - 1];
    list[at] = rank;
}

int c4_overlay_neighbours(int nranks, int rank, int neighbours[C4_OVERLAY_MAX_NEIGHBOURS])
{
    int count = 0;
    for (int step = 1; step < nranks; step = nranks <= C4_OVERLAY_FULL_RANKS ? step + 1 : step * 2) {
        insert(neighbours, &count, (rank + step) % nranks);
        insert(neighbours, &count, (rank - step + nranks) % nranks);
    }
    return count;
}
