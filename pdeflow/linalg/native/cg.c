/* Conjugate gradient iterations, one system after the other, so that its vectors stay in the cache.

   The same steps, checks and statuses as CG.turn and ConjugateDirections.step, in double precision. */

#include "recurrence.h"

typedef struct {
    System system;
    int64_t steps;
    double *x, *r, *p, *q, *z, *rz, *norm;
    const double *target;
    int8_t *status;
    int64_t *iterations;
    double *history; /* (steps, samples) */
} Solve;

static int8_t turn(const Solve *s, int64_t sample, const double *r, double *z, double *p, double *rz) {
    const int64_t n = s->system.size;
    precondition(&s->system, sample, r, z);
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
    const int64_t n = s->system.size;
    double *x = s->x + sample * n, *r = s->r + sample * n, *q = s->q + sample * n;
    multiply(&s->system, sample, p, q);
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
    const int64_t n = s->system.size;
    double *r = s->r + sample * n, *p = s->p + sample * n;
    double *z = s->system.kind == IDENTITY ? r : s->z + sample * n;
    double norm = s->norm[sample];
    int64_t taken = 0;
    const Program *set_up = s->system.set_up;
    if (set_up && s->status[sample] == RUNNING) run_sample(set_up, sample, set_up->outer);
    while (s->status[sample] == RUNNING && taken < s->steps) {
        s->status[sample] = turn(s, sample, r, z, p, s->rz + sample);
        if (s->status[sample] != RUNNING) break;
        s->status[sample] = step(s, sample, p, s->rz[sample], &norm);
        s->history[taken++ * s->system.samples + sample] = norm;
    }
    s->norm[sample] = norm;
    return taken;
}

#include "advance.h"
