/* Steps of ETDRK4 in Fourier space for rates with products of two factors, LANES rows at a time; the formulas are
 * those of problems/etdrk4.py and problems/quadratic_rate.py, the eager form.
 *
 * A row has the modes -first ... first (0 ... first, -first ... -1 in the memory) by 0 ... last; with one axis, first
 * is 0. Rows, and what multiplies them, are packed by groups: [mode][re, im][LANES].
 *
 * The transform between N real nodes and N / 2 + 1 modes goes through one of N / 2 complex numbers (Van Loan, section
 * 4.3). There is one direction only: swapping the real and the imaginary parts turns it into the other, and complex
 * numbers are kept swapped on the way, so that this costs nothing.
 */
#include <math.h>
#include <string.h>

#include "fft.h"

/* What multiplies the modes of a group of rows: ``stride`` is from one group to the next, 0 where all share it. */
typedef struct {
    const double *values;
    int64_t stride;
} Array;

typedef struct {
    int64_t first, last;
    Transform across, along; /* of the nodes of the first axis, of half of those of the last */
    const double *half_turn; /* e^{2 pi i k / N}, k <= N / 4, for N nodes along the last axis */
    int64_t factors, products;
    const Array *factor, *multiplier; /* a factor without values is the unknown */
    const int64_t *pairs, *ends;      /* two factors and a sign; where those of a product end */
    Array left, known;                /* without values: absent */
    double *work;
} Rest;

typedef struct {
    Rest rest;
    int64_t steps, real; /* real: the coefficients have no imaginary part, and none is stored */
    Array whole, half, q, start, middle, end;
} Steps;

typedef struct {
    Rest rest;
    Array grows, gathers; /* the squares of what bandwidth.py weighs modes by, real */
    double negligible;    /* the square of what is, over the largest mode */
} Look;

const int64_t lanes = LANES;

INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t mode_count(const Rest *r) { return (2 * r->first + 1) * (r->last + 1); }
INLINE int64_t lines_size(const Rest *r) { return r->across.length * (r->last + 1); }

/* Doubles of ``work`` that ``rest`` takes: columns of every factor or product and one more, values of every factor and
   two more. Behind them lies what its callers take. */
static int64_t rest_size(const Rest *r) {
    const int64_t columns = most(r->factors, r->products) + 1, values = r->factors + 2;
    return (columns * lines_size(r) + values * r->along.length) * 2 * LANES;
}

int64_t work_size(const Rest *r) { return rest_size(r) + 5 * mode_count(r) * 2 * LANES; }

INLINE Complex swapped(Complex a) { return (Complex){a.im, a.re}; }
INLINE Complex mirrored(Complex a) { return (Complex){a.re, -a.im}; }

static inline const Complex *of_group(const Array *array, int64_t group) {
    return (const Complex *)(array->values + array->stride * group);
}

static void swap(Complex **a, Complex **b) {
    Complex *const held = *a;
    *a = *b;
    *b = held;
}

/* The modes of one factor, swapped, filled with 0 to the nodes of the first axis. */
static void spread(const Rest *r, const Complex *factor, const Complex *restrict v, Complex *restrict out) {
    const int64_t width = r->last + 1, rows = 2 * r->first + 1, gap = r->across.length - rows;
    memset(out + (r->first + 1) * width, 0, gap * width * sizeof(Complex));
    for (int64_t row = 0; row < rows; row++) {
        Complex *restrict to = out + (row > r->first ? row + gap : row) * width;
        const Complex *from = v + row * width;
        if (factor) {
            const Complex *by = factor + row * width;
            for (int64_t k = 0; k < width; k++) to[k] = swapped(times(by[k], from[k]));
        } else {
            for (int64_t k = 0; k < width; k++) to[k] = swapped(from[k]);
        }
    }
}

