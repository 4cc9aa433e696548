/* Conjugate gradient iterations, one system after the other, so that its vectors stay in the cache.

   The same steps, checks and statuses as CG.step and CG.turn of cg.py, in double precision. */

#include <math.h>

#include "program.h"
#include "stencil.h"

/* As in solution.py; RUNNING as in lockstep.py. */
enum { RUNNING = -1, CONVERGED = 0, BREAKDOWN = 3, INDEFINITE_OPERATOR = 4, INDEFINITE_PRECONDITIONER = 5 };
/* What M is. */
enum { IDENTITY = 0, DIAGONAL = 1, PROGRAM_F32 = 2, PROGRAM_F64 = 3 };

typedef struct {
    int64_t samples, size, steps;
    const int64_t *plan;
    int64_t coefficient_stride;
    const double *coefficients;
    int64_t kind;
    const double *diagonal; /* (samples, size) */
    const int64_t *code;
    int64_t code_length;
    const double *factor; /* of what the program gives, one a sample */
    double *x, *r, *p, *q, *z, *rz, *norm;
    const double *target;
    int8_t *status;
    int64_t *iterations;
    double *history; /* (steps, samples), filled beforehand */
} Solve;

static double dot(int64_t n, const double *x, const double *y) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void precondition(const Solve *s, int64_t sample, const double *r, double *z) {
    const int64_t n = s->size;
    switch (s->kind) {
        case DIAGONAL: {
            const double *d = s->diagonal + sample * n;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) z[i] = d[i] * r[i];
            break;
        }
        case PROGRAM_F32:
        case PROGRAM_F64: {
            /* The programs count samples from the base of the outer arrays. */
            const Outer outer[2] = {{(void *)(r - sample * n), NULL, 0}, {z - sample * n, s->factor, 0}};
            if (s->kind == PROGRAM_F32)
                run_sample_f32(s->code, s->code_length, sample, outer);
            else
                run_sample_f64(s->code, s->code_length, sample, outer);
            break;
        }
    }
}

static void iterate(const Solve *s, int64_t sample) {
    const int64_t n = s->size;
    double *x = s->x + sample * n, *r = s->r + sample * n, *p = s->p + sample * n, *q = s->q + sample * n;
    double *z = s->kind == IDENTITY ? r : s->z + sample * n;
    const double *coefficients = s->coefficients + sample * s->coefficient_stride;
    int8_t status = s->status[sample];
    double rz = s->rz[sample], norm = s->norm[sample];
    int64_t step = 0;
    while (status == RUNNING && step < s->steps) {
        stencil_apply_f64(s->plan, coefficients, p, q);
        const double curvature = dot(n, p, q);
        s->iterations[sample]++;
        if (curvature <= 0)
            status = INDEFINITE_OPERATOR;
        else if (!isfinite(curvature))
            status = BREAKDOWN;
        else {
            const double alpha = rz / curvature;
            double square = 0;
#pragma omp simd reduction(+ : square)
            for (int64_t i = 0; i < n; i++) {
                x[i] += alpha * p[i];
                r[i] -= alpha * q[i];
                square += r[i] * r[i];
            }
            norm = sqrt(square);
            if (!isfinite(norm))
                status = BREAKDOWN;
            else if (norm <= s->target[sample])
                status = CONVERGED;
        }
        s->history[step * s->samples + sample] = norm;
        if (status == RUNNING) {
            precondition(s, sample, r, z);
            const double next = dot(n, r, z);
            if (next <= 0)
                status = INDEFINITE_PRECONDITIONER;
            else if (!isfinite(next))
                status = BREAKDOWN;
            else {
                const double beta = next / rz;
#pragma omp simd
                for (int64_t i = 0; i < n; i++) p[i] = z[i] + beta * p[i];
            }
            rz = next;
        }
        step++;
    }
    for (; step < s->steps; step++) s->history[step * s->samples + sample] = norm;
    s->status[sample] = status;
    s->rz[sample] = rz;
    s->norm[sample] = norm;
}

/* Up to s->steps iterations of every system that is running; gives the largest number that one took. */
int64_t advance(const Solve *s) {
    int64_t most = 0;
    for (int64_t sample = 0; sample < s->samples; sample++) {
        const int64_t before = s->iterations[sample];
        iterate(s, sample);
        if (s->iterations[sample] - before > most) most = s->iterations[sample] - before;
    }
    return most;
}
