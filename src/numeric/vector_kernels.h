/* The shape that all vector kernels share. The including file has defined, for its instruction set,
 *   raw, VECTOR_BYTES             the register type and its size
 *   raw_load, raw_store, raw_stream, raw_broadcast
 *   edge_load, edge_store         the same for the first `bytes` (0 .. VECTOR_BYTES) of a vector, touching no others
 *   widen_X, narrow_X             between one vector of memory and the registers that compute it (struct quad)
 *   op_X                          register op register
 *
 * One vector of memory is one register for 4- and 8-byte elements and integers, two for 16-bit and four for 8-bit
 * floats, which are computed in fp32. A block is four compute registers, i.e. 4, 2 or 1 vectors of memory: enough
 * independent work to hide latency, few enough accumulators to stay in registers whatever k is, so that a reduction
 * over k sources is a single pass over memory.
 *
 * Bodies are always inlined into one thin function per dtype and operation, with the function arguments constant. */

typedef raw (*op_fn)(raw, raw);
typedef quad (*widen_fn)(raw);
typedef raw (*narrow_fn)(quad);

/* What differs between kernels, constant at every use. */
typedef struct kernel {
    size_t element_bytes;
    int registers; /* compute registers per vector of memory: 1, 2 or 4 */
    widen_fn widen;
    narrow_fn narrow; /* for sums and products of floats also makes NaN canonical */
    op_fn op;
    c4_reduce_k_fn reduce_k; /* itself, for c4_reduce_staged */
} kernel;

/* Operands and outputs of one call. */
typedef struct operands {
    char *dst;
    char *dst2; /* NULL: none */
    const char *const *src;
    size_t k;
    unsigned flags;
} operands;

INLINE quad quad_op(kernel kn, quad x, quad y)
{
    x.a = kn.op(x.a, y.a);
    if (kn.registers >= 2) {
        x.b = kn.op(x.b, y.b);
    }
    if (kn.registers >= 4) {
        x.c = kn.op(x.c, y.c);
        x.d = kn.op(x.d, y.d);
    }
    return x;
}

INLINE void put(const operands *o, size_t offset, raw value)
{
    if (o->flags & C4_NUMERIC_STREAM) {
        raw_stream(o->dst + offset, value);
    } else {
        raw_store(o->dst + offset, value);
    }
    if (o->dst2 != NULL) {
        if (o->flags & C4_NUMERIC_STREAM2) {
            raw_stream(o->dst2 + offset, value);
        } else {
            raw_store(o->dst2 + offset, value);
        }
    }
}

/* Four compute registers of memory at `offset`: all sources are read before an output is written, so that an output
 * may be one of them. */
INLINE void reduce_block(kernel kn, const operands *o, size_t offset)
{
    const char *p = o->src[0] + offset;
    quad v0 = kn.widen(raw_load(p)), v1 = v0, v2 = v0, v3 = v0;
    if (kn.registers <= 2) {
        v1 = kn.widen(raw_load(p + VECTOR_BYTES));
    }
    if (kn.registers == 1) {
        v2 = kn.widen(raw_load(p + 2 * VECTOR_BYTES));
        v3 = kn.widen(raw_load(p + 3 * VECTOR_BYTES));
    }
    for (size_t j = 1; j < o->k; j++) {
        p = o->src[j] + offset;
        v0 = quad_op(kn, v0, kn.widen(raw_load(p)));
        if (kn.registers <= 2) {
            v1 = quad_op(kn, v1, kn.widen(raw_load(p + VECTOR_BYTES)));
        }
        if (kn.registers == 1) {
            v2 = quad_op(kn, v2, kn.widen(raw_load(p + 2 * VECTOR_BYTES)));
            v3 = quad_op(kn, v3, kn.widen(raw_load(p + 3 * VECTOR_BYTES)));
        }
    }
    put(o, offset, kn.narrow(v0));
    if (kn.registers <= 2) {
        put(o, offset + VECTOR_BYTES, kn.narrow(v1));
    }
    if (kn.registers == 1) {
        put(o, offset + 2 * VECTOR_BYTES, kn.narrow(v2));
        put(o, offset + 3 * VECTOR_BYTES, kn.narrow(v3));
    }
}