/* From swapped modes of a real row to those, swapped, of even nodes + i odd nodes. */
static void folded(const Rest *r, const Complex *restrict x, Complex *restrict z) {
    const int64_t n = r->along.length, last = r->last;
    const Complex none = {(Lanes){0}, (Lanes){0}};
    z[0] = (Complex){x[0].im, x[0].im};
    for (int64_t k = 1; 2 * k <= n; k++) {
        const Complex a = k <= last ? swapped(x[k]) : none;
        const Complex b = n - k <= last ? mirrored(swapped(x[n - k])) : none;
        const Complex even = plus(a, b), odd = turned(r->half_turn + 2 * k, minus(a, b));
        z[k] = (Complex){even.im + odd.re, even.re - odd.im};
        z[n - k] = (Complex){odd.re - even.im, even.re + odd.im};
    }
}

/* The transform of swapped even nodes + i odd nodes back to the modes of the real row, ``scale`` times. */
static void unfolded(const Rest *r, double scale, const Complex *restrict y, Complex *restrict x) {
    const int64_t n = r->along.length, last = r->last;
    const double half = scale / 2;
    x[0] = (Complex){scale * (y[0].re + y[0].im), (Lanes){0}};
    for (int64_t k = 1; 2 * k <= n; k++) {
        const Complex a = swapped(y[n - k]), b = mirrored(swapped(y[k]));
        const double w[2] = {r->half_turn[2 * k], -r->half_turn[2 * k + 1]};
        const Complex even = scaled(half, plus(a, b)), odd = turned(w, scaled(half, minus_i(minus(a, b))));
        if (n - k <= last) x[n - k] = mirrored(minus(even, odd));
        if (k <= last) x[k] = plus(even, odd);
    }
}

/* The transform of a sum of pairs of factors; the result is in x or in y. */
static Complex *products_transformed(
    const Rest *r, Complex *const *value, const int64_t *pair, const int64_t *end, Complex *x, Complex *y) {
    const Complex *a = value[pair[0]], *b = value[pair[1]];
    if (pair + 3 == end) return product_transformed(&r->along, a, b, x, y);
    for (int64_t k = 0; k < r->along.length; k++) x[k] = (Complex){a[k].re * b[k].re, a[k].im * b[k].im};
    while ((pair += 3) < end) {
        const double sign = (double)pair[2];
        const Complex *c = value[pair[0]], *d = value[pair[1]];
        for (int64_t k = 0; k < r->along.length; k++) {
            x[k].re += sign * c[k].re * d[k].re;
            x[k].im += sign * c[k].im * d[k].im;
        }
    }
    return transformed(&r->along, 1, x, y);
}

/* The rate without its symbol, of the rows of a group. */
static void rest(const Rest *r, int64_t group, const Complex *restrict v, Complex *restrict out) {
    const int64_t width = r->last + 1, rows = 2 * r->first + 1, size = lines_size(r), n = r->along.length;
    const int64_t lines = r->across.length, gap = lines - rows, columns = most(r->factors, r->products);
    Complex *column[columns + 1], *value[r->factors + 2];
    for (int64_t i = 0; i <= columns; i++) column[i] = (Complex *)r->work + i * size;
    for (int64_t i = 0; i < r->factors + 2; i++) value[i] = (Complex *)r->work + (columns + 1) * size + i * n;
    for (int64_t f = 0; f < r->factors; f++) {
        spread(r, r->factor[f].values ? of_group(r->factor + f, group) : NULL, v, column[f]);
        if (transformed(&r->across, width, column[f], column[columns]) != column[f])
            swap(column + f, column + columns);
    }
    Complex **const product = value + r->factors, **const spare = product + 1;
    const double scale = 1.0 / (2 * n * lines);
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t f = 0; f < r->factors; f++) {
            folded(r, column[f] + line * width, value[f]);
            if (transformed(&r->along, 1, value[f], *spare) != value[f]) swap(value + f, spare);
        }
        const int64_t *pair = r->pairs;
        for (int64_t p = 0; p < r->products; p++) {
            const int64_t *end = r->pairs + 3 * r->ends[p];
            unfolded(r, scale, products_transformed(r, value, pair, end, *product, *spare), column[p] + line * width);
            pair = end;
        }
    }
    if (r->left.values) {
        const Complex *left = of_group(&r->left, group);
        for (int64_t k = 0; k < rows * width; k++) out[k] = times(left[k], v[k]);
    } else if (r->products == 0) {
        memset(out, 0, rows * width * sizeof(Complex));
    }
    for (int64_t p = 0; p < r->products; p++) {
        const Complex *part = transformed(&r->across, width, column[p], column[columns]);
        const Complex *multiplier = of_group(r->multiplier + p, group);
        const int fresh = p == 0 && !r->left.values;
        for (int64_t row = 0; row < rows; row++) {
            const Complex *from = part + (row > r->first ? row + gap : row) * width, *m = multiplier + row * width;
            Complex *restrict to = out + row * width;
            if (fresh) {
                for (int64_t k = 0; k < width; k++) to[k] = times(m[k], from[k]);
            } else {
                for (int64_t k = 0; k < width; k++) to[k] = plus(to[k], times(m[k], from[k]));
            }
        }
    }
    if (r->known.values) {
        const Complex *known = of_group(&r->known, group);
        for (int64_t k = 0; k < rows * width; k++) out[k] = plus(out[k], known[k]);
    }
}

