/* The interpreter of array programs for one real type. Included by program.h with REAL and NAME(x) defined.

   A program is a stream of 64-bit integers, one operation after the other, each beginning with its kind and
   its length in integers. An array is given by three of them: slot, place, stride. Slot 0 means that place is
   an address; slot k > 0 that it is a number of elements into the k-th outer array of the call. The stride is
   the number of elements from one sample to the next. See array_program.py, which writes them. */

#define STRIP 512

static inline REAL *NAME(at)(const int64_t *field, int64_t sample) {
    return (REAL *)(intptr_t)field[1] + field[2] * sample;
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
static void NAME(products)(const int64_t *op, int64_t sample, int64_t begin, int64_t most) {
    const int64_t left = op[2] - begin, n = left < most ? left : most, terms = op[3];
    const REAL sign = (REAL)op[4];
    REAL *out = NAME(at)(op + 5, sample) + begin;
    const REAL *init = op[8] < 0 ? NULL : NAME(at)(op + 8, sample) + begin;
    const REAL *scale = op[11] < 0 ? NULL : NAME(at)(op + 11, sample) + begin;
    const int64_t *fields = op + 14;
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
                a[t] = NAME(at)(fields + 6 * (first + t), sample) + begin + start;
                y[t] = NAME(at)(fields + 6 * (first + t) + 3, sample) + begin + start;
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
static void NAME(reciprocal)(const int64_t *op, int64_t sample) {
    const int64_t n = op[2];
    REAL *out = NAME(at)(op + 3, sample);
    const REAL *in = NAME(at)(op + 6, sample);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const REAL v = in[i];
        out[i] = v == 0 ? 0 : 1 / v;
    }
}

/* Products that run strip by strip, all of them on a strip before the next, so that what passes from one to
   another stays in the cache. */
static void NAME(strips)(const int64_t *op, int64_t sample) {
    const int64_t n = op[2], *end = op + op[1];
    for (int64_t begin = 0; begin < n; begin += STRIP)
        for (const int64_t *inner = op + 3; inner < end; inner += inner[1])
            NAME(products)(inner, sample, begin, STRIP);
}

/* A box of up to three axes copied, or added, between two strided places of inner arrays. */
static void NAME(copy)(const int64_t *op, int64_t sample) {
    const int64_t *shape = op + 2, *to = op + 8, *from = op + 14;
    REAL *out = NAME(at)(op + 5, sample);
    const REAL *in = NAME(at)(op + 11, sample);
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++) {
            REAL *restrict o = out + i * to[0] + j * to[1];
            const REAL *restrict s = in + i * from[0] + j * from[1];
            if (op[17])
                for (int64_t k = 0; k < shape[2]; k++) o[k * to[2]] += s[k * from[2]];
            else
                for (int64_t k = 0; k < shape[2]; k++) o[k * to[2]] = s[k * from[2]];
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

static void NAME(rows)(const int64_t *op, int64_t sample, const Outer *outer, int splits) {
    const int64_t n = op[4], pairs = n / 2, *rs = op + 8, *es = op + 13, *os = op + 18;
    const int slot = (int)op[5];
    char *row;
    const double *factor = NULL;
    int single = sizeof(REAL) == 4;
    if (slot == 0) {
        row = (char *)NAME(at)(op + 5, sample);
    } else {
        single = outer[slot - 1].single;
        factor = outer[slot - 1].factor;
        row = (char *)outer[slot - 1].base + (single ? 4 : 8) * (op[6] + op[7] * sample);
    }
    const double f = factor ? factor[sample] : 1.0;
    const float g = (float)f;
    for (int64_t i = 0; i < op[2]; i++)
        for (int64_t j = 0; j < op[3]; j++) {
            REAL *restrict e = NAME(at)(op + 10, sample) + i * es[0] + j * es[1];
            REAL *restrict o = NAME(at)(op + 15, sample) + i * os[0] + j * os[1];
            if (splits) {
                if (slot == 0) SPLIT(REAL, )
                else if (single) SPLIT(float, *g)
                else SPLIT(double, *f)
            } else {
                if (slot == 0) MERGE(REAL, )
                else if (single) MERGE(float, *g)
                else MERGE(double, *f)
            }
        }
}

/* out = matrix in, for a dense matrix a sample, stored by columns so that the loop runs over the rows. */
static void NAME(dense)(const int64_t *op, int64_t sample) {
    const int64_t n = op[2];
    const REAL *matrix = NAME(at)(op + 3, sample), *in = NAME(at)(op + 6, sample);
    REAL *restrict out = NAME(at)(op + 9, sample);
    for (int64_t i = 0; i < n; i++) out[i] = 0;
    for (int64_t j = 0; j < n; j++) {
        const REAL v = in[j], *restrict column = matrix + j * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += column[i] * v;
    }
}

static void NAME(run_sample)(const int64_t *code, int64_t length, int64_t sample, const Outer *outer) {
    for (const int64_t *op = code; op < code + length; op += op[1]) switch (op[0]) {
            case PRODUCTS: NAME(products)(op, sample, 0, op[2]); break;
            case STRIPS: NAME(strips)(op, sample); break;
            case RECIPROCAL: NAME(reciprocal)(op, sample); break;
            case COPY: NAME(copy)(op, sample); break;
            case SPLIT_ROWS: NAME(rows)(op, sample, outer, 1); break;
            case MERGE_ROWS: NAME(rows)(op, sample, outer, 0); break;
            case DENSE: NAME(dense)(op, sample); break;
        }
}

#undef SPLIT
#undef MERGE
#undef STRIP
