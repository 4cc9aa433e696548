/* Incomplete factors A ~ L D U (L, U unit triangular) of stencils on a bounded grid, in natural order.

   The points of one sample are numbered 0 ... n - 1 row by row; a neighbour is a fixed shift of that number.
   "slots" are the entries of the stencil in the order of their shifts. Slot k of a sample starts at
   factors + k * stride; between two slots, and before the first, lie at least as many zeros as the longest
   shift, so that nothing has to ask whether a neighbour exists: where it does not, its coefficient is zero.
   For the same reason a work vector has that many zeros before and after it.

   The file includes itself once for each pair of types: T of the factors and of the work, V of the vectors. */

#ifndef T

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define T float
#define V float
#define NAME(function) function##_float_float
#define FACTOR(function) function##_float
#include "incomplete.c"
#undef V
#undef NAME
#undef FACTOR
#define V double
#define NAME(function) function##_float_double
#include "incomplete.c"
#undef T
#undef NAME
#define T double
#define NAME(function) function##_double_double
#define FACTOR(function) function##_double
#include "incomplete.c"

#else

#ifdef FACTOR

/* A pivot that rounding or the dropped fill has spoilt is replaced by the diagonal of the matrix. */
static T FACTOR(inverse_pivot)(T pivot, T diagonal, T smallest, int positive) {
    T against = smallest * (positive ? diagonal : (T)fabs((double)diagonal));
    int spoilt = (positive ? pivot : (T)fabs((double)pivot)) <= against;
    if (spoilt) pivot = diagonal != 0 ? diagonal : (T)1;
    return 1 / pivot;
}

/* ILU(0) in place, sample after sample. The slots hold the rows of A: `lower` below the diagonal, then the
   diagonal, then `slots - lower - 1` above it. Products first[r] ... first[r + 1] - 1 belong to lower slot r:
   a[into] -= l * a[with] of the row that is eliminated. Leaves L, 1 / D, and U divided by its pivots. */
void FACTOR(factor_lu)(int64_t batch, int64_t sample, int64_t n, int64_t stride, int64_t slots, int64_t lower,
                       const int64_t *shift, const int64_t *first, const int64_t *with, const int64_t *into,
                       double smallest, T *factors) {
    for (; batch > 0; batch--, factors += sample) {
        T *inverse = factors + lower * stride;
        for (int64_t i = 0; i < n; i++) {
            T diagonal = inverse[i];
            for (int64_t p = 0; p < lower; p++) {
                T *entry = factors + p * stride + i;
                if (*entry == 0) continue;
                int64_t j = i + shift[p];
                /* The upper slots of row j are divided by its pivot already, so the product takes l times pivot. */
                T l_pivot = *entry;
                for (int64_t r = first[p]; r < first[p + 1]; r++)
                    factors[into[r] * stride + i] -= l_pivot * factors[with[r] * stride + j];
                *entry = l_pivot * inverse[j];
            }
            inverse[i] = FACTOR(inverse_pivot)(inverse[i], diagonal, (T)smallest, 0);
            for (int64_t q = lower + 1; q < slots; q++) factors[q * stride + i] *= inverse[i];
        }
    }
}

/* IC(0), as L D L^T, in place, sample after sample; slots: those below the diagonal, then the diagonal. Products:
   a[into] -= l d * l[with] of the row of the neighbour at shift[into], itself included. */
void FACTOR(factor_cholesky)(int64_t batch, int64_t sample, int64_t n, int64_t stride, int64_t slots,
                             int64_t lower, const int64_t *shift, const int64_t *first, const int64_t *with,
                             const int64_t *into, double smallest, T *factors) {
    (void)slots;
    for (; batch > 0; batch--, factors += sample) {
        T *inverse = factors + lower * stride;
        for (int64_t i = 0; i < n; i++) {
            T diagonal = inverse[i], pivot = diagonal;
            for (int64_t p = 0; p < lower; p++) {
                T *entry = factors + p * stride + i;
                if (*entry == 0) continue;
                T l_pivot = *entry;
                for (int64_t r = first[p]; r < first[p + 1]; r++)
                    factors[into[r] * stride + i] -= l_pivot * factors[with[r] * stride + i + shift[into[r]]];
                *entry = l_pivot * inverse[i + shift[p]];
                pivot -= l_pivot * *entry;
            }
            inverse[i] = FACTOR(inverse_pivot)(pivot, diagonal, (T)smallest, 1);
        }
    }
}

#undef FACTOR
#endif

/* One row of one sweep: y = pivot b - sum of the couplings to other rows; the couplings inside the row follow. */
static void NAME(far)(int64_t m, int64_t far, const T *const *a, const T *const *y, T *restrict out) {
    int64_t k = 0;
    for (; k + 1 < far; k += 2) {
        const T *a0 = a[k], *a1 = a[k + 1], *y0 = y[k], *y1 = y[k + 1];
#pragma omp simd
        for (int64_t i = 0; i < m; i++) out[i] -= a0[i] * y0[i] + a1[i] * y1[i];
    }
    for (; k < far; k++) {
        const T *a0 = a[k], *y0 = y[k];
#pragma omp simd
        for (int64_t i = 0; i < m; i++) out[i] -= a0[i] * y0[i];
    }
}

#define LANES 4  /* samples whose recurrences along a row run side by side, to hide their latency */
#define MOST 128 /* slots of a stencil */

