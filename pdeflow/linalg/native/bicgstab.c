/* BiCGStab iterations, one system after the other, so that its vectors stay in the cache.

   The same steps, checks and statuses as BiCGStab.step, in double precision. */

#include "recurrence.h"

typedef struct {
    System system;
    int64_t steps;
    double *x, *r, *shadow, *p, *v, *t, *z;
    double *rho, *alpha, *omega, *norm;
    uint8_t *fresh;
    const double *target;
    int8_t *status;
    int64_t *iterations;
    double *history; /* (steps, samples) */
} Solve;

/* out = A M x; gives M x, which is x itself without a preconditioner. */
static const double *apply(const Solve *s, int64_t sample, const double *x, double *z, double *out) {
    const double *direction = s->system.kind == IDENTITY ? x : z;
    precondition(&s->system, sample, x, z);
    multiply(&s->system, sample, direction, out);
    return direction;
}

/* x += weight z, r -= weight A z, and the stopping test. z may be r. */
static int8_t move(const Solve *s, int64_t sample, double weight, double down, const double *z, const double *image) {
    const int64_t n = s->system.size;
    double *x = s->x + sample * n, *r = s->r + sample * n, square = 0;
    if (!isfinite(weight)) return BREAKDOWN;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++) {
        x[i] += weight * (down * z[i]);
        r[i] -= weight * (down * image[i]);
        square += r[i] * r[i];
    }
    s->norm[sample] = sqrt(square);
    if (s->norm[sample] <= s->target[sample]) return CONVERGED;
    return isfinite(s->norm[sample]) ? RUNNING : BREAKDOWN;
}

static int8_t step(const Solve *s, int64_t sample) {
    const int64_t n = s->system.size, at = sample * n;
    double *r = s->r + at, *shadow = s->shadow + at, *p = s->p + at, *v = s->v + at, *t = s->t + at, *z = s->z + at;
    double *norm = s->norm + sample, *omega = s->omega + sample;
    double rho = dot(n, shadow, r), length = sqrt(dot(n, shadow, shadow));
    const int fresh = s->fresh[sample] || fabs(rho) <= DBL_EPSILON * (length * *norm);
    if (fresh) {
        memcpy(shadow, r, (size_t)n * sizeof *r);
        rho = *norm * *norm, length = *norm;
    }
    const double beta = fresh ? 0 : rho / s->rho[sample] * (s->alpha[sample] / *omega);
    if (beta != 0) {
        const double back = *omega;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] = (p[i] - back * v[i]) * beta + r[i];
    } else {
        memcpy(p, r, (size_t)n * sizeof *r);
    }

    const double *direction = apply(s, sample, p, z, v);
    const double across = dot(n, shadow, v);
    const int lost = fabs(across) <= DBL_EPSILON * length * largest_of(n, v);
    const double alpha = lost ? 0 : rho / across;
    int8_t status = move(s, sample, alpha, 1, direction, v);
    if (status != RUNNING) return status;

    direction = apply(s, sample, r, z, t);
    /* A power of two keeps the square of t within the range. */
    const double largest = largest_of(n, t);
    int exponent = 0;
    if (isfinite(largest) && largest > 0) frexp(largest, &exponent);
    const double down = ldexp(1, -exponent);
    double square = 0, along = 0;
#pragma omp simd reduction(+ : square, along)
    for (int64_t i = 0; i < n; i++) {
        const double scaled = down * t[i];
        square += scaled * scaled;
        along += scaled * r[i];
    }
    const double size = sqrt(square);
    const int flat = fabs(along) <= DBL_EPSILON * size * *norm;
    const double weight = flat ? 0 : along / size / size;
    status = move(s, sample, weight, down, direction, t);
    if (status == RUNNING && fresh && lost && flat) return BREAKDOWN;
    s->fresh[sample] = lost || flat;
    s->rho[sample] = rho, s->alpha[sample] = alpha, *omega = weight * down == 0 ? 1 : weight * down;
    return status;
}

static int64_t iterate(const Solve *s, int64_t sample) {
    int64_t taken = 0;
    while (s->status[sample] == RUNNING && taken < s->steps) {
        s->status[sample] = step(s, sample);
        s->history[taken++ * s->system.samples + sample] = s->norm[sample];
    }
    return taken;
}

#include "advance.h"
