/* gloo over TCP. C++ because gloo has no C interface. BENCH_GLOO_ALGORITHM chooses how all_reduce is done: "ring"
 * (the options interface) or "halving_doubling" (the older one, in place, one object per buffer and count). */
#include "tests/bench/bench_core.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/alltoall.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/math.h>
#include <gloo/reduce_scatter.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

namespace {

using algorithm_key = std::tuple<const float *, size_t, bool>;

struct gloo_state {
    std::shared_ptr<gloo::rendezvous::Context> context;
    std::map<algorithm_key, std::unique_ptr<gloo::Algorithm>> algorithms;
    bool halving_doubling = false;
};

gloo_state *state;

template <typename Call> int guarded(const char *name, Call call)
{
    try {
        call();
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "bench-gloo: %s: %s\n", name, error.what());
        return -1;
    }
}

const char *environment(const char *name, const char *fallback)
{
    const char *value = std::getenv(name);
    return value != nullptr ? value : fallback;
}

int gloo_init(int *, char ***, int *rank, int *nranks)
{
    return guarded("init", [&] {
        state = new gloo_state;
        *rank = std::atoi(environment("BENCH_RANK", "0"));
        *nranks = std::atoi(environment("BENCH_NRANKS", "1"));
        state->halving_doubling = std::strcmp(environment("BENCH_GLOO_ALGORITHM", "ring"), "halving_doubling") == 0;
        gloo::transport::tcp::attr attributes;
        attributes.hostname = "127.0.0.1";
        auto device = gloo::transport::tcp::CreateDevice(attributes);
        gloo::rendezvous::FileStore store(environment("BENCH_STORE", "/nonexistent"));
        state->context = std::make_shared<gloo::rendezvous::Context>(*rank, *nranks);
        state->context->connectFullMesh(store, device);
    });
}

void all_reduce_ring(const float *send, float *recv, size_t count)
{
    gloo::AllreduceOptions options(state->context);
    options.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
    options.setInput(const_cast<float *>(send), count);
    options.setOutput(recv, count);
    options.setReduceFunction(
        [](void *out, const void *a, const void *b, size_t n) { gloo::sum<float>(out, a, b, n); });
    gloo::allreduce(options);
}

gloo::Algorithm &algorithm_find(float *buffer, size_t count, bool scatter)
{
    auto &slot = state->algorithms[algorithm_key(buffer, count, scatter)];
    if (slot == nullptr) {
        size_t nranks = static_cast<size_t>(state->context->size);
        std::vector<float *> buffers{buffer};
        if (scatter) {
            std::vector<int> counts(nranks, static_cast<int>(count / nranks));
            slot = std::make_unique<gloo::ReduceScatterHalvingDoubling<float>>(state->context, buffers,
                                                                               static_cast<int>(count), counts);
        } else {
            slot = std::make_unique<gloo::AllreduceHalvingDoubling<float>>(state->context, buffers,
                                                                           static_cast<int>(count));
        }
    }
    return *slot;
}

int gloo_all_reduce(const float *send, float *recv, size_t count)
{
    return guarded("all_reduce", [&] {
        if (state->halving_doubling) {
            algorithm_find(recv, count, false).run();
        } else {
            all_reduce_ring(send, recv, count);
        }
    });
}

int gloo_reduce_scatter(const float *, float *recv, size_t count)
{
    return guarded("reduce_scatter",
                   [&] { algorithm_find(recv, count * static_cast<size_t>(state->context->size), true).run(); });
}

int gloo_all_gather(const float *send, float *recv, size_t count)
{
    return guarded("all_gather", [&] {
        gloo::AllgatherOptions options(state->context);
        options.setInput(const_cast<float *>(send), count);
        options.setOutput(recv, count * static_cast<size_t>(state->context->size));
        gloo::allgather(options);
    });
}

int gloo_broadcast(float *buffer, size_t count)
{
    return guarded("broadcast", [&] {
        gloo::BroadcastOptions options(state->context);
        options.setOutput(buffer, count);
        options.setRoot(0);
        gloo::broadcast(options);
    });
}

int gloo_all_to_all(const float *send, float *recv, size_t count)
{
    return guarded("all_to_all", [&] {
        size_t total = count * static_cast<size_t>(state->context->size);
        gloo::AlltoallOptions options(state->context);
        options.setInput(const_cast<float *>(send), total);
        options.setOutput(recv, total);
        gloo::alltoall(options);
    });
}

int gloo_barrier()
{
    return guarded("barrier", [] {
        gloo::BarrierOptions options(state->context);
        gloo::barrier(options);
    });
}

void gloo_fini()
{
    delete state;
    state = nullptr;
}

} // namespace

/* The flags stand for both variants: the ring is measured in place too, which costs it no extra copy. */
const struct bench_peer bench_peer = {
    "gloo",          gloo_init,      gloo_all_reduce, gloo_reduce_scatter,
    gloo_all_gather, gloo_broadcast, gloo_all_to_all, gloo_barrier,
    nullptr,         nullptr,        gloo_fini,       BENCH_ALL_REDUCE_IN_PLACE | BENCH_REDUCE_SCATTER_IN_PLACE,
};