/* M x = scale U^-1 D^-1 L^-1 x for a batch. A sweep has `far` couplings to other rows of the grid, then
   `near` couplings inside the row of m points: to y[i + shift], with the value at slot + i + moved, where
   moved is 0, or the shift in a transposed factor. The work holds LANES vectors of margin + n + margin. */
void NAME(solve)(int64_t batch, int64_t n, int64_t m, int64_t margin, int64_t stride, int64_t sample,
                 const T *factors, int64_t diagonal_slot, const int64_t *count, const int64_t *slot,
                 const int64_t *moved, const int64_t *shift, const double *scale, const V *x, V *out, T *work) {
    int64_t far1 = count[0], all1 = count[0] + count[1], far2 = count[2], all2 = count[2] + count[3];
    const int64_t *slot2 = slot + all1, *moved2 = moved + all1, *shift2 = shift + all1;
    const T *a[LANES][MOST], *y[MOST];
    for (int64_t start = 0; start < batch; start += LANES) {
        int64_t lanes = batch - start < LANES ? batch - start : LANES;
        int single1 = all1 - far1 == 1 && shift[far1] == -1, single2 = all2 - far2 == 1 && shift2[far2] == 1;
        T *w[LANES];
        for (int64_t s = 0; s < LANES; s++) w[s] = work + s * (n + 2 * margin) + margin;
        for (int64_t row = 0; row < n; row += m) {
            for (int64_t s = 0; s < lanes; s++) {
                const T *f = factors + (start + s) * sample + row;
                const V *b = x + (start + s) * n + row;
                T *t = w[s] + row;
#pragma omp simd
                for (int64_t i = 0; i < m; i++) t[i] = (T)b[i];
                for (int64_t k = 0; k < all1; k++) {
                    a[s][k] = f + slot[k] * stride + moved[k];
                    y[k] = t + shift[k];
                }
                NAME(far)(m, far1, a[s], y, t);
            }
            if (single1 && lanes == LANES) {
                T *t0 = w[0] + row, *t1 = w[1] + row, *t2 = w[2] + row, *t3 = w[3] + row;
                const T *a0 = a[0][far1], *a1 = a[1][far1], *a2 = a[2][far1], *a3 = a[3][far1];
                T p0 = t0[-1], p1 = t1[-1], p2 = t2[-1], p3 = t3[-1];
                for (int64_t i = 0; i < m; i++) {
                    t0[i] = p0 = t0[i] - a0[i] * p0;
                    t1[i] = p1 = t1[i] - a1[i] * p1;
                    t2[i] = p2 = t2[i] - a2[i] * p2;
                    t3[i] = p3 = t3[i] - a3[i] * p3;
                }
            } else {
                for (int64_t s = 0; s < lanes; s++) {
                    T *t = w[s] + row;
                    if (single1) {
                        const T *a0 = a[s][far1];
                        T p = t[-1];
                        for (int64_t i = 0; i < m; i++) t[i] = p = t[i] - a0[i] * p;
                    } else {
                        for (int64_t i = 0; i < m; i++)
                            for (int64_t k = far1; k < all1; k++) t[i] -= a[s][k][i] * t[i + shift[k]];
                    }
                }
            }
        }
        for (int64_t row = n - m; row >= 0; row -= m) {
            for (int64_t s = 0; s < lanes; s++) {
                const T *f = factors + (start + s) * sample + row;
                const T *inverse = f + diagonal_slot * stride;
                T *t = w[s] + row;
#pragma omp simd
                for (int64_t i = 0; i < m; i++) t[i] *= inverse[i];
                for (int64_t k = 0; k < all2; k++) {
                    a[s][k] = f + slot2[k] * stride + moved2[k];
                    y[k] = t + shift2[k];
                }
                NAME(far)(m, far2, a[s], y, t);
            }
            if (single2 && lanes == LANES) {
                T *t0 = w[0] + row, *t1 = w[1] + row, *t2 = w[2] + row, *t3 = w[3] + row;
                const T *a0 = a[0][far2], *a1 = a[1][far2], *a2 = a[2][far2], *a3 = a[3][far2];
                T p0 = t0[m], p1 = t1[m], p2 = t2[m], p3 = t3[m];
                for (int64_t i = m - 1; i >= 0; i--) {
                    t0[i] = p0 = t0[i] - a0[i] * p0;
                    t1[i] = p1 = t1[i] - a1[i] * p1;
                    t2[i] = p2 = t2[i] - a2[i] * p2;
                    t3[i] = p3 = t3[i] - a3[i] * p3;
                }
            } else {
                for (int64_t s = 0; s < lanes; s++) {
                    T *t = w[s] + row;
                    if (single2) {
                        const T *a0 = a[s][far2];
                        T p = t[m];
                        for (int64_t i = m - 1; i >= 0; i--) t[i] = p = t[i] - a0[i] * p;
                    } else {
                        for (int64_t i = m - 1; i >= 0; i--)
                            for (int64_t k = far2; k < all2; k++) t[i] -= a[s][k][i] * t[i + shift2[k]];
                    }
                }
            }
            for (int64_t s = 0; s < lanes; s++) {
                V *o = out + (start + s) * n + row;
                const T *t = w[s] + row;
                V factor = (V)scale[start + s];
#pragma omp simd
                for (int64_t i = 0; i < m; i++) o[i] = (V)t[i] * factor;
            }
        }
    }
}

#undef LANES
#undef MOST

#endif
