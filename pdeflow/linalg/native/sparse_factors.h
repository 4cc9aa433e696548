/* The loops of sparse_factors.c for factors of type T, with parts of type REAL; where V is defined, those that
   solve for vectors of type V, with parts of type VREAL. */

#ifndef V

/* ILU(0) in place. `place` has an entry -1 for every row. `relaxation` of the dropped fill goes to the diagonal.
   A pivot that rounding or the dropped fill has spoilt is replaced by the diagonal of the matrix. */
void FACTOR(factor)(int64_t batch, int64_t rows, int64_t entries, const int64_t *start, const int64_t *diagonal,
                    const int32_t *column, double smallest, int64_t positive, double relaxation, int64_t *place,
                    T *values) {
    for (; batch > 0; batch--, values += entries) {
        for (int64_t i = 0; i < rows; i++) {
            int64_t centre = diagonal[i];
            T whole = values[centre];
            for (int64_t e = start[i]; e < start[i + 1]; e++) place[column[e]] = e;
            for (int64_t p = start[i]; p < centre; p++) {
                int64_t k = column[p];
                /* Row k is divided by its pivot already, so the product takes l times pivot. */
                T l_pivot = values[p];
                for (int64_t q = diagonal[k] + 1; q < start[k + 1]; q++) {
                    int64_t into = place[column[q]];
                    T product = TIMES(l_pivot, values[q]);
                    if (into >= 0)
                        values[into] -= product;
                    else if (relaxation != 0) /* the diagonal of a Hermitian matrix stays real */
                        values[centre] -= (REAL)relaxation * (positive ? (T)REAL_PART(product) : product);
                }
                values[p] = TIMES(l_pivot, values[diagonal[k]]);
            }
            for (int64_t e = start[i]; e < start[i + 1]; e++) place[column[e]] = -1;
            T pivot = values[centre];
            int spoilt = positive ? REAL_PART(pivot) <= (REAL)smallest * REAL_PART(whole)
                                  : MAGNITUDE(pivot) <= smallest * MAGNITUDE(whole);
            if (spoilt) pivot = whole != 0 ? whole : (T)1;
            if (positive) pivot = REAL_PART(pivot);
            T inverse = INVERSE(pivot);
            values[centre] = inverse;
            for (int64_t q = centre + 1; q < start[i + 1]; q++) values[q] = TIMES(values[q], inverse);
        }
    }
}

#else

/* out = scale M x for M = U^-1 D^-1 L^-1, with `turned` its adjoint, and with `symmetric` U = L*, which is not
   stored. An adjoint factor is solved with by columns: its column i is the conjugate of row i. The work holds
   one vector. x and out may be the same. */
void NAME(solve)(int64_t batch, int64_t rows, int64_t entries, const int64_t *start, const int64_t *diagonal,
                 const int32_t *column, const T *values, int64_t symmetric, int64_t turned, const double *scale,
                 const V *x, V *out, T *restrict work) {
    for (; batch > 0; batch--, values += entries, scale++, x += rows, out += rows) {
        const VREAL factor = (VREAL)*scale;
        if (turned && !symmetric) {
            for (int64_t i = 0; i < rows; i++) work[i] = (T)x[i];
            for (int64_t i = 0; i < rows; i++) {
                const T y = work[i];
                for (int64_t q = diagonal[i] + 1; q < start[i + 1]; q++)
                    work[column[q]] -= TIMES(CONJUGATE(values[q]), y);
                work[i] = TIMES(CONJUGATE(values[diagonal[i]]), y);
            }
        } else {
            for (int64_t i = 0; i < rows; i++) {
                T sum = (T)x[i];
                for (int64_t p = start[i]; p < diagonal[i]; p++) sum -= TIMES(values[p], work[column[p]]);
                work[i] = sum;
            }
            for (int64_t i = 0; i < rows; i++) work[i] = TIMES(values[diagonal[i]], work[i]);
        }
        if (turned || symmetric) {
            for (int64_t i = rows - 1; i >= 0; i--) {
                const T y = work[i];
                for (int64_t p = start[i]; p < diagonal[i]; p++)
                    work[column[p]] -= TIMES(CONJUGATE(values[p]), y);
                out[i] = (V)y * factor;
            }
        } else {
            for (int64_t i = rows - 1; i >= 0; i--) {
                T sum = work[i];
                for (int64_t q = diagonal[i] + 1; q < start[i + 1]; q++)
                    sum -= TIMES(values[q], work[column[q]]);
                work[i] = sum;
                out[i] = (V)sum * factor;
            }
        }
    }
}

#undef V
#undef VREAL
#undef NAME

#endif