/* Up to one vector, plain stores. */
INLINE void reduce_edge(kernel kn, const operands *o, size_t offset, size_t bytes)
{
    quad v = kn.widen(edge_load(o->src[0] + offset, bytes));
    for (size_t j = 1; j < o->k; j++) {
        v = quad_op(kn, v, kn.widen(edge_load(o->src[j] + offset, bytes)));
    }
    raw value = kn.narrow(v);
    edge_store(o->dst + offset, bytes, value);
    if (o->dst2 != NULL) {
        edge_store(o->dst2 + offset, bytes, value);
    }
}

/* Bytes of the first edge: everything when it fits into one vector, else what lies before the first vector boundary
 * of the output that gains most from alignment, one that is streamed. Aligning costs an edge, which short plain
 * reductions do not earn back; an output that is not even aligned to its elements cannot be aligned. */
INLINE size_t first_edge(kernel kn, const operands *o, size_t bytes)
{
    if (bytes <= VECTOR_BYTES) {
        return bytes;
    }
    if (o->flags == 0 && bytes < ALIGN_MIN_BYTES) {
        return 0;
    }
    bool second = o->dst2 != NULL && (o->flags & C4_NUMERIC_STREAM2) && !(o->flags & C4_NUMERIC_STREAM);
    size_t head = -(uintptr_t)(second ? o->dst2 : o->dst) & (VECTOR_BYTES - 1);
    return head % kn.element_bytes == 0 ? head : 0;
}

/* Takes the stream flags off outputs that are not at a vector boundary at `offset`. */
INLINE unsigned usable_flags(const operands *o, size_t offset)
{
    unsigned flags = o->flags;
    if (((uintptr_t)o->dst + offset) & (VECTOR_BYTES - 1)) {
        flags &= ~(unsigned)C4_NUMERIC_STREAM;
    }
    if (((uintptr_t)o->dst2 + offset) & (VECTOR_BYTES - 1)) {
        flags &= ~(unsigned)C4_NUMERIC_STREAM2;
    }
    return flags;
}

INLINE void reduce_body(kernel kn, operands o, size_t count)
{
    const unsigned both = C4_NUMERIC_STREAM | C4_NUMERIC_STREAM2;
    const size_t block = (size_t)(4 / kn.registers) * VECTOR_BYTES;
    const size_t bytes = count * kn.element_bytes;
    if (o.dst2 != NULL && (o.flags & both) == both && (((uintptr_t)o.dst ^ (uintptr_t)o.dst2) & (VECTOR_BYTES - 1))) {
        c4_reduce_staged(kn.reduce_k, kn.element_bytes, o.dst, o.dst2, (const void *const *)o.src, o.k, count);
        return;
    }
    size_t edge = first_edge(kn, &o, bytes);
    size_t offset = 0;
    o.flags = usable_flags(&o, edge);
    /* One place each for edges and blocks: this is inlined some three hundred times. */
    for (;;) {
        if (edge != 0) {
            reduce_edge(kn, &o, offset, edge);
            offset += edge;
        }
        for (; offset + block <= bytes; offset += block) {
            reduce_block(kn, &o, offset);
        }
        if (offset == bytes) {
            return;
        }
        edge = bytes - offset < VECTOR_BYTES ? bytes - offset : VECTOR_BYTES;
    }
}

/* dst = src op constant, the constant given as compute registers: scaling. */
INLINE void map_body(kernel kn, char *dst, const char *src, quad constant, size_t count)
{
    size_t bytes = count * kn.element_bytes;
    size_t offset = 0;
    for (; offset + VECTOR_BYTES <= bytes; offset += VECTOR_BYTES) {
        raw_store(dst + offset, kn.narrow(quad_op(kn, kn.widen(raw_load(src + offset)), constant)));
    }
    if (offset < bytes) {
        raw value = edge_load(src + offset, bytes - offset);
        edge_store(dst + offset, bytes - offset, kn.narrow(quad_op(kn, kn.widen(value), constant)));
    }
}

