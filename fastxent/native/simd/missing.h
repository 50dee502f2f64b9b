/* Missing labels: dense targets that equal an `ignore_index`, the only ones outside [0, 1].
 *
 * They have no part in the loss, whatever their logits and weights are. So a tile that holds any is
 * a copy, in which they get the weight 0, and the logit and the target of another class of their
 * anchor: what that costs is a part of the anchor's loss anyhow, so where it is NaN nothing is
 * lost. An anchor without any label is ignored.
 */
FX_INLINE mask is_missing(vec target) {
    return v_differs(target, v_min(v_max(target, v_zero()), v_one()));
}

/* What is read at missing targets instead, and how many are not. */
typedef struct {
    vec logit, target, count;
} label_found;

FX_INLINE label_found find_label(const fx_tile *tile, const lane_range *range) {
    label_found found = {v_zero(), v_zero(), v_zero()};
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec target = lanes_load(&tile->targets, range, k);
        mask missing = is_missing(target);
        found.target = v_select(missing, found.target, target);
        found.count = v_add(found.count, v_select(missing, v_zero(), v_one()));
        if (tile->logits.data)
            found.logit = v_select(missing, found.logit, lanes_load(&tile->logits, range, k));
    }
    return found;
}

FX_INLINE void replace_missing(const fx_matrix *m, const lane_range *range, ptrdiff_t k,
                               mask missing, vec value) {
    if (m->data) lanes_store(m, range, k, v_select(missing, value, lanes_load(m, range, k)));
}

FX_INLINE void fill_lanes(const fx_tile *tile, const lane_range *range) {
    fx_matrix counts = {tile->label_counts, 1, 0};
    label_found found = find_label(tile, range);
    lanes_store(&counts, range, 0, found.count);
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask missing = is_missing(lanes_load(&tile->targets, range, k));
        lanes_store(&tile->labelled, range, k, v_select(missing, v_zero(), v_one()));
        replace_missing(&tile->targets, range, k, missing, found.target);
        replace_missing(&tile->logits, range, k, missing, found.logit);
        replace_missing(&tile->weights, range, k, missing, v_zero());
    }
}

/* Replace what a tile has at missing targets, and say which these are: `labelled`, `label_counts`,
 * and `columns`, FX_IGNORED or FX_NO_CLASS. Return whether an anchor has some targets only. */
static int fill_missing(const fx_tile *tile, int32_t *columns) {
    const real *counts = (const real *)tile->label_counts, classes = (real)tile->classes;
    int some = 0;
    FX_FOR_LANES(tile, fill_lanes);
    for (ptrdiff_t a = 0; a < tile->anchors; a++) {
        columns[a] = counts[a] == 0 ? FX_IGNORED : FX_NO_CLASS;
        some |= (counts[a] != 0) & (counts[a] != classes);
    }
    return some;
}

/* Nor is there a result or a gradient at missing targets. */
FX_INLINE void clear_lanes(const fx_tile *tile, const lane_range *range) {
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask missing = v_equal(lanes_load(&tile->labelled, range, k), v_zero());
        replace_missing(&tile->results, range, k, missing, v_zero());
        replace_missing(&tile->grads, range, k, missing, v_zero());
    }
}
static void clear_missing(const fx_tile *tile) { FX_FOR_LANES(tile, clear_lanes); }
