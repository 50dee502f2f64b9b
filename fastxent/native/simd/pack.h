/* Copies between strided memory and tiles, and the plain read.
 *
 * A tile holds class k of lane a at [k * tile_stride + a]: LANES x LANES blocks are transposed
 * in registers where the classes are contiguous, and anything else goes element by element.
 */
#define FX_PACK_STEPS(type, value, step)                                                           \
    for (ptrdiff_t k = 0; k < classes; k++)                                                        \
        for (ptrdiff_t a = 0; a < anchors; a++) {                                                  \
            type element;                                                                          \
            memcpy(&element, data + a * (step) + k * class_stride, sizeof element);                \
            tile[k * tile_stride + a] = (real)(value);                                             \
        }
/* With its length a constant, the compiler makes vectors of the common step. */
#define FX_PACK_ELEMENTS(type, value)                                                              \
    do {                                                                                           \
        if (anchor_stride == (ptrdiff_t)sizeof(type)) {                                            \
            FX_PACK_STEPS(type, value, (ptrdiff_t)sizeof(type))                                    \
        } else {                                                                                   \
            FX_PACK_STEPS(type, value, anchor_stride)                                              \
        }                                                                                          \
    } while (0)

static void pack_elements(const fx_strided *elements, real *restrict tile, ptrdiff_t tile_stride) {
    const char *data = elements->data;
    const ptrdiff_t anchors = elements->anchors, anchor_stride = elements->anchor_stride;
    const ptrdiff_t classes = elements->classes, class_stride = elements->class_stride;
    switch (elements->type) {
    case FX_BOOL:
    case FX_UINT8: FX_PACK_ELEMENTS(uint8_t, element); break;
    case FX_INT8: FX_PACK_ELEMENTS(int8_t, element); break;
    case FX_INT16: FX_PACK_ELEMENTS(int16_t, element); break;
    case FX_UINT16: FX_PACK_ELEMENTS(uint16_t, element); break;
    case FX_INT32: FX_PACK_ELEMENTS(int32_t, element); break;
    case FX_UINT32: FX_PACK_ELEMENTS(uint32_t, element); break;
    case FX_INT64: FX_PACK_ELEMENTS(int64_t, element); break;
    case FX_UINT64: FX_PACK_ELEMENTS(uint64_t, element); break;
    case FX_FLOAT16: FX_PACK_ELEMENTS(uint16_t, float16_value(element)); break;
    case FX_BFLOAT16: FX_PACK_ELEMENTS(uint16_t, bfloat16_value(element)); break;
    case FX_FLOAT32: FX_PACK_ELEMENTS(float, element); break;
    default: FX_PACK_ELEMENTS(double, element); break;
    }
}

/* Contiguous 16-bit floats to floats and back, with what is so many bytes ahead prefetched. Each
 * class of a tile is a stream of its own: of few classes a tile has many anchors, and the next
 * tile's part has to be on its way before this one's is done. */
FX_INLINE ptrdiff_t class_ahead(ptrdiff_t size) {
    const ptrdiff_t tiles = 4 * size, least = tiles > FX_LANES_AHEAD ? tiles : FX_LANES_AHEAD;
    return least < FX_ROWS_AHEAD ? least : FX_ROWS_AHEAD;
}
#define FX_FOR_HALVES(type, step)                                                                  \
    do {                                                                                           \
        ptrdiff_t i = 0;                                                                           \
        for (; i + LANES <= count; i += LANES) step(i, LANES, type);                               \
        if (i < count) step(i, (int)(count - i), type);                                            \
    } while (0)

FX_INLINE void widen_stream(const char *source, int type, ptrdiff_t count, real *x,
                            ptrdiff_t ahead) {
#define FX_WIDEN(i, width, type)                                                                   \
    do {                                                                                           \
        const char *place = source + (i) * size_of_type(type);                                     \
        prefetch_line(place + ahead);                                                              \
        if ((width) == LANES)                                                                      \
            v_store(x + (i), load_as(place, type));                                                \
        else                                                                                       \
            v_store_first(x + (i), width, load_first_as(place, width, type));                      \
    } while (0)
    if (type == FX_FLOAT16)
        FX_FOR_HALVES(FX_FLOAT16, FX_WIDEN);
    else
        FX_FOR_HALVES(FX_BFLOAT16, FX_WIDEN);
#undef FX_WIDEN
}
static void widen(const char *source, int type, ptrdiff_t count, void *values) {
    widen_stream(source, type, count, (real *)values, FX_ROWS_AHEAD);
}