#define REDUCE(tag, name, bytes, regs, widen_, narrow_, op_)                                                   \
    static void reduce_k_##tag##_##name(void *dst, void *dst2, const void *const *src, size_t k, size_t count, \
                                        unsigned flags);                                                       \
    static const kernel kernel_##tag##_##name = {bytes, regs, widen_, narrow_, op_, reduce_k_##tag##_##name};  \
    static void reduce2_##tag##_##name(void *dst, const void *a, const void *b, size_t count, unsigned flags)  \
    {                                                                                                          \
        const char *const src[2] = {a, b};                                                                     \
        reduce_body(kernel_##tag##_##name, (operands){dst, NULL, src, 2, flags & C4_NUMERIC_STREAM}, count);   \
    }                                                                                                          \
    static void reduce2_dup_##tag##_##name(void *dst, void *dst2, const void *a, const void *b, size_t count,  \
                                           unsigned flags)                                                     \
    {                                                                                                          \
        const char *const src[2] = {a, b};                                                                     \
        reduce_body(kernel_##tag##_##name, (operands){dst, dst2, src, 2, flags}, count);                       \
    }                                                                                                          \
    static void reduce_k_##tag##_##name(void *dst, void *dst2, const void *const *src, size_t k, size_t count, \
                                        unsigned flags)                                                        \
    {                                                                                                          \
        if (k == 1) {                                                                                          \
            c4_reduce_copy(dst, dst2, src[0], count *(bytes), flags);                                          \
            return;                                                                                            \
        }                                                                                                      \
        reduce_body(kernel_##tag##_##name, (operands){dst, dst2, (const char *const *)src, k, flags}, count);  \
    }

#define PREMUL(tag, bytes, kn)                                                             \
    static void premul_##tag(void *dst, const void *src, const void *scalar, size_t count) \
    {                                                                                      \
        map_body(kn, dst, src, kn.widen(raw_broadcast(scalar, bytes)), count);             \
    }

/* Averages of integers are rare and the processor divides integers one by one. */
#define INTEGER_SCALE(tag, dt)                                                  \
    static void scale_##tag(void *dst, const void *src, size_t count, size_t n) \
    {                                                                           \
        c4_reducers_scalar[dt][C4_AVG].scale(dst, src, count, n);               \
    }

/* Sums, products and bitwise results have the same bits for both signs: only min, max and division have kernels for
 * `utag`, the unsigned dtype. */
#define INTEGER_KERNELS(tag, dt, utag, udt, bytes)                    \
    REDUCE(tag, sum, bytes, 1, widen_raw, narrow_raw, op_sum_##tag)   \
    REDUCE(tag, prod, bytes, 1, widen_raw, narrow_raw, op_prod_##tag) \
    REDUCE(tag, band, bytes, 1, widen_raw, narrow_raw, op_band)       \
    REDUCE(tag, bor, bytes, 1, widen_raw, narrow_raw, op_bor)         \
    REDUCE(tag, bxor, bytes, 1, widen_raw, narrow_raw, op_bxor)       \
    REDUCE(tag, max, bytes, 1, widen_raw, narrow_raw, op_max_##tag)   \
    REDUCE(tag, min, bytes, 1, widen_raw, narrow_raw, op_min_##tag)   \
    REDUCE(utag, max, bytes, 1, widen_raw, narrow_raw, op_max_##utag) \
    REDUCE(utag, min, bytes, 1, widen_raw, narrow_raw, op_min_##utag) \
    PREMUL(tag, bytes, kernel_##tag##_prod)                           \
    PREMUL(utag, bytes, kernel_##tag##_prod)                          \
    INTEGER_SCALE(tag, dt)                                            \
    INTEGER_SCALE(utag, udt)

/* `base` is the dtype that computes: f32 or f64. */
#define FLOAT_KERNELS(tag, bytes, regs, base, widen_, narrow_, narrow_ordered)                    \
    REDUCE(tag, sum, bytes, regs, widen_, narrow_, op_sum_##base)                                 \
    REDUCE(tag, prod, bytes, regs, widen_, narrow_, op_prod_##base)                               \
    REDUCE(tag, max, bytes, regs, widen_, narrow_ordered, op_max_##base)                          \
    REDUCE(tag, min, bytes, regs, widen_, narrow_ordered, op_min_##base)                          \
    PREMUL(tag, bytes, kernel_##tag##_prod)                                                       \
    static const kernel kernel_##tag##_div = {bytes, regs, widen_, narrow_, op_div_##base, NULL}; \
    static void scale_##tag(void *dst, const void *src, size_t count, size_t n)                   \
    {                                                                                             \
        raw d = broadcast_##base(n);                                                              \
        map_body(kernel_##tag##_div, dst, src, (quad){d, d, d, d}, count);                        \
    }
