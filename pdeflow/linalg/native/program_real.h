/* The interpreter of array programs for one real type. Included by program.h with REAL and NAME(x) defined.

   A program is a stream of 64-bit integers, one operation after the other, each beginning with its kind and
   its length in integers. An array is given by two of them: slot 0 for the sample's own memory or 1 for what all
   samples share, and the place in it. See array_operations.py, which writes them. */

#define STRIP 512

/* Where the memory of a sample, and the shared one, begin. */
typedef struct {
    REAL *base[2];
} NAME(Places);

static inline REAL *NAME(at)(const int64_t *field, const NAME(Places) *places) {
    return places->base[field[0]] + field[1];
}

static inline __attribute__((always_inline)) void NAME(add_terms)(
    const int terms, int64_t n, REAL *restrict sum, const REAL *const *a, const REAL *const *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        REAL s = sum[i];
#pragma GCC unroll 8
        for (int t = 0; t < terms; t++) s += a[t][i] * y[t][i];
        sum[i] = s;
    }
}

/* out = scale * (init + sign * sum_t a_t * y_t); init and scale may be absent (slot -1). Of the op[2] places
   only those from begin on, and at most n of them. */
static void NAME(products)(const int64_t *op, const NAME(Places) *places, int64_t begin, int64_t most) {
    const int64_t left = op[2] - begin, n = left < most ? left : most, terms = op[3];
    const REAL sign = (REAL)op[4];
    REAL *out = NAME(at)(op + 5, places) + begin;
    const REAL *init = op[7] < 0 ? NULL : NAME(at)(op + 7, places) + begin;
    const REAL *scale = op[9] < 0 ? NULL : NAME(at)(op + 9, places) + begin;
    const int64_t *fields = op + 11;
    REAL sum[STRIP] __attribute__((aligned(64)));
    for (int64_t start = 0; start < n; start += STRIP) {
        const int64_t count = n - start < STRIP ? n - start : STRIP;
        const REAL *from = init ? init + start : NULL;
        if (from) {
            /* The sum is kept with the sign of its terms, so that they need no multiplication. */
#pragma omp simd
            for (int64_t i = 0; i < count; i++) sum[i] = sign * from[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < count; i++) sum[i] = 0;
        }
        for (int64_t first = 0; first < terms; first += 4) {
            const int group = terms - first < 4 ? (int)(terms - first) : 4;
            const REAL *a[4], *y[4];
            for (int t = 0; t < group; t++) {
                a[t] = NAME(at)(fields + 4 * (first + t), places) + begin + start;
                y[t] = NAME(at)(fields + 4 * (first + t) + 2, places) + begin + start;
            }
            switch (group) {
                case 1: NAME(add_terms)(1, count, sum, a, y); break;
                case 2: NAME(add_terms)(2, count, sum, a, y); break;
                case 3: NAME(add_terms)(3, count, sum, a, y); break;
                default: NAME(add_terms)(4, count, sum, a, y); break;
            }
        }
        REAL *to = out + start;
        if (scale) {
            const REAL *by = scale + start;
#pragma omp simd
            for (int64_t i = 0; i < count; i++) to[i] = sign * sum[i] * by[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < count; i++) to[i] = sign * sum[i];
        }
    }
}

/* out = 1 / in, and 0 where in is 0. */
static void NAME(reciprocal)(const int64_t *op, const NAME(Places) *places) {
    const int64_t n = op[2];
    REAL *out = NAME(at)(op + 3, places);
    const REAL *in = NAME(at)(op + 5, places);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const REAL v = in[i];
        out[i] = v == 0 ? 0 : 1 / v;
    }
}

/* out = sum_t |a_t|, or that added to what is there. */
static void NAME(magnitudes)(const int64_t *op, const NAME(Places) *places) {
    const int64_t n = op[2];
    REAL *out = NAME(at)(op + 5, places);
    if (!op[4])
        for (int64_t i = 0; i < n; i++) out[i] = 0;
    for (int64_t t = 0; t < op[3]; t++) {
        const REAL *a = NAME(at)(op + 7 + 2 * t, places);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += a[i] < 0 ? -a[i] : a[i];
    }
}

/* out = sign max(0, |a - b| / 2 + min(0, sign (a + b) / 2)) with the sign of c + d. */
static void NAME(upwind)(const int64_t *op, const NAME(Places) *places) {
    const int64_t n = op[2];
    REAL *out = NAME(at)(op + 3, places);
    const REAL *a = NAME(at)(op + 5, places), *b = NAME(at)(op + 7, places);
    const REAL *c = NAME(at)(op + 9, places), *d = NAME(at)(op + 11, places);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const REAL sign = c[i] + d[i] < 0 ? -1 : 1, mean = sign * (a[i] + b[i]) / 2, apart = a[i] - b[i];
        const REAL needed = (apart < 0 ? -apart : apart) / 2 + (mean < 0 ? mean : 0);
        out[i] = needed > 0 ? sign * needed : 0;
    }
}

