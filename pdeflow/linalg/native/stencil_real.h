/* Stencil times vector for one real type. Included by stencil.h with REAL and NAME(x) defined.

   A plan is: the three sizes of the grid, the number of boxes, and for each box ten integers: which coefficient,
   the range of the rows along the three axes, and how far the columns lie from the rows. See stencil.py. */

#define MOST_TERMS 128

static inline __attribute__((always_inline)) void NAME(row_terms)(
    const int terms, const int fresh, int64_t n, REAL *restrict out, const REAL *const *a, const REAL *const *x) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        REAL s = fresh ? 0 : out[i];
#pragma GCC unroll 8
        for (int t = 0; t < terms; t++) s += a[t][i] * x[t][i];
        out[i] = s;
    }
}

static inline void NAME(row_group)(
    int terms, int fresh, int64_t n, REAL *out, const REAL *const *a, const REAL *const *x) {
    switch (terms * 2 + fresh) {
        case 1:
            for (int64_t i = 0; i < n; i++) out[i] = 0;
            break;
        case 2: NAME(row_terms)(1, 0, n, out, a, x); break;
        case 3: NAME(row_terms)(1, 1, n, out, a, x); break;
        case 4: NAME(row_terms)(2, 0, n, out, a, x); break;
        case 5: NAME(row_terms)(2, 1, n, out, a, x); break;
        case 6: NAME(row_terms)(3, 0, n, out, a, x); break;
        case 7: NAME(row_terms)(3, 1, n, out, a, x); break;
        case 8: NAME(row_terms)(4, 0, n, out, a, x); break;
        case 9: NAME(row_terms)(4, 1, n, out, a, x); break;
        case 10: NAME(row_terms)(5, 0, n, out, a, x); break;
        case 11: NAME(row_terms)(5, 1, n, out, a, x); break;
    }
}

static void NAME(stencil_apply)(const int64_t *plan, const REAL *coefficients, const REAL *x, REAL *out) {
    const int64_t n1 = plan[0], n2 = plan[1], n3 = plan[2], boxes = plan[3], size = n1 * n2 * n3;
    for (int64_t i = 0; i < n1; i++)
        for (int64_t j = 0; j < n2; j++) {
            const REAL *a[MOST_TERMS], *y[MOST_TERMS];
            int terms = 0;
            REAL *row = out + (i * n2 + j) * n3;
            const int64_t low = n3 > 2 ? 1 : n3, high = n3 > 2 ? n3 - 1 : n3;
            /* The boxes that cover this row but for its ends go together; the rest is added after. */
            for (int64_t b = 0; b < boxes; b++) {
                const int64_t *box = plan + 4 + 10 * b;
                if (i < box[1] || i >= box[2] || j < box[3] || j >= box[4] || box[5] > low || box[6] < high) continue;
                a[terms] = coefficients + box[0] * size + (i * n2 + j) * n3;
                y[terms] = x + ((i + box[7]) * n2 + j + box[8]) * n3 + box[9];
                terms++;
            }
            for (int64_t k = 0; k < n3; k++)
                if (k < low || k >= high) row[k] = 0;
            for (int first = 0; first == 0 || first < terms; first += 5) {
                const REAL *from[5], *by[5];
                const int group = terms - first < 5 ? terms - first : 5;
                for (int t = 0; t < group; t++) {
                    from[t] = a[first + t] + low;
                    by[t] = y[first + t] + low;
                }
                if (high > low) NAME(row_group)(group, first == 0, high - low, row + low, from, by);
            }
            for (int64_t b = 0; b < boxes; b++) {
                const int64_t *box = plan + 4 + 10 * b;
                if (i < box[1] || i >= box[2] || j < box[3] || j >= box[4]) continue;
                const int together = box[5] <= low && box[6] >= high;
                const REAL *c = coefficients + box[0] * size + (i * n2 + j) * n3;
                const REAL *v = x + ((i + box[7]) * n2 + j + box[8]) * n3 + box[9];
                for (int64_t k = box[5]; k < box[6]; k++) {
                    if (together && k >= low && k < high) k = high;
                    if (k < box[6]) row[k] += c[k] * v[k];
                }
            }
        }
}

#undef MOST_TERMS
