/* The loops of nested_dissection.c for numbers of type V: with one number of every system, or a single one, real
   or complex. LESS(x, a, b) is x - a b, FLOORED(a) is not tiny; where TILE is defined, what is left of a front is worked on in squares
   of that many numbers a side, else along rows.

   A table has a row of COLUMNS integers for every front, in the order of elimination; see nested_dissection.py. */

#ifdef TILE
/* x - sum a b */
static inline V NAME(less)(V x, int64_t n, const V *a, const V *b) {
    V parts[4] = {x, ZERO, ZERO, ZERO};
    int64_t k = 0;
    for (; k + 4 <= n; k += 4)
        for (int t = 0; t < 4; t++) parts[t] = LESS(parts[t], a[k + t], b[k + t]);
    for (; k < n; k++) parts[0] = LESS(parts[0], a[k], b[k]);
    return PLUS(PLUS(parts[0], parts[1]), PLUS(parts[2], parts[3]));
}
#else
static inline V NAME(less)(V x, int64_t n, const V *a, const V *b) {
    V sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < n; k++) sum += a[k] * b[k];
    return x - sum;
}
#endif

#ifdef TILE

/* A tile of the m x m matrix f, minus what its rows have in the columns of the pivots times theirs; it goes to
   the same place of `out`, whose rows are `stride` apart. */
static inline __attribute__((always_inline)) void NAME(update)(
    const int rows, const int columns, int64_t first, int64_t end, int64_t m, const V *f, V *out, int64_t stride,
    int64_t i, int64_t j) {
    V tile[TILE][TILE];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) tile[r][c] = f[(i + r) * m + j + c];
    for (int64_t k = first; k < end; k++)
        for (int r = 0; r < rows; r++) {
            const V l = f[(i + r) * m + k];
            for (int c = 0; c < columns; c++) tile[r][c] = LESS(tile[r][c], l, f[k * m + j + c]);
        }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) out[(i + r) * stride + j + c] = tile[r][c];
}

/* All rows and columns behind the pivots first ... end - 1; of a symmetric matrix those above the diagonal. */
static inline __attribute__((always_inline)) void NAME(trail)(
    const int symmetric, int64_t first, int64_t end, int64_t m, const V *f, V *out, int64_t stride) {
    int64_t j = end;
    for (; j + TILE <= m; j += TILE) {
        const int64_t stop = symmetric ? j + TILE : m;
        int64_t i = end;
        for (; i + TILE <= stop; i += TILE) NAME(update)(TILE, TILE, first, end, m, f, out, stride, i, j);
        for (; i < stop; i++) NAME(update)(1, TILE, first, end, m, f, out, stride, i, j);
    }
    for (; j < m; j++) {
        const int64_t stop = symmetric ? j + 1 : m;
        int64_t i = end;
        for (; i + TILE <= stop; i += TILE) NAME(update)(TILE, 1, first, end, m, f, out, stride, i, j);
        for (; i < stop; i++) NAME(update)(1, 1, first, end, m, f, out, stride, i, j);
    }
}

#else

/* Two rows at a time, by four pivots after the other, along the rows. */
static inline __attribute__((always_inline)) void NAME(rows)(
    const int rows, int64_t first, int64_t end, int64_t m, const V *f, V *out, int64_t stride, int64_t i,
    int64_t begin) {
    const V *from[2];
    V *to[2];
    for (int r = 0; r < rows; r++) {
        from[r] = f + (i + r) * m;
        to[r] = out + (i + r) * stride;
    }
    int64_t k = first;
    for (; k + 4 <= end; k += 4) {
        V l[2][4];
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < 4; p++) l[r][p] = f[(i + r) * m + k + p];
        const V *u = f + k * m;
#pragma omp simd
        for (int64_t j = begin; j < m; j++)
            for (int r = 0; r < rows; r++)
                to[r][j] = from[r][j] - (l[r][0] * u[j] + l[r][1] * u[m + j])
                           - (l[r][2] * u[2 * m + j] + l[r][3] * u[3 * m + j]);
        for (int r = 0; r < rows; r++) from[r] = to[r];
    }
    for (; k < end; k++) {
        const V *u = f + k * m;
        for (int r = 0; r < rows; r++) {
            const V l = f[(i + r) * m + k];
#pragma omp simd
            for (int64_t j = begin; j < m; j++) to[r][j] = from[r][j] - l * u[j];
            from[r] = to[r];
        }
    }
}

static inline __attribute__((always_inline)) void NAME(trail)(
    const int symmetric, int64_t first, int64_t end, int64_t m, const V *f, V *out, int64_t stride) {
    int64_t i = end;
    for (; i + 2 <= m; i += 2) NAME(rows)(2, first, end, m, f, out, stride, i, symmetric ? i : end);
    if (i < m) NAME(rows)(1, first, end, m, f, out, stride, i, symmetric ? i : end);
}

#endif

/* The first s steps of Gaussian elimination in the m x m matrix f, in place: L below the diagonal, where the
   diagonal is one, U above it, and 1 / U on it. What is left of the others goes to `left`. Of a symmetric matrix
   only the part above the diagonal is there and is worked on; L = (D^-1 U)^T. */
