/* Conjugate gradient iterations, one system after the other, so that its vectors stay in the cache.

   The same steps, checks and statuses as CG.turn and ConjugateDirections.step, in double precision. */

#include <math.h>

#include "program.h"
#include "stencil.h"

/* As in solution.py; RUNNING as in lockstep.py. */
enum { RUNNING = -1, CONVERGED = 0, BREAKDOWN = 3, INDEFINITE_OPERATOR = 4, INDEFINITE_PRECONDITIONER = 5 };
/* What M is. */
enum { IDENTITY = 0, DIAGONAL = 1, CYCLE = 2 };

typedef struct {
    int64_t samples, size, steps;
    const int64_t *plan;
    int64_t coefficient_stride;
    const double *coefficients;
    int64_t kind;
    const double *diagonal; /* (samples, size) */
    const Program *set_up; /* of the cycle, where that is to be done for one system after the other */
    const Program *cycle;  /* the factor of its second outer array holds for z */
    double *x, *r, *p, *q, *z, *rz, *norm;
    const double *target;
    int8_t *status;
    int64_t *iterations;
    double *history; /* (steps, samples) */
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
        case CYCLE: {
            /* Programs count samples from the first of the outer arrays. */
            const Outer outer[2] = {
                {(void *)(r - sample * n), NULL, 0}, {z - sample * n, s->cycle->outer[1].factor, 0}};
            run_sample(s->cycle, sample, outer);
            break;
        }
    }
}

static int8_t turn(const Solve *s, int64_t sample, const double *r, double *z, double *p, double *rz) {
    const int64_t n = s->size;
    precondition(s, sample, r, z);
    const double next = dot(n, r, z);
    if (next <= 0) return INDEFINITE_PRECONDITIONER;
    if (!isfinite(next)) return BREAKDOWN;
    const double beta = next / *rz;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) p[i] = z[i] + beta * p[i];
    *rz = next;
    return RUNNING;
}

static int8_t step(const Solve *s, int64_t sample, const double *p, double rz, double *norm) {
    const int64_t n = s->size;
    double *x = s->x + sample * n, *r = s->r + sample * n, *q = s->q + sample * n;
    stencil_apply_f64(s->plan, s->coefficients + sample * s->coefficient_stride, p, q);
    const double curvature = dot(n, p, q);
    if (curvature <= 0) return INDEFINITE_OPERATOR;
    if (!isfinite(curvature)) return BREAKDOWN;
    const double alpha = rz / curvature;
    double square = 0;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++) {
        x[i] += alpha * p[i];
        r[i] -= alpha * q[i];
        square += r[i] * r[i];
    }
    *norm = sqrt(square);
    if (!isfinite(*norm)) return BREAKDOWN;
    return *norm <= s->target[sample] ? CONVERGED : RUNNING;
}

static int64_t iterate(const Solve *s, int64_t sample) {
    const int64_t n = s->size;
    double *r = s->r + sample * n, *p = s->p + sample * n;
    double *z = s->kind == IDENTITY ? r : s->z + sample * n;
    double norm = s->norm[sample];
    int64_t taken = 0;
    if (s->set_up && s->status[sample] == RUNNING) run_sample(s->set_up, sample, s->set_up->outer);
    while (s->status[sample] == RUNNING && taken < s->steps) {
        s->status[sample] = turn(s, sample, r, z, p, s->rz + sample);
        if (s->status[sample] != RUNNING) break;
        s->status[sample] = step(s, sample, p, s->rz[sample], &norm);
        s->history[taken++ * s->samples + sample] = norm;
    }
    for (int64_t later = taken; later < s->steps; later++) s->history[later * s->samples + sample] = norm;
    s->iterations[sample] += taken;
    s->norm[sample] = norm;
    return taken;
}

/* Up to s->steps iterations of every system that is running; gives the largest number that one took. */
int64_t advance(const Solve *s) {
    int64_t most = 0;
    for (int64_t sample = 0; sample < s->samples; sample++) {
        const int64_t taken = iterate(s, sample);
        if (taken > most) most = taken;
    }
    return most;
}