/* Products that run strip by strip, all of them on a strip before the next, so that what passes from one to
   another stays in the cache. */
static void NAME(strips)(const int64_t *op, const NAME(Places) *places) {
    const int64_t n = op[2], *end = op + op[1];
    for (int64_t begin = 0; begin < n; begin += STRIP)
        for (const int64_t *inner = op + 3; inner < end; inner += inner[1])
            NAME(products)(inner, places, begin, STRIP);
}

/* A box of up to three axes copied, or added, between two strided places, one of which may be an outer array. */
#define BOX(TO, FROM, FACTOR)                                                                            \
    for (int64_t i = 0; i < shape[0]; i++)                                                               \
        for (int64_t j = 0; j < shape[1]; j++) {                                                         \
            TO *restrict o = (TO *)out + i * to[0] + j * to[1];                                          \
            const FROM *restrict s = (const FROM *)in + i * from[0] + j * from[1];                       \
            if (op[19])                                                                                  \
                for (int64_t k = 0; k < shape[2]; k++) o[k * to[2]] += (TO)((s[k * from[2]])FACTOR);     \
            else                                                                                         \
                for (int64_t k = 0; k < shape[2]; k++) o[k * to[2]] = (TO)((s[k * from[2]])FACTOR);      \
        }

static void NAME(copy)(const int64_t *op, const NAME(Places) *places, int64_t sample, const Outer *outer) {
    const int64_t *shape = op + 2, *to = op + 9, *from = op + 16;
    const int64_t *foreign = op[8] ? op + 5 : op[15] ? op + 12 : NULL;
    void *out = op[8] ? NULL : NAME(at)(op + 5, places), *in = op[15] ? NULL : NAME(at)(op + 12, places);
    if (!foreign) {
        BOX(REAL, REAL, )
        return;
    }
    const Outer *array = outer + foreign[0] - 1;
    void *place = (char *)array->base + (array->single ? 4 : 8) * (foreign[1] + foreign[2] * sample);
    const double f = array->factor ? array->factor[sample] : 1.0;
    const float g = (float)f;
    if (op[8]) {
        out = place;
        if (array->single) BOX(float, REAL, *g) else BOX(double, REAL, *f)
    } else {
        in = place;
        if (array->single) BOX(REAL, float, *g) else BOX(REAL, double, *f)
    }
}

/* Rows of n numbers, parted into those of even and of odd place (split), or put together again (merge).
   The row may be of an outer array, in double or single precision, times a number a sample. */
#define SPLIT(OUTER, FACTOR)                                                                             \
    {                                                                                                    \
        const OUTER *restrict s = (const OUTER *)row + i * rs[0] + j * rs[1];                            \
        _Pragma("omp simd") for (int64_t k = 0; k < pairs; k++) {                                        \
            e[k] = (REAL)(s[2 * k] FACTOR);                                                              \
            o[k] = (REAL)(s[2 * k + 1] FACTOR);                                                          \
        }                                                                                                \
        if (n & 1) e[pairs] = (REAL)(s[n - 1] FACTOR);                                                   \
    }
#define MERGE(OUTER, FACTOR)                                                                             \
    {                                                                                                    \
        OUTER *restrict s = (OUTER *)row + i * rs[0] + j * rs[1];                                        \
        _Pragma("omp simd") for (int64_t k = 0; k < pairs; k++) {                                        \
            s[2 * k] = (OUTER)(e[k])FACTOR;                                                              \
            s[2 * k + 1] = (OUTER)(o[k])FACTOR;                                                          \
        }                                                                                                \
        if (n & 1) s[n - 1] = (OUTER)(e[pairs])FACTOR;                                                   \
    }

static void NAME(rows)(
    const int64_t *op, const NAME(Places) *places, int64_t sample, const Outer *outer, int splits) {
    const int64_t n = op[4], pairs = n / 2, *rs = op + 8, *ps = op + 14;
    char *row;
    int single = sizeof(REAL) == 4;
    const double *factor = NULL;
    if (op[16]) {
        const Outer *whole = outer + op[5] - 1;
        single = (int)whole->single;
        factor = whole->factor;
        row = (char *)whole->base + (single ? 4 : 8) * (op[6] + op[7] * sample);
    } else {
        row = (char *)NAME(at)(op + 5, places);
    }
    const double f = factor ? factor[sample] : 1.0;
    const float g = (float)f;
    for (int64_t i = 0; i < op[2]; i++)
        for (int64_t j = 0; j < op[3]; j++) {
            REAL *restrict e = NAME(at)(op + 10, places) + i * ps[0] + j * ps[1];
            REAL *restrict o = NAME(at)(op + 12, places) + i * ps[0] + j * ps[1];
            if (splits) {
                if (!op[16]) SPLIT(REAL, )
                else if (single) SPLIT(float, *g)
                else SPLIT(double, *f)
            } else {
                if (!op[16]) MERGE(REAL, )
                else if (single) MERGE(float, *g)
                else MERGE(double, *f)
            }
        }
}

