/* Memory and lanes of the portable parts, which GCC and Clang make instructions of. */
typedef real part_memory __attribute__((vector_size(16), aligned(1), may_alias));
typedef int32_t part_integers __attribute__((vector_size(4 * FX_CHUNK), aligned(1), may_alias));

FX_INLINE part part_load_bytes(const char *p) { return *(const part_memory *)p; }
FX_INLINE void part_store_bytes(char *p, part x) { *(part_memory *)p = x; }
FX_INLINE part part_load(const real *p) { return part_load_bytes((const char *)p); }
FX_INLINE void part_store(real *p, part x) { part_store_bytes((char *)p, x); }
FX_INLINE part part_of_int32(const int32_t *p) {
    return __builtin_convertvector(*(const part_integers *)p, part);
}

/* Lanes of two parts, those of the second numbered from FX_CHUNK on. */
#if defined(__clang__) || __GNUC__ >= 12
#define FX_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define FX_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (part_bits){__VA_ARGS__})
#endif
#if FX_DOUBLE
FX_INLINE part part_even(part x, part y) { return FX_SHUFFLE(x, y, 0, 2); }
FX_INLINE part part_odd(part x, part y) { return FX_SHUFFLE(x, y, 1, 3); }
#else
FX_INLINE part part_pairs_low(part x, part y) { return FX_SHUFFLE(x, y, 0, 1, 4, 5); }
FX_INLINE part part_pairs_high(part x, part y) { return FX_SHUFFLE(x, y, 2, 3, 6, 7); }
FX_INLINE part part_unzip_even(part x, part y) { return FX_SHUFFLE(x, y, 0, 2, 4, 6); }
FX_INLINE part part_unzip_odd(part x, part y) { return FX_SHUFFLE(x, y, 1, 3, 5, 7); }
FX_INLINE part part_zip_low(part x, part y) { return FX_SHUFFLE(x, y, 0, 4, 1, 5); }
FX_INLINE part part_zip_high(part x, part y) { return FX_SHUFFLE(x, y, 2, 6, 3, 7); }
#endif

/* Transpose FX_CHUNK parts in place: lane i of part j becomes lane j of part i. */
FX_INLINE void parts_transpose(part *r) {
#if FX_DOUBLE
    part even = part_even(r[0], r[1]);
    r[1] = part_odd(r[0], r[1]);
    r[0] = even;
#else
    part low01 = part_zip_low(r[0], r[1]), high01 = part_zip_high(r[0], r[1]);
    part low23 = part_zip_low(r[2], r[3]), high23 = part_zip_high(r[2], r[3]);
    r[0] = part_pairs_low(low01, low23);
    r[1] = part_pairs_high(low01, low23);
    r[2] = part_pairs_low(high01, high23);
    r[3] = part_pairs_high(high01, high23);
#endif
}

#include "vector_part_memory.h"
