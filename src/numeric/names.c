/* Names and sizes of dtypes and ops, as users write them. */
#include "base/export.h"
#include "numeric/numeric.h"

static const char *const dtype_names[C4_NDTYPES] = {
    [C4_INT8] = "int8",
    [C4_UINT8] = "uint8",
    [C4_INT32] = "int32",
    [C4_UINT32] = "uint32",
    [C4_INT64] = "int64",
    [C4_UINT64] = "uint64",
    [C4_FLOAT16] = "float16",
    [C4_FLOAT32] = "float32",
    [C4_FLOAT64] = "float64",
    [C4_BFLOAT16] = "bfloat16",
    [C4_FLOAT8_E4M3] = "float8_e4m3",
    [C4_FLOAT8_E5M2] = "float8_e5m2",
};

static const char *const op_names[C4_NOPS] = {
    [C4_SUM] = "sum", [C4_PROD] = "prod", [C4_MAX] = "max", [C4_MIN] = "min",
    [C4_AVG] = "avg", [C4_BAND] = "band", [C4_BOR] = "bor", [C4_BXOR] = "bxor",
};

C4_API size_t c4_dtype_size(c4_dtype dtype)
{
    return c4_numeric_dtype_bytes(dtype);
}

C4_API const char *c4_dtype_name(c4_dtype dtype)
{
    return (unsigned)dtype < C4_NDTYPES ? dtype_names[dtype] : NULL;
}

C4_API const char *c4_op_name(c4_op op)
{
    if (op >= C4_OP_USER)
        return "premul_sum";
    return (unsigned)op < C4_NOPS ? op_names[op] : NULL;
}