/* out = matrix in, for a dense matrix stored by columns, so that the loop runs over the rows. */
static void NAME(dense)(const int64_t *op, const NAME(Places) *places) {
    const int64_t n = op[2];
    const REAL *matrix = NAME(at)(op + 3, places), *in = NAME(at)(op + 5, places);
    REAL *restrict out = NAME(at)(op + 7, places);
    for (int64_t i = 0; i < n; i++) out[i] = 0;
    for (int64_t j = 0; j < n; j++) {
        const REAL v = in[j], *restrict column = matrix + j * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += column[i] * v;
    }
}

/* The inverse of a dense matrix in place, as Invert of array_operations.py words it: Gauss and Jordan with row pivots. */
static void NAME(invert)(const int64_t *op, const NAME(Places) *places) {
    const int64_t n = op[2];
    REAL *matrix = NAME(at)(op + 3, places);
    double *m = malloc(sizeof(double) * n * n);
    int64_t *pivots = malloc(sizeof(int64_t) * n);
    if (!m || !pivots) abort();
    double largest = 0, sums = 0;
    for (int64_t k = 0; k < n * n; k++) m[k] = matrix[k];
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += m[j * n + i];
        sums = fabs(sum) > sums ? fabs(sum) : sums;
        largest = fabs(m[i * n + i]) > largest ? fabs(m[i * n + i]) : largest;
        if (m[i * n + i] == 0) m[i * n + i] = 1;
    }
    if (sums <= 1e-5 * largest)
        for (int64_t k = 0; k < n * n; k++) m[k] += largest / n;
    /* The transpose of the inverse is the inverse of the transpose, so columns serve as rows. */
    for (int64_t c = 0; c < n; c++) {
        int64_t best = c;
        for (int64_t r = c + 1; r < n; r++)
            if (fabs(m[r * n + c]) > fabs(m[best * n + c])) best = r;
        pivots[c] = best;
        if (best != c)
            for (int64_t k = 0; k < n; k++) {
                const double t = m[c * n + k];
                m[c * n + k] = m[best * n + k];
                m[best * n + k] = t;
            }
        const double inverse = 1 / m[c * n + c];
        m[c * n + c] = 1;
        for (int64_t k = 0; k < n; k++) m[c * n + k] *= inverse;
        for (int64_t r = 0; r < n; r++) {
            const double factor = m[r * n + c];
            if (r == c) continue;
            m[r * n + c] = 0;
            const double *restrict from = m + c * n;
            double *restrict row = m + r * n;
#pragma omp simd
            for (int64_t k = 0; k < n; k++) row[k] -= factor * from[k];
        }
    }
    for (int64_t c = n - 1; c >= 0; c--)
        if (pivots[c] != c)
            for (int64_t r = 0; r < n; r++) {
                const double t = m[r * n + c];
                m[r * n + c] = m[r * n + pivots[c]];
                m[r * n + pivots[c]] = t;
            }
    for (int64_t k = 0; k < n * n; k++) matrix[k] = (REAL)m[k];
    free(m);
    free(pivots);
}

static void NAME(run_sample)(const Program *program, int64_t sample, const Outer *outer) {
    const NAME(Places) here = {
        {(REAL *)program->memory + program->stride * sample, (REAL *)program->constants}};
    const NAME(Places) *places = &here;
    for (const int64_t *op = program->code; op < program->code + program->length; op += op[1]) switch (op[0]) {
            case PRODUCTS: NAME(products)(op, places, 0, op[2]); break;
            case STRIPS: NAME(strips)(op, places); break;
            case RECIPROCAL: NAME(reciprocal)(op, places); break;
            case MAGNITUDES: NAME(magnitudes)(op, places); break;
            case UPWIND: NAME(upwind)(op, places); break;
            case COPY: NAME(copy)(op, places, sample, outer); break;
            case SPLIT_ROWS: NAME(rows)(op, places, sample, outer, 1); break;
            case MERGE_ROWS: NAME(rows)(op, places, sample, outer, 0); break;
            case DENSE: NAME(dense)(op, places); break;
            case INVERT: NAME(invert)(op, places); break;
        }
}

#undef BOX
#undef SPLIT
#undef MERGE
#undef STRIP
