/* Facts of a tile as constants of the compiler.
 *
 * Each macro calls f(arguments..., constants), an always-inline function, once for each value that
 * a fact can have: the loops inside are compiled for each case, without a branch.
 */

/* f(..., type), the type of logits: the kernels' own or a 16-bit one. */
#if FX_DOUBLE
#define FX_WITH_TYPE(type, f, ...) f(__VA_ARGS__, FX_OWN_TYPE)
#else
#define FX_WITH_TYPE(type, f, ...)                                                                 \
    do {                                                                                           \
        if ((type) == FX_OWN_TYPE)                                                                 \
            f(__VA_ARGS__, FX_OWN_TYPE);                                                           \
        else if ((type) == FX_FLOAT16)                                                             \
            f(__VA_ARGS__, FX_FLOAT16);                                                            \
        else                                                                                       \
            f(__VA_ARGS__, FX_BFLOAT16);                                                           \
    } while (0)
#endif

/* f(..., flag, type) */
#define FX_WITH_FLAG_AND_TYPE(flag, type, f, ...)                                                  \
    do {                                                                                           \
        if (flag)                                                                                  \
            FX_WITH_TYPE(type, f, __VA_ARGS__, 1);                                                 \
        else                                                                                       \
            FX_WITH_TYPE(type, f, __VA_ARGS__, 0);                                                 \
    } while (0)

/* f(..., first, second, type) */
#define FX_WITH_FLAGS_AND_TYPE(first, second, type, f, ...)                                        \
    do {                                                                                           \
        if (first)                                                                                 \
            FX_WITH_FLAG_AND_TYPE(second, type, f, __VA_ARGS__, 1);                                \
        else                                                                                       \
            FX_WITH_FLAG_AND_TYPE(second, type, f, __VA_ARGS__, 0);                                \
    } while (0)

/* f(..., first, second) */
#define FX_WITH_FLAGS(first, second, f, ...)                                                       \
    do {                                                                                           \
        if ((first) && (second))                                                                   \
            f(__VA_ARGS__, 1, 1);                                                                  \
        else if (first)                                                                            \
            f(__VA_ARGS__, 1, 0);                                                                  \
        else if (second)                                                                           \
            f(__VA_ARGS__, 0, 1);                                                                  \
        else                                                                                       \
            f(__VA_ARGS__, 0, 0);                                                                  \
    } while (0)

/* f(..., type), the type of the user's labels, or of labels and dense targets. */
#define FX_CASE_TYPE(type, f, ...)                                                                 \
    case type: f(__VA_ARGS__, type); break;
#define FX_INTEGER_CASES(f, ...)                                                                   \
    FX_CASE_TYPE(FX_INT8, f, __VA_ARGS__)                                                          \
    FX_CASE_TYPE(FX_UINT8, f, __VA_ARGS__)                                                         \
    FX_CASE_TYPE(FX_INT16, f, __VA_ARGS__)                                                         \
    FX_CASE_TYPE(FX_UINT16, f, __VA_ARGS__)                                                        \
    FX_CASE_TYPE(FX_INT32, f, __VA_ARGS__)                                                         \
    FX_CASE_TYPE(FX_UINT32, f, __VA_ARGS__)                                                        \
    FX_CASE_TYPE(FX_INT64, f, __VA_ARGS__)                                                         \
    FX_CASE_TYPE(FX_UINT64, f, __VA_ARGS__)
#define FX_WITH_INTEGER_TYPE(type, f, ...)                                                         \
    switch (type) { FX_INTEGER_CASES(f, __VA_ARGS__) }
#define FX_WITH_NUMBER_TYPE(type, f, ...)                                                          \
    switch (type) {                                                                                \
        FX_INTEGER_CASES(f, __VA_ARGS__)                                                           \
        FX_CASE_TYPE(FX_FLOAT16, f, __VA_ARGS__)                                                   \
        FX_CASE_TYPE(FX_BFLOAT16, f, __VA_ARGS__)                                                  \
        FX_CASE_TYPE(FX_FLOAT32, f, __VA_ARGS__)                                                   \
        FX_CASE_TYPE(FX_FLOAT64, f, __VA_ARGS__)                                                   \
    }
