/* Elements of the user's arrays of labels and targets, of any type; `type` is a constant. */

FX_INLINE ptrdiff_t integer_size(const int type) {
    if (type == FX_INT8 || type == FX_UINT8) return 1;
    if (type == FX_INT16 || type == FX_UINT16) return 2;
    if (type == FX_INT32 || type == FX_UINT32) return 4;
    return 8;
}
FX_INLINE ptrdiff_t number_size(const int type) {
    if (type == FX_FLOAT16 || type == FX_BFLOAT16) return 2;
    return type == FX_FLOAT32 ? 4 : integer_size(type);
}

/* Unsigned numbers of 64 bits are wrapped around. */
FX_INLINE int64_t integer_at(const char *p, const int type) {
    uint8_t of_8;
    uint16_t of_16;
    uint32_t of_32;
    int64_t of_64;
    if (type == FX_INT8 || type == FX_UINT8) {
        memcpy(&of_8, p, sizeof of_8);
        return type == FX_INT8 ? (int8_t)of_8 : of_8;
    }
    if (type == FX_INT16 || type == FX_UINT16) {
        memcpy(&of_16, p, sizeof of_16);
        return type == FX_INT16 ? (int16_t)of_16 : of_16;
    }
    if (type == FX_INT32 || type == FX_UINT32) {
        memcpy(&of_32, p, sizeof of_32);
        return type == FX_INT32 ? (int32_t)of_32 : (int64_t)of_32;
    }
    memcpy(&of_64, p, sizeof of_64);
    return of_64;
}
/* Whether an integer of this type is the one that integer_at returns. */
FX_INLINE int is_wrapped(int64_t integer, const int type) {
    return type == FX_UINT64 && integer < 0;
}

FX_INLINE int is_float(const int type) {
    return type == FX_FLOAT16 || type == FX_BFLOAT16 || type == FX_FLOAT32;
}
FX_INLINE float float_at(const char *p, const int type) {
    uint16_t bits;
    float value;
    if (type == FX_FLOAT32) {
        memcpy(&value, p, sizeof value);
        return value;
    }
    memcpy(&bits, p, sizeof bits);
    return type == FX_FLOAT16 ? float16_value(bits) : bfloat16_value(bits);
}
FX_INLINE double double_at(const char *p, const int type) {
    double value;
    if (type == FX_FLOAT64) {
        memcpy(&value, p, sizeof value);
        return value;
    }
    if (is_float(type)) return (double)float_at(p, type);
    int64_t integer = integer_at(p, type);
    return type == FX_UINT64 ? (double)(uint64_t)integer : (double)integer;
}