FX_INLINE void narrow_stream(const real *x, ptrdiff_t count, char *destination, int type,
                             ptrdiff_t ahead) {
#define FX_NARROW(i, width, type)                                                                  \
    do {                                                                                           \
        char *place = destination + (i) * size_of_type(type);                                      \
        prefetch_line(place + ahead);                                                              \
        if ((width) == LANES)                                                                      \
            store_as(place, v_load(x + (i)), type);                                                \
        else                                                                                       \
            store_first_as(place, width, v_load_first(x + (i), width, v_zero()), type);            \
    } while (0)
    if (type == FX_FLOAT16)
        FX_FOR_HALVES(FX_FLOAT16, FX_NARROW);
    else
        FX_FOR_HALVES(FX_BFLOAT16, FX_NARROW);
#undef FX_NARROW
}
static void narrow(const void *values, ptrdiff_t count, char *destination, int type) {
    narrow_stream((const real *)values, count, destination, type, FX_ROWS_AHEAD);
}

/* Load at least `width` values of a row. Reading on, up to the end of the last row, is several
 * times faster than a masked load. What is between rows need not be the array's, but it is mapped
 * where no page fits in: every page then has a row's bytes. */
#define FX_PAGE 4096 /* the smallest there is */
FX_INLINE vec load_row(const char *p, int width, const char *end, const int type) {
    if (width == LANES || p <= end - LANES * size_of_type(type)) return load_as(p, type);
    return load_first_as(p, width, type);
}

/* Rows that are shorter than a chunk, or fewer than LANES. */
FX_INLINE void pack_blocks(fx_strided source, real *tile, ptrdiff_t tile_stride, const int type) {
    const ptrdiff_t anchors = source.anchors, classes = source.classes;
    const ptrdiff_t row_size = classes * size_of_type(type);
    const char *end = source.data; /* of what may be read */
    if (source.anchor_stride - row_size < FX_PAGE)
        end += (anchors - 1) * source.anchor_stride + row_size;
    for (ptrdiff_t a = 0; a < anchors; a += LANES)
        for (ptrdiff_t k = 0; k < classes; k += LANES) {
            vec block[LANES];
            int width = classes - k < LANES ? (int)(classes - k) : LANES;
            for (int i = 0; i < LANES; i++) {
                ptrdiff_t row = a + i < anchors ? a + i : anchors - 1;
                const char *place =
                    source.data + row * source.anchor_stride + k * size_of_type(type);
                v_prefetch(place + FX_ROWS_AHEAD);
                block[i] = load_row(place, width, end, type);
            }
            v_transpose(block);
            for (int i = 0; i < width; i++) v_store(tile + (k + i) * tile_stride + a, block[i]);
        }
}

/* LANES rows at a time, by chunks of classes, of which the last one overlaps the one before. */
FX_INLINE void pack_chunks(fx_strided source, real *tile, ptrdiff_t tile_stride, const int type) {
    const ptrdiff_t anchors = source.anchors, classes = source.classes;
    const ptrdiff_t width = chunk_classes(type);
    for (ptrdiff_t next = 0; next < anchors; next += LANES) {
        ptrdiff_t a = next + LANES <= anchors ? next : anchors - LANES;
        for (ptrdiff_t start = 0; start < classes; start += width) {
            ptrdiff_t k = start + width <= classes ? start : classes - width;
            const char *place = source.data + a * source.anchor_stride + k * size_of_type(type);
            real *to = tile + k * tile_stride + a;
            vec columns[FX_CHUNK];
            v_load_columns(place, source.anchor_stride, columns);
            for (int i = 0; i < FX_CHUNK; i++) {
                if (FX_IS_HALF(type)) {
                    v_store(to + 2 * i * tile_stride, low_as(columns[i], type));
                    v_store(to + (2 * i + 1) * tile_stride, high_as(columns[i], type));
                } else {
                    v_store(to + i * tile_stride, columns[i]);
                }
            }
        }
    }
}