static void NAME(eliminate)(const int symmetric, int64_t s, int64_t m, V *f, V *left) {
    for (int64_t first = 0; first < s; first += PANEL) {
        const int64_t end = first + PANEL < s ? first + PANEL : s;
        for (int64_t k = first; k < end; k++) {
            V *pivot = f + k * m;
            const V inverse = INVERSE(FLOORED(pivot[k]));
            pivot[k] = inverse;
            for (int64_t i = k + 1; i < (symmetric ? end : m); i++) {
                V *row = f + i * m;
                const V l = TIMES(symmetric ? pivot[i] : row[k], inverse);
                row[k] = l;
                for (int64_t j = symmetric ? i : k + 1; j < end; j++) row[j] = LESS(row[j], l, pivot[j]);
            }
        }
        /* The rows of the pivots beside the panel, which those before them change. */
        for (int64_t k = first + 1; k < end; k++)
            for (int64_t j = end; j < m; j++) {
                V value = f[k * m + j];
                for (int64_t p = first; p < k; p++) value = LESS(value, f[k * m + p], f[p * m + j]);
                f[k * m + j] = value;
            }
        for (int64_t k = first; symmetric && k < end; k++)
            for (int64_t i = end; i < m; i++) f[i * m + k] = TIMES(f[k * m + i], f[k * m + k]);
        V *out = end < s ? f : left - s * (m - s) - s;
        NAME(trail)(symmetric, first, end, m, f, out, end < s ? m : m - s);
    }
}

/* Factors of `groups` matrices, `entries` coefficients and `total` numbers of factors each. */
void NAME(factor)(int64_t symmetric, int64_t groups, int64_t fronts, const int64_t *table, const int32_t *source,
                  const int32_t *target, const int32_t *map, int64_t entries, int64_t total,
                  const V *coefficients, V *factors, V *work, V *stack) {
    for (; groups > 0; groups--, coefficients += entries, factors += total)
        for (int64_t node = 0; node < fronts; node++) {
            const int64_t *t = table + node * COLUMNS, s = t[PIVOTS], m = t[SIZE], b = m - s;
            memset(work, 0, m * m * sizeof(V));
            for (int64_t e = t[ASSEMBLY]; e < t[ASSEMBLED]; e++) work[target[e]] = PLUS(work[target[e]], coefficients[source[e]]);
            for (int child = 0; child < 2; child++) {
                const int64_t size = t[CHILD + 3 * child];
                const int32_t *to = map + t[CHILD + 3 * child + 1];
                const V *from = stack + t[CHILD + 3 * child + 2];
                for (int64_t i = 0; i < size; i++)
                    for (int64_t j = symmetric ? i : 0; j < size; j++) {
                        V *sum = work + to[i] * m + to[j];
                        *sum = PLUS(*sum, from[i * size + j]);
                    }
            }
            if (symmetric) NAME(eliminate)(1, s, m, work, stack + t[LEFT]);
            else NAME(eliminate)(0, s, m, work, stack + t[LEFT]);
            V *kept = factors + t[KEPT];
            memcpy(kept, work, s * m * sizeof(V));
            for (int64_t i = 0; i < (symmetric ? 0 : b); i++) memcpy(kept + s * m + i * s, work + (s + i) * m, s * sizeof(V));
        }
}

/* x := U^-1 L^-1 x for `groups` times `several` vectors of n numbers; the factors of a group serve its several. */
void NAME(solve)(int64_t symmetric, int64_t groups, int64_t several, int64_t fronts, const int64_t *table, const int32_t *front,
                 int64_t n, int64_t total, const V *factors, V *x, V *work) {
    for (; groups > 0; groups--, factors += total)
        for (int64_t vector = 0; vector < several; vector++, x += n) {
            for (int64_t node = 0; node < fronts; node++) {
                const int64_t *t = table + node * COLUMNS, s = t[PIVOTS], m = t[SIZE];
                const int32_t *at = front + t[FRONT];
                const V *kept = factors + t[KEPT], *lower = kept + s * m;
                if (symmetric) {
                    for (int64_t i = 0; i < m; i++) work[i] = x[at[i]];
                    for (int64_t k = 0; k < s; k++) {
                        const V *row = kept + k * m, y = TIMES(work[k], row[k]);
                        for (int64_t i = k + 1; i < m; i++) work[i] = LESS(work[i], row[i], y);
                    }
                    for (int64_t i = 0; i < m; i++) x[at[i]] = work[i];
                    continue;
                }
                for (int64_t i = 0; i < s; i++) {
                    work[i] = NAME(less)(x[at[i]], i, kept + i * m, work);
                    x[at[i]] = work[i];
                }
                for (int64_t i = s; i < m; i++) x[at[i]] = NAME(less)(x[at[i]], s, lower + (i - s) * s, work);
            }
            for (int64_t node = fronts - 1; node >= 0; node--) {
                const int64_t *t = table + node * COLUMNS, s = t[PIVOTS], m = t[SIZE];
                const int32_t *at = front + t[FRONT];
                const V *kept = factors + t[KEPT];
                for (int64_t i = s; i < m; i++) work[i] = x[at[i]];
                for (int64_t i = s - 1; i >= 0; i--) {
                    const V *row = kept + i * m;
                    work[i] = TIMES(NAME(less)(x[at[i]], m - i - 1, row + i + 1, work + i + 1), row[i]);
                    x[at[i]] = work[i];
                }
            }
        }
}

#undef V
#undef NAME
