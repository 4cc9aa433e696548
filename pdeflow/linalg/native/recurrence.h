/* What the compiled short recurrences share: the system, its preconditioner, products and statuses. */

#ifndef PDEFLOW_RECURRENCE_H
#define PDEFLOW_RECURRENCE_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "program.h"
#include "stencil.h"

/* As in solution.py; RUNNING as in lockstep.py. */
enum {
    RUNNING = -1,
    CONVERGED = 0,
    STAGNATED = 2,
    BREAKDOWN = 3,
    INDEFINITE_OPERATOR = 4,
    INDEFINITE_PRECONDITIONER = 5
};
/* What M is. */
enum { IDENTITY = 0, DIAGONAL = 1, CYCLE = 2, FACTORS = 3, ROW_FACTORS = 4 };

/* incomplete.c's solve for factors and vectors in double precision. */
typedef void (*FactorSolve)(int64_t batch, int64_t n, int64_t m, int64_t margin, int64_t stride, int64_t sample,
                            const double *factors, int64_t diagonal_slot, const int64_t *count,
                            const int64_t *slot, const int64_t *moved, const int64_t *shift, const double *scale,
                            const double *x, double *out, double *work);

typedef struct {
    FactorSolve solve;
    int64_t row, margin, stride, sample;
    const double *factors;
    int64_t diagonal_slot;
    const int64_t *count, *slot, *moved, *shift;
    const double *scale;
    double *work;
} Factors;

/* sparse_factors.c's solve for factors and vectors in double precision. */
typedef void (*RowFactorSolve)(int64_t batch, int64_t rows, int64_t entries, const int64_t *start,
                               const int64_t *diagonal, const int32_t *column, const double *values,
                               int64_t symmetric, int64_t turned, const double *scale, const double *x, double *out,
                               double *work);

typedef struct {
    RowFactorSolve solve;
    int64_t entries;
    const int64_t *start, *diagonal;
    const int32_t *column;
    const double *values;
    int64_t symmetric, turned;
    const double *scale;
    double *work;
} RowFactors;

/* A batch of stencils, or, where there is no plan, of matrices by rows with one pattern; and M. */
typedef struct {
    int64_t samples, size;
    const int64_t *plan;
    const int64_t *start;
    const int32_t *column;
    int64_t coefficient_stride;
    const double *coefficients;
    int64_t kind;
    const double *diagonal; /* (samples, size) */
    const Program *set_up;  /* of the cycle, where that is to be done for one system after the other */
    const Program *cycle;   /* the factor of its second outer array holds for what it gives */
    const Factors *factors;
    const RowFactors *row_factors;
} System;

static inline double dot(int64_t n, const double *x, const double *y) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* The largest magnitude; where a number is not finite, neither is the result. */
static inline double largest_of(int64_t n, const double *x) {
    double largest = 0, sum = 0;
#pragma omp simd reduction(max : largest) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        const double size = fabs(x[i]);
        largest = size > largest ? size : largest;
        sum += 0 * size;
    }
    return largest + sum;
}

static inline void multiply(const System *s, int64_t sample, const double *x, double *out) {
    const double *values = s->coefficients + sample * s->coefficient_stride;
    if (s->plan) {
        stencil_apply_f64(s->plan, values, x, out);
        return;
    }
    for (int64_t i = 0; i < s->size; i++) {
        double sum = 0;
        for (int64_t k = s->start[i]; k < s->start[i + 1]; k++) sum += values[k] * x[s->column[k]];
        out[i] = sum;
    }
}

/* z = M r; without a preconditioner z is left alone. */
static inline void precondition(const System *s, int64_t sample, const double *r, double *z) {
    const int64_t n = s->size;
    switch (s->kind) {
        case DIAGONAL: {
            const double *d = s->diagonal + sample * n;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) z[i] = d[i] * r[i];
            break;
        }
        case CYCLE: {
            /* Programs count samples from the first of the outer arrays. */
            const Outer outer[2] = {
                {(void *)(r - sample * n), NULL, 0}, {z - sample * n, s->cycle->outer[1].factor, 0}};
            run_sample(s->cycle, sample, outer);
            break;
        }
        case FACTORS: {
            const Factors *f = s->factors;
            f->solve(1, n, f->row, f->margin, f->stride, f->sample, f->factors + sample * f->sample,
                     f->diagonal_slot, f->count, f->slot, f->moved, f->shift, f->scale + sample, r, z, f->work);
            break;
        }
        case ROW_FACTORS: {
            const RowFactors *f = s->row_factors;
            f->solve(1, n, f->entries, f->start, f->diagonal, f->column, f->values + sample * f->entries,
                     f->symmetric, f->turned, f->scale + sample, r, z, f->work);
            break;
        }
    }
}

#endif