FX_INLINE void pack_rows(fx_strided source, real *tile, ptrdiff_t tile_stride, const int type) {
    if (source.classes >= chunk_classes(type) && source.anchors >= LANES)
        pack_chunks(source, tile, tile_stride, type);
    else
        pack_blocks(source, tile, tile_stride, type);
}

/* Rows of so few classes are contiguous: with their number a constant, the compiler
 * takes them apart by shuffles, where v_split_* does not. */
#define FX_FEW_CLASSES 4
FX_INLINE void pack_few_as(const real *restrict rows, ptrdiff_t anchors, real *restrict tile,
                           ptrdiff_t tile_stride, const int classes) {
    ptrdiff_t a = 0;
#ifdef FX_HAS_SPLIT
    for (; classes != 3 && a + LANES <= anchors; a += LANES) {
        vec row[FX_FEW_CLASSES], column[FX_FEW_CLASSES];
        for (int i = 0; i < classes; i++) row[i] = v_load(rows + a * classes + i * LANES);
        if (classes == 2)
            v_split_pairs(row, column);
        else
            v_split_quads(row, column);
        for (int k = 0; k < classes; k++) v_store(tile + k * tile_stride + a, column[k]);
    }
#endif
    for (int k = 0; k < classes; k++)
        for (ptrdiff_t i = a; i < anchors; i++) tile[k * tile_stride + i] = rows[i * classes + k];
}
static void pack_few(const real *restrict rows, ptrdiff_t anchors, ptrdiff_t classes,
                     real *restrict tile, ptrdiff_t tile_stride) {
    switch (classes) {
    case 2: pack_few_as(rows, anchors, tile, tile_stride, 2); break;
    case 3: pack_few_as(rows, anchors, tile, tile_stride, 3); break;
    default: pack_few_as(rows, anchors, tile, tile_stride, 4);
    }
}

#if !FX_DOUBLE
/* Contiguous rows of fewer 16-bit floats than a chunk has: floats first, LANES rows at a time.
 */
static void pack_few_halves(fx_strided source, real *tile, ptrdiff_t tile_stride) {
    real rows[8 * LANES];
    const ptrdiff_t anchors = source.anchors, classes = source.classes;
    fx_strided widened = {
        (char *)rows, classes * (ptrdiff_t)sizeof(real), sizeof(real), FX_OWN_TYPE, 0, classes};
    for (ptrdiff_t a = 0; a < anchors; a += LANES) {
        widened.anchors = anchors - a < LANES ? anchors - a : LANES;
        widen(source.data + a * classes * 2, source.type, widened.anchors * classes, rows);
        if (classes <= FX_FEW_CLASSES)
            pack_few(rows, widened.anchors, classes, tile + a, tile_stride);
        else
            pack_rows(widened, tile + a, tile_stride, FX_OWN_TYPE);
    }
}
#endif

static void pack(const fx_strided *elements, void *packed, ptrdiff_t tile_stride) {
    const fx_strided source = *elements;
    const ptrdiff_t size = size_of_type(source.type), classes = source.classes;
    real *tile = (real *)packed;
    int lies_in_rows = source.class_stride == size && classes > 1;
    int is_contiguous = lies_in_rows && source.anchor_stride == classes * size;
    if (FX_IS_HALF(source.type) && source.anchor_stride == size)
        for (ptrdiff_t k = 0; k < classes; k++)
            widen_stream(source.data + k * source.class_stride, source.type, source.anchors,
                         tile + k * tile_stride, class_ahead(source.anchors * size));
    else if (is_contiguous && source.type == FX_OWN_TYPE && classes <= FX_FEW_CLASSES)
        pack_few((const real *)source.data, source.anchors, classes, tile, tile_stride);
    else if (lies_in_rows && source.type == FX_OWN_TYPE)
        pack_rows(source, tile, tile_stride, FX_OWN_TYPE);
#if !FX_DOUBLE
    else if (is_contiguous && FX_IS_HALF(source.type) && classes < chunk_classes(source.type))
        pack_few_halves(source, tile, tile_stride);
    else if (lies_in_rows && source.type == FX_FLOAT16)
        pack_rows(source, tile, tile_stride, FX_FLOAT16);
    else if (lies_in_rows && source.type == FX_BFLOAT16)
        pack_rows(source, tile, tile_stride, FX_BFLOAT16);
#endif
    else
        pack_elements(elements, tile, tile_stride);
}

