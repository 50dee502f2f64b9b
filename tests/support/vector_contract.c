/* The functions of a vec against plain C, one instruction set and precision at a time.
 *
 * Compiled with FX_ISA_* and FX_DOUBLE as the kernels are; prints what is wrong, and returns 1.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "isa.h"
#include "vector.h"

static int failures = 0;
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (condition) break;                                                                      \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        if (++failures > 20) exit(1);                                                              \
    } while (0)

static int same(real x, real y) { return memcmp(&x, &y, sizeof x) == 0 || (x != x && y != y); }

/* Partial loads and stores: at a page's end and beginning, next to pages that cannot be touched. */
static void check_first_lanes(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED, "mmap");
    CHECK(mprotect(memory, page, PROT_NONE) == 0, "mprotect");
    CHECK(mprotect(memory + 2 * page, page, PROT_NONE) == 0, "mprotect");
    real *start = (real *)(memory + page), *end = (real *)(memory + 2 * page), lanes[LANES];
    for (int count = 0; count <= LANES; count++) {
        real *last = end - count;
        for (int i = 0; i < count; i++) last[i] = (real)(i + 1);
        v_store(lanes, v_load_first(last, count, v_set((real)-7)));
        for (int i = 0; i < LANES; i++)
            CHECK(lanes[i] == (i < count ? i + 1 : -7), "v_load_first(%d)[%d]", count, i);
        v_store_first(last, count, v_set((real)5));
        for (int i = 0; i < count; i++) CHECK(last[i] == 5, "v_store_first(%d)[%d]", count, i);
        for (int i = 0; i < 2 * LANES; i++) start[i] = 1;
        v_store_first(start, count, v_set((real)2));
        for (int i = 0; i < 2 * LANES; i++)
            CHECK(start[i] == (i < count ? 2 : 1), "v_store_first(%d) writes %d", count, i);
        v_store(lanes, v_clear_rest(v_set((real)3), count));
        for (int i = 0; i < LANES; i++)
            CHECK(lanes[i] == (i < count ? 3 : 0), "v_clear_rest(%d)[%d]", count, i);
    }
}

/* Comparisons, maximum and minimum, of all pairs of special numbers; masks, lane by lane. */
static void check_comparisons(void) {
    const real numbers[] = {0, (real)-0.0, 1, -1, INFINITY, -INFINITY, NAN, FX_SMALLEST / 8};
    const int count = (int)(sizeof numbers / sizeof *numbers);
    real larger[LANES], smaller[LANES], lanes[LANES];
    for (int n = 0; n < count * count; n++) {
        real x = numbers[n / count], y = numbers[n % count];
        vec a = v_set(x), b = v_set(y);
        v_store(larger, v_max(a, b));
        v_store(smaller, v_min(a, b));
        CHECK(same(larger[LANES - 1], y < x ? x : y), "v_max(%g, %g)", (double)x, (double)y);
        CHECK(same(smaller[LANES - 1], x < y ? x : y), "v_min(%g, %g)", (double)x, (double)y);
        CHECK(v_mask_all(v_less(a, b)) == (x < y), "v_less(%g, %g)", (double)x, (double)y);
        CHECK(v_mask_any(v_equal(a, b)) == (x == y), "v_equal(%g, %g)", (double)x, (double)y);
        CHECK(v_mask_all(v_differs(a, b)) == (x != y), "v_differs(%g, %g)", (double)x, (double)y);
    }
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < LANES; i++) lanes[i] = i == lane;
        mask m = v_equal(v_load(lanes), v_one());
        CHECK(v_mask_bits(m) == 1u << lane, "v_mask_bits, lane %d", lane);
        CHECK(v_mask_any(m) && !v_mask_all(m), "v_mask_any, v_mask_all, lane %d", lane);
        v_store(lanes, v_select(m, v_set((real)2), v_set((real)3)));
        for (int i = 0; i < LANES; i++) CHECK(lanes[i] == (i == lane ? 2 : 3), "v_select[%d]", i);
    }
}

/* One rounding where there is an fma, two where there is none. */
static void check_fma(void) {
    const real ulp = FX_DOUBLE ? (real)0x1p-52 : (real)0x1p-23, x = 1 + ulp;
    real sum[LANES], difference[LANES];
    v_store(sum, v_fma(v_set(x), v_set(x), v_set(-1 - 2 * ulp)));
    v_store(difference, v_fnma(v_set(x), v_set(x), v_set(1 + 2 * ulp)));
    for (int i = 0; i < LANES; i++) {
        CHECK(sum[i] == (FX_HAS_FMA ? ulp * ulp : 0), "v_fma[%d]", i);
        CHECK(difference[i] == (FX_HAS_FMA ? -ulp * ulp : 0), "v_fnma[%d]", i);
    }
}

FX_REDUCE(reduce_add, v_add)
FX_REDUCE(reduce_max, v_max)

/* What moves between lanes. */
static void check_moves(void) {
    real rows[LANES][LANES], back[LANES][LANES], sums[LANES], most[LANES], lanes[LANES];
    vec v[LANES], columns[FX_CHUNK];
    int32_t integers[LANES];
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < LANES; j++) rows[i][j] = (real)((i * 37 + j * 101) % 97);
        integers[i] = 0x1000001 * (i - 3);
        v[i] = v_load(rows[i]);
    }
    v_store(sums, reduce_add(v));
    v_store(most, reduce_max(v));
    v_transpose(v);
    v_load_columns((const char *)(rows[0] + 1), sizeof rows[0], columns);
    memset(back, 0, sizeof back);
    v_store_columns((char *)back, sizeof back[0], columns);
    v_store(lanes, v_load_int32(integers));
    for (int i = 0; i < LANES; i++) {
        real sum = 0, largest = 0, column[LANES];
        for (int j = 0; j < LANES; j++) {
            sum += rows[i][j];
            largest = rows[i][j] > largest ? rows[i][j] : largest;
        }
        CHECK(sums[i] == sum && most[i] == largest, "FX_REDUCE[%d]", i);
        v_store(column, v[i]);
        for (int j = 0; j < LANES; j++) CHECK(column[j] == rows[j][i], "v_transpose[%d]", i);
        for (int k = 0; k < FX_CHUNK; k++) {
            v_store(column, columns[k]);
            CHECK(column[i] == rows[i][k + 1], "v_load_columns[%d]", k);
            CHECK(back[i][k] == rows[i][k + 1], "v_store_columns[%d]", k);
        }
        CHECK(lanes[i] == (real)integers[i], "v_load_int32[%d]", i);
    }
}

