/* MINRES iterations, one system after the other, so that its vectors stay in the cache.

   The same steps, checks and statuses as MINRES.step, in double precision. */

#include "recurrence.h"

typedef struct {
    System system;
    int64_t steps;
    double *x, *r, *u, *u_old, *z, *p, *q, *d, *d_old;
    double *beta, *beta_old, *phi, *cosine, *sine, *delta_bar, *epsilon, *largest;
    double *unit; /* a power of two that brings A M to order one; 0 where it is not known yet */
    double *norm;
    const double *target;
    int8_t *status;
    int64_t *iterations;
    double *history; /* (steps, samples) */
} Solve;

static void swap(double **x, double **y) {
    double *held = *x;
    *x = *y, *y = held;
}

/* The binary exponent of the largest entry; 0 where it is zero or not finite. */
static int exponent_of(int64_t n, const double *x) {
    const double largest = largest_of(n, x);
    int exponent = 0;
    if (isfinite(largest) && largest > 0) frexp(largest, &exponent);
    return exponent;
}

/* The power of two that brings A M to order one, from the first product. */
static double unit_of(const Solve *s, int64_t sample, double inverse, const double *from, double *p, double *q) {
    const int64_t n = s->system.size;
    for (int64_t i = 0; i < n; i++) p[i] = from[i] * inverse;
    multiply(&s->system, sample, p, q);
    const int exponent = -exponent_of(n, p) - exponent_of(n, q);
    return ldexp(1, exponent < -1000 ? -1000 : exponent > 1000 ? 1000 : exponent);
}

/* One Lanczos vector: u and u_old move on, beta with them; gives alpha and the status. */
static int8_t lanczos(const Solve *s, int64_t sample, double **u, double **u_old, double *z, double *p, double *q,
                      double *alpha) {
    const int64_t n = s->system.size;
    double *beta = s->beta + sample, *beta_old = s->beta_old + sample, *largest = s->largest + sample;
    const double inverse = *beta > 0 ? 1 / *beta : 0, back = *beta / *beta_old;
    const double *from = s->system.kind == IDENTITY ? *u : z;
    if (s->unit[sample] == 0) s->unit[sample] = unit_of(s, sample, inverse, from, p, q);
    const double unit = s->unit[sample], weight = inverse * unit;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) p[i] = from[i] * weight;
    multiply(&s->system, sample, p, q);
    const double *before = *u_old;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        q[i] -= back * before[i];
        sum += p[i] * q[i];
    }
    sum /= unit;
    const double along = sum * inverse;
    double *next = *u_old, square = 0;
    const double *latest = *u;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++) {
        next[i] = q[i] - along * latest[i];
        square += next[i] * next[i];
    }
    swap(u, u_old);
    *alpha = sum;
    *largest = fmax(*largest, fabs(sum));
    *beta_old = *beta > 0 ? *beta : 1;
    if (s->system.kind != IDENTITY) {
        precondition(&s->system, sample, *u, z);
        square = dot(n, *u, z);
    }
    *beta = sqrt(fmax(square, 0));
    if (!isfinite(square)) return BREAKDOWN;
    /* At the end of a Krylov space u is rounding, and so is the sign of its square. */
    if (square < 0 && sqrt(-square) > 1e-6 * *largest) return INDEFINITE_PRECONDITIONER;
    *largest = fmax(*largest, *beta);
    return RUNNING;
}

/* One rotation, one direction, one step of x. */
static int8_t rotate(const Solve *s, int64_t sample, double alpha, const double *u, const double *p, double **d,
                     double **d_old) {
    const int64_t n = s->system.size;
    double *x = s->x + sample * n, *r = s->r + sample * n;
    double *cosine = s->cosine + sample, *sine = s->sine + sample, *delta_bar = s->delta_bar + sample;
    const double beta = s->beta[sample], largest = s->largest[sample], epsilon = s->epsilon[sample];
    const double delta = *cosine * *delta_bar + *sine * alpha, gamma_bar = *sine * *delta_bar - *cosine * alpha;
    s->epsilon[sample] = *sine * beta;
    *delta_bar = -*cosine * beta;
    const double gamma = hypot(gamma_bar, beta), rounding = pow(DBL_EPSILON, 2.0 / 3.0) * largest;
    /* Of ||A r|| / ||r|| in the norm of M: where that is zero, no x is better than this one. */
    const int least = hypot(gamma_bar, *delta_bar) <= rounding, usable = gamma > rounding;
    if (usable) {
        const double inverse = 1 / gamma;
        *cosine = gamma_bar * inverse, *sine = beta * inverse;
        const double along = *cosine * s->phi[sample], kept = *sine * *sine, taken = along * inverse;
        double *direction = *d_old, square = 0;
        const double *last = *d;
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < n; i++) {
            direction[i] = (p[i] - epsilon * direction[i] - delta * last[i]) * inverse;
            x[i] += along * direction[i];
            r[i] = kept * r[i] - taken * u[i];
            square += r[i] * r[i];
        }
        swap(d, d_old);
        s->phi[sample] *= *sine;
        s->norm[sample] = sqrt(square);
    } else {
        *cosine = *sine = 0;
    }
    if (s->norm[sample] <= s->target[sample]) return CONVERGED;
    if (!isfinite(s->norm[sample])) return BREAKDOWN;
    return least || !usable ? STAGNATED : RUNNING;
}

/* Put what a pair of pointers stands for where the caller looks for it. */
static void put_back(int64_t n, double *u, double *u_old, double *home) {
    if (u == home) return;
    for (int64_t i = 0; i < n; i++) {
        const double held = u[i];
        u[i] = u_old[i], u_old[i] = held;
    }
}

static int64_t iterate(const Solve *s, int64_t sample) {
    const int64_t n = s->system.size, at = sample * n;
    double *u = s->u + at, *u_old = s->u_old + at, *d = s->d + at, *d_old = s->d_old + at;
    double *z = s->z + at, *p = s->p + at, *q = s->q + at, alpha;
    int64_t taken = 0;
    while (s->status[sample] == RUNNING && taken < s->steps) {
        s->status[sample] = lanczos(s, sample, &u, &u_old, z, p, q, &alpha);
        if (s->status[sample] == RUNNING) s->status[sample] = rotate(s, sample, alpha, u, p, &d, &d_old);
        s->history[taken++ * s->system.samples + sample] = s->norm[sample];
    }
    put_back(n, u, u_old, s->u + at);
    put_back(n, d, d_old, s->d + at);
    return taken;
}

#include "advance.h"