/* The rows of a group out of n, each after the other in the memory; rows that are missing are 0. */
static void gather(int64_t n, int64_t group, int64_t modes, const double *rows, Complex *restrict packed) {
    const int64_t begin = group * LANES, count = n - begin < LANES ? n - begin : LANES;
    double *restrict to = (double *)packed;
    if (count < LANES) memset(to, 0, modes * sizeof(Complex));
    for (int64_t i = 0; i < 2 * modes; i++)
        for (int64_t lane = 0; lane < count; lane++) to[i * LANES + lane] = rows[(begin + lane) * 2 * modes + i];
}

static void scatter(int64_t n, int64_t group, int64_t modes, const Complex *packed, double *restrict rows) {
    const int64_t begin = group * LANES, count = n - begin < LANES ? n - begin : LANES;
    const double *from = (const double *)packed;
    for (int64_t lane = 0; lane < count; lane++)
        for (int64_t i = 0; i < 2 * modes; i++) rows[(begin + lane) * 2 * modes + i] = from[i * LANES + lane];
}

/* The rate without its symbol, of n rows of modes. */
void evaluate(const Rest *r, int64_t n, const double *v, double *out) {
    const int64_t modes = mode_count(r);
    Complex *packed = (Complex *)(r->work + rest_size(r)), *result = packed + modes;
    for (int64_t group = 0; group * LANES < n; group++) {
        gather(n, group, modes, v, packed);
        rest(r, group, packed, result);
        scatter(n, group, modes, result, out);
    }
}

typedef int64_t Mask __attribute__((vector_size(8 * LANES)));

INLINE Lanes larger(Lanes a, Lanes b) {
    const Mask first = (Mask)(a > b);
    return (Lanes)((first & (Mask)a) | (~first & (Mask)b));
}

INLINE Lanes square(Complex a) { return a.re * a.re + a.im * a.im; }

/* The highest wave numbers along the axes, first and last, that some row holds, grows to or gathers; rows that are not
   finite hold none. */