/* Powers of two: k and 2^-k of x = 2^k m, and m 2^k again, down to 0. */
static void check_exponents(void) {
    const int least = FX_DOUBLE ? -1021 : -125, most = FX_DOUBLE ? 1020 : 124;
    for (int k = least; k <= most; k++)
        for (real m = (real)0.75; m < (real)1.5; m += (real)0.125) {
            real inverse[LANES], exponent[LANES];
            vec power;
            v_store(exponent, v_exponent(v_set(m * (real)ldexp(1, k)), &power));
            v_store(inverse, power);
            CHECK(exponent[0] == k && inverse[0] == (real)ldexp(1, -k), "v_exponent(2^%d)", k);
        }
    /* Of others it may return anything, but not rely on an overflow, which traps here. */
    const real others[] = {0, (real)-0.0, -1, INFINITY, -INFINITY, NAN, -(real)NAN};
    for (int i = 0; i < (int)(sizeof others / sizeof *others); i++) {
        real lanes[LANES];
        vec power;
        v_store(lanes, v_exponent(v_set(others[i]), &power));
        CHECK(same(lanes[0], lanes[LANES - 1]), "v_exponent(%g)", (double)others[i]);
        v_store(lanes, power);
        CHECK(same(lanes[0], lanes[LANES - 1]), "power of v_exponent(%g)", (double)others[i]);
    }
    for (int n = FX_DOUBLE ? -1076 : -150; n <= 0; n++) {
        real lanes[LANES];
        vec exponent = v_set((real)n);
        v_store(lanes,
                v_scale(v_set((real)1.25), exponent, v_add(exponent, v_set((real)FX_ROUND_MAGIC))));
        CHECK(lanes[LANES - 1] == (real)ldexp(1.25, n), "v_scale(%d)", n);
    }
}

#if !FX_DOUBLE
/* All 16-bit numbers as floats and back, and random floats as 16-bit numbers, many of them ties. */
static void check_halves(void) {
    uint16_t numbers[LANES], rounded[LANES];
    float values[LANES];
    for (uint32_t first = 0; first < 65536; first += LANES) {
        for (int i = 0; i < LANES; i++) numbers[i] = (uint16_t)(first + (uint32_t)i);
        v_store(values, v_load_float16(numbers));
        for (int i = 0; i < LANES; i++)
            CHECK(same(values[i], float16_value(numbers[i])), "float16 %x", numbers[i]);
        v_store(values, v_load_bfloat16(numbers));
        for (int i = 0; i < LANES; i++)
            CHECK(same(values[i], bfloat16_value(numbers[i])), "bfloat16 %x", numbers[i]);
    }
    uint32_t state = 1;
    for (int n = 0; n < 50000; n++) {
        for (int i = 0; i < LANES; i++) {
            uint32_t bits = state = state * 1664525u + 1013904223u;
            if (n % 3 == 0) bits = (bits & 0x80000000u) | (0x33000000u + (bits & 0x14FFFFFFu));
            if (n % 5 == 0) bits &= 0xFFFFF000u;
            values[i] = float_of_bits(bits);
        }
        v_store_float16(rounded, v_load(values));
        for (int i = 0; i < LANES; i++)
            CHECK(rounded[i] == float16_bits(values[i]), "float16 of %a", (double)values[i]);
        v_store_bfloat16(rounded, v_load(values));
        for (int i = 0; i < LANES; i++)
            CHECK(rounded[i] == bfloat16_bits(values[i]), "bfloat16 of %a", (double)values[i]);
    }
    float pairs[LANES], low[LANES], high[LANES];
    for (int i = 0; i < LANES; i++) pairs[i] = float_of_bits(0x40003C00u + 0x30001u * (uint32_t)i);
    v_store(low, v_low_float16(v_load(pairs)));
    v_store(high, v_high_float16(v_load(pairs)));
    for (int i = 0; i < LANES; i++) {
        uint32_t bits = bits_of_float(pairs[i]);
        CHECK(low[i] == float16_value((uint16_t)bits), "v_low_float16[%d]", i);
        CHECK(high[i] == float16_value((uint16_t)(bits >> 16)), "v_high_float16[%d]", i);
    }
    v_store(low, v_low_bfloat16(v_load(pairs)));
    v_store(high, v_high_bfloat16(v_load(pairs)));
    for (int i = 0; i < LANES; i++) {
        uint32_t bits = bits_of_float(pairs[i]);
        CHECK(low[i] == bfloat16_value((uint16_t)bits), "v_low_bfloat16[%d]", i);
        CHECK(high[i] == bfloat16_value((uint16_t)(bits >> 16)), "v_high_bfloat16[%d]", i);
    }
}
#endif

int main(void) {
    check_first_lanes();
    check_comparisons();
    check_fma();
    check_moves();
    check_exponents();
#if !FX_DOUBLE
    check_halves();
#endif
    return failures != 0;
}