/* The way back of pack_chunks. */
static void unpack_chunks(const real *tile, ptrdiff_t tile_stride, fx_strided destination) {
    const ptrdiff_t anchors = destination.anchors, classes = destination.classes;
    for (ptrdiff_t next = 0; next < anchors; next += LANES) {
        ptrdiff_t a = next + LANES <= anchors ? next : anchors - LANES;
        for (ptrdiff_t start = 0; start < classes; start += FX_CHUNK) {
            ptrdiff_t k = start + FX_CHUNK <= classes ? start : classes - FX_CHUNK;
            char *place = destination.data + a * destination.anchor_stride;
            vec columns[FX_CHUNK];
            for (int i = 0; i < FX_CHUNK; i++)
                columns[i] = v_load(tile + (k + i) * tile_stride + a);
            v_store_columns(place + k * (ptrdiff_t)sizeof(real), destination.anchor_stride,
                            columns);
        }
    }
}

/* One after the other. */
FX_INLINE void unpack_elements(const real *tile, ptrdiff_t tile_stride, fx_strided destination,
                               const int type) {
    for (ptrdiff_t k = 0; k < destination.classes; k++)
        for (ptrdiff_t a = 0; a < destination.anchors; a++) {
            char *anchor = destination.data + a * destination.anchor_stride;
            store_one_as(anchor + k * destination.class_stride, tile[k * tile_stride + a], type);
        }
}

/* The way back of pack_blocks. */
FX_INLINE void unpack_blocks(const real *tile, ptrdiff_t tile_stride, fx_strided destination,
                             const int type) {
    const ptrdiff_t anchors = destination.anchors, classes = destination.classes;
    for (ptrdiff_t a = 0; a < anchors; a += LANES)
        for (ptrdiff_t k = 0; k < classes; k += LANES) {
            vec block[LANES];
            int width = classes - k < LANES ? (int)(classes - k) : LANES;
            for (int i = 0; i < LANES; i++)
                block[i] = v_load(tile + (k + (i < width ? i : 0)) * tile_stride + a);
            v_transpose(block);
            char *place = destination.data + a * destination.anchor_stride + k * size_of_type(type);
            for (int i = 0; i < LANES && a + i < anchors; i++) {
                if (width == LANES)
                    store_as(place, block[i], type);
                else
                    store_first_as(place, width, block[i], type);
                place += destination.anchor_stride;
            }
        }
}

FX_INLINE void unpack_as(const real *tile, ptrdiff_t tile_stride, fx_strided destination,
                         const int type) {
    if (destination.class_stride != size_of_type(type) || destination.classes == 1 ||
        (type == FX_OWN_TYPE && destination.classes < FX_CHUNK))
        unpack_elements(tile, tile_stride, destination, type);
    else
        unpack_blocks(tile, tile_stride, destination, type);
}

static void unpack(const void *packed, ptrdiff_t tile_stride, const fx_strided *elements) {
    const fx_strided destination = *elements;
    const real *tile = (const real *)packed;
    const int type = destination.type;
    if (FX_IS_HALF(type) && destination.anchor_stride == size_of_type(type))
        for (ptrdiff_t k = 0; k < destination.classes; k++)
            narrow_stream(tile + k * tile_stride, destination.anchors,
                          destination.data + k * destination.class_stride, type,
                          class_ahead(destination.anchors * size_of_type(type)));
    else if (FX_IS_HALF(type) && type == FX_FLOAT16)
        unpack_as(tile, tile_stride, destination, FX_FLOAT16);
    else if (FX_IS_HALF(type))
        unpack_as(tile, tile_stride, destination, FX_BFLOAT16);
    else if (destination.class_stride == sizeof(real) && destination.classes >= FX_CHUNK &&
             destination.anchors >= LANES)
        unpack_chunks(tile, tile_stride, destination);
    else
        unpack_as(tile, tile_stride, destination, FX_OWN_TYPE);
}

/* Sum everything, with enough independent sums that memory is the limit. */
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