void highest(const Look *look, int64_t n, const double *v, int64_t *found) {
    const Rest *r = &look->rest;
    const int64_t modes = mode_count(r), width = r->last + 1, rows = 2 * r->first + 1;
    Complex *packed = (Complex *)(r->work + rest_size(r)), *change = packed + modes;
    Lanes *held = (Lanes *)(change + modes);
    found[0] = found[1] = 0;
    for (int64_t group = 0; group * LANES < n; group++) {
        gather(n, group, modes, v, packed);
        rest(r, group, packed, change);
        const Lanes *grows = (const Lanes *)of_group(&look->grows, group);
        const Lanes *gathers = (const Lanes *)of_group(&look->gathers, group);
        Lanes largest = {0}, most_held = {0}, zero = {0};
        for (int64_t k = 0; k < modes; k++) {
            const Lanes size = square(packed[k]), gained = square(change[k]);
            largest = larger(size, largest);
            held[k] = larger(size * grows[k], gained * gathers[k]);
            most_held = larger(held[k], most_held);
            zero += 0.0 * size + 0.0 * gained;
        }
        Lanes bound;
        for (int64_t lane = 0; lane < LANES; lane++) {
            const int there = group * LANES + lane < n && zero[lane] == 0;
            bound[lane] = !there ? INFINITY : look->negligible * (largest[lane] > 0 ? largest[lane] : most_held[lane]);
        }
        for (int64_t row = 0; row < rows; row++) {
            const int64_t wave = row > r->first ? rows - row : row;
            for (int64_t k = width - 1; k >= 0; k--) {
                if (wave <= found[0] && k <= found[1]) break;
                const Mask used = (Mask)(held[row * width + k] > bound);
                int64_t any = 0;
                for (int64_t lane = 0; lane < LANES; lane++) any |= used[lane];
                if (any) {
                    found[0] = most(found[0], wave);
                    found[1] = most(found[1], k);
                    break;
                }
            }
        }
    }
}

/* A coefficient times a mode. */
INLINE Complex by(const int real, const double *c, int64_t k, Complex a) {
    if (!real) return times(((const Complex *)c)[k], a);
    const Lanes s = ((const Lanes *)c)[k];
    return (Complex){s * a.re, s * a.im};
}

INLINE void advance(const int real, const Steps *s, int64_t group, Complex *restrict v) {
    const Rest *r = &s->rest;
    const int64_t modes = mode_count(r);
    Complex *restrict n = v + modes, *restrict a = n + modes, *restrict b = a + modes, *restrict change = b + modes;
    const double *whole = (const double *)of_group(&s->whole, group), *half = (const double *)of_group(&s->half, group);
    const double *q = (const double *)of_group(&s->q, group), *start = (const double *)of_group(&s->start, group);
    const double *middle = (const double *)of_group(&s->middle, group);
    const double *end = (const double *)of_group(&s->end, group);
    for (int64_t step = 0; step < s->steps; step++) {
        rest(r, group, v, n);
        for (int64_t k = 0; k < modes; k++) a[k] = plus(by(real, half, k, v[k]), by(real, q, k, n[k]));
        rest(r, group, a, change);
        for (int64_t k = 0; k < modes; k++) {
            const Complex n_a = change[k], old = v[k];
            b[k] = plus(by(real, half, k, old), by(real, q, k, n_a));
            v[k] = plus(plus(by(real, whole, k, old), by(real, start, k, n[k])), by(real, middle, k, n_a));
        }
        rest(r, group, b, change);
        for (int64_t k = 0; k < modes; k++) {
            const Complex n_b = change[k], twice = minus(plus(n_b, n_b), n[k]);
            b[k] = plus(by(real, half, k, a[k]), by(real, q, k, twice));
            v[k] = plus(v[k], by(real, middle, k, n_b));
        }
        rest(r, group, b, change);
        for (int64_t k = 0; k < modes; k++) v[k] = plus(v[k], by(real, end, k, change[k]));
    }
}

/* Steps of n rows of modes, in place. */
void etdrk4(const Steps *s, int64_t n, double *rows) {
    const int64_t modes = mode_count(&s->rest);
    Complex *v = (Complex *)(s->rest.work + rest_size(&s->rest));
    for (int64_t group = 0; group * LANES < n; group++) {
        gather(n, group, modes, rows, v);
        if (s->real) advance(1, s, group, v);
        else advance(0, s, group, v);
        scatter(n, group, modes, v, rows);
    }
}
