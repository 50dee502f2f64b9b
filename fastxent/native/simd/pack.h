/* Copies between strided memory and tiles, and the plain read.
 *
 * A tile holds class k of lane a at [k * tile_stride + a]: LANES x LANES blocks are transposed
 * in registers where the classes lie side by side, and anything else goes element by element.
 */
#define FX_PACK_ELEMENTS(type)                                                                     \
    do {                                                                                           \
        for (ptrdiff_t k = 0; k < classes; k++)                                                    \
            for (ptrdiff_t a = 0; a < anchors; a++) {                                              \
                type element;                                                                      \
                memcpy(&element, source + a * anchor_stride + k * class_stride, sizeof element);   \
                tile[k * tile_stride + a] = (real)element;                                         \
            }                                                                                      \
    } while (0)

static void pack_elements(const char *source, ptrdiff_t anchor_stride, ptrdiff_t class_stride,
                          int type, ptrdiff_t anchors, ptrdiff_t classes, real *tile,
                          ptrdiff_t tile_stride) {
    switch (type) {
    case FX_BOOL:
    case FX_UINT8: FX_PACK_ELEMENTS(uint8_t); break;
    case FX_INT8: FX_PACK_ELEMENTS(int8_t); break;
    case FX_INT16: FX_PACK_ELEMENTS(int16_t); break;
    case FX_UINT16: FX_PACK_ELEMENTS(uint16_t); break;
    case FX_INT32: FX_PACK_ELEMENTS(int32_t); break;
    case FX_UINT32: FX_PACK_ELEMENTS(uint32_t); break;
    case FX_INT64: FX_PACK_ELEMENTS(int64_t); break;
    case FX_UINT64: FX_PACK_ELEMENTS(uint64_t); break;
    case FX_FLOAT32: FX_PACK_ELEMENTS(float); break;
    default: FX_PACK_ELEMENTS(double); break;
    }
}

/* Load at least `width` values of a row. Where the following rows lie behind it, reading into them
 * is several times faster than a masked load. */
FX_INLINE vec load_row(const real *p, int width, const char *end) {
    if (width == LANES || (const char *)p <= end - LANES * (ptrdiff_t)sizeof(real))
        return v_load(p);
    return v_load_first(p, width, v_zero());
}

static void pack(const char *source, ptrdiff_t anchor_stride, ptrdiff_t class_stride, int type,
                 ptrdiff_t anchors, ptrdiff_t classes, void *destination, ptrdiff_t tile_stride) {
    real *tile = (real *)destination;
    int same_type = type == (FX_DOUBLE ? FX_FLOAT64 : FX_FLOAT32);
    if (!same_type || class_stride != (ptrdiff_t)sizeof(real) || classes == 1) {
        pack_elements(source, anchor_stride, class_stride, type, anchors, classes, tile,
                      tile_stride);
        return;
    }
    const char *end = source + (anchors - 1) * anchor_stride + classes * (ptrdiff_t)sizeof(real);
    for (ptrdiff_t a = 0; a < anchors; a += LANES)
        for (ptrdiff_t k = 0; k < classes; k += LANES) {
            vec block[LANES];
            int width = classes - k < LANES ? (int)(classes - k) : LANES;
            for (int i = 0; i < LANES; i++) {
                ptrdiff_t row = a + i < anchors ? a + i : anchors - 1;
                const char *place = source + row * anchor_stride + k * (ptrdiff_t)sizeof(real);
                v_prefetch((const real *)place);
                block[i] = load_row((const real *)place, width, end);
            }
            v_transpose(block);
            for (int i = 0; i < width; i++) v_store(tile + (k + i) * tile_stride + a, block[i]);
        }
}

static void unpack(const void *source, ptrdiff_t tile_stride, ptrdiff_t anchors, ptrdiff_t classes,
                   char *destination, ptrdiff_t anchor_stride, ptrdiff_t class_stride) {
    const real *tile = (const real *)source;
    if (class_stride != (ptrdiff_t)sizeof(real) || classes == 1) {
        for (ptrdiff_t k = 0; k < classes; k++)
            for (ptrdiff_t a = 0; a < anchors; a++)
                memcpy(destination + a * anchor_stride + k * class_stride,
                       tile + k * tile_stride + a, sizeof(real));
        return;
    }
    for (ptrdiff_t a = 0; a < anchors; a += LANES)
        for (ptrdiff_t k = 0; k < classes; k += LANES) {
            vec block[LANES];
            int width = classes - k < LANES ? (int)(classes - k) : LANES;
            for (int i = 0; i < LANES; i++)
                block[i] = v_load(tile + (k + (i < width ? i : 0)) * tile_stride + a);
            v_transpose(block);
            for (int i = 0; i < LANES && a + i < anchors; i++)
                v_store_first((real *)(destination + (a + i) * anchor_stride) + k, width, block[i]);
        }
}

/* Sum everything, with enough sums side by side that memory is the limit. */
static double read_values(const void *values, ptrdiff_t count) {
    const real *x = (const real *)values;
    vec sums[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int s = 0; s < 4; s++) sums[s] = v_add(sums[s], v_load(x + i + s * LANES));
    real lanes[LANES];
    v_store(lanes, v_add(v_add(sums[0], sums[1]), v_add(sums[2], sums[3])));
    double total = 0;
    for (int l = 0; l < LANES; l++) total += lanes[l];
    for (; i < count; i++) total += x[i];
    return total;
}
