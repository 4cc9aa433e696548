/* Fourier transforms of several rows at once: every number is a vector with an entry for each of LANES rows.
 *
 * Stockham's autosort algorithm with decimation in frequency, factors 2, 3, 4, 5 and 8 (C. Van Loan, "Computational
 * Frameworks for the Fast Fourier Transform", SIAM, 1992, sections 1.7 and 2.3). No entry of a row meets one of another, so
 * that a row's result does not depend on its neighbours.
 */
#include <stddef.h>
#include <stdint.h>

#define LANES 4
typedef double Lanes __attribute__((vector_size(8 * LANES)));
typedef struct {
    Lanes re, im;
} Complex;

/* For a factor r at a remaining length n, ``twiddles`` has e^{-2 pi i p k / n}, p < n / r, 0 < k < r, p slowest; those of
   the next factor follow. */
typedef struct {
    int64_t length, stages;
    const int64_t *factors;
    const double *twiddles;
} Transform;

#define INLINE static inline __attribute__((always_inline))

INLINE Complex plus(Complex a, Complex b) { return (Complex){a.re + b.re, a.im + b.im}; }
INLINE Complex minus(Complex a, Complex b) { return (Complex){a.re - b.re, a.im - b.im}; }
INLINE Complex scaled(double s, Complex a) { return (Complex){s * a.re, s * a.im}; }
INLINE Complex minus_i(Complex a) { return (Complex){a.im, -a.re}; }
INLINE Complex times(Complex a, Complex b) {
    return (Complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
INLINE Complex turned(const double *w, Complex a) {
    return (Complex){w[0] * a.re - w[1] * a.im, w[0] * a.im + w[1] * a.re};
}

INLINE void butterfly2(Complex *t) {
    const Complex a = t[0];
    t[0] = plus(a, t[1]);
    t[1] = minus(a, t[1]);
}

INLINE void butterfly3(Complex *t) {
    const Complex sum = plus(t[1], t[2]), b = minus_i(scaled(0.86602540378443864676, minus(t[1], t[2])));
    const Complex a = plus(t[0], scaled(-0.5, sum));
    t[0] = plus(t[0], sum);
    t[1] = plus(a, b);
    t[2] = minus(a, b);
}

INLINE void butterfly4(Complex *t) {
    const Complex a = plus(t[0], t[2]), b = minus(t[0], t[2]);
    const Complex c = plus(t[1], t[3]), d = minus_i(minus(t[1], t[3]));
    t[0] = plus(a, c);
    t[1] = plus(b, d);
    t[2] = minus(a, c);
    t[3] = minus(b, d);
}

INLINE void butterfly5(Complex *t) {
    const double c1 = 0.30901699437494742410, c2 = -0.80901699437494742410;
    const double s1 = 0.95105651629515357212, s2 = 0.58778525229247312917;
    const Complex p = plus(t[1], t[4]), q = plus(t[2], t[3]), m = minus(t[1], t[4]), n = minus(t[2], t[3]);
    const Complex a1 = plus(plus(t[0], scaled(c1, p)), scaled(c2, q));
    const Complex a2 = plus(plus(t[0], scaled(c2, p)), scaled(c1, q));
    const Complex b1 = minus_i(plus(scaled(s1, m), scaled(s2, n)));
    const Complex b2 = minus_i(minus(scaled(s2, m), scaled(s1, n)));
    t[0] = plus(t[0], plus(p, q));
    t[1] = plus(a1, b1);
    t[2] = plus(a2, b2);
    t[3] = minus(a2, b2);
    t[4] = minus(a1, b1);
}

INLINE void butterfly8(Complex *t) {
    const double h = 0.70710678118654752440;
    Complex even[4] = {t[0], t[2], t[4], t[6]}, odd[4] = {t[1], t[3], t[5], t[7]};
    butterfly4(even);
    butterfly4(odd);
    odd[1] = (Complex){h * (odd[1].re + odd[1].im), h * (odd[1].im - odd[1].re)};
    odd[2] = minus_i(odd[2]);
    odd[3] = (Complex){h * (odd[3].im - odd[3].re), -h * (odd[3].re + odd[3].im)};
    for (int k = 0; k < 4; k++) {
        t[k] = plus(even[k], odd[k]);
        t[k + 4] = minus(even[k], odd[k]);
    }
}

INLINE void stage(
    const int r, int64_t n, int64_t stride, const double *w, const Complex *x, const Complex *by, Complex *restrict y) {
    const int64_t parts = n / r;
    for (int64_t p = 0; p < parts; p++, w += 2 * (r - 1))
        for (int64_t q = 0; q < stride; q++) {
            Complex t[8];
#pragma GCC unroll 8
            for (int k = 0; k < r; k++) {
                const int64_t from = q + stride * (p + k * parts);
                t[k] = by ? (Complex){x[from].re * by[from].re, x[from].im * by[from].im} : x[from];
            }
            switch (r) {
                case 2: butterfly2(t); break;
                case 3: butterfly3(t); break;
                case 4: butterfly4(t); break;
                case 5: butterfly5(t); break;
                default: butterfly8(t); break;
            }
            Complex *to = y + q + stride * r * p;
            to[0] = t[0];
#pragma GCC unroll 8
            for (int k = 1; k < r; k++) to[stride * k] = parts == 1 ? t[k] : turned(w + 2 * (k - 1), t[k]);
        }
}

INLINE void any_stage(
    int64_t r, int64_t n, int64_t stride, const double *w, const Complex *x, const Complex *by, Complex *y) {
    switch (r) {
        case 2: stage(2, n, stride, w, x, by, y); break;
        case 3: stage(3, n, stride, w, x, by, y); break;
        case 4: stage(4, n, stride, w, x, by, y); break;
        case 5: stage(5, n, stride, w, x, by, y); break;
        default: stage(8, n, stride, w, x, by, y); break;
    }
}

/* The stages from the one with number i on, of what remains, from x by way of y; the result is in either. */
static Complex *finished(const Transform *transform, int64_t i, int64_t stride, Complex *x, Complex *y) {
    int64_t n = transform->length;
    const double *w = transform->twiddles;
    for (int64_t k = 0; k < transform->stages; k++) {
        const int64_t r = transform->factors[k];
        if (k >= i) {
            any_stage(r, n, stride, w, x, NULL, y);
            Complex *const held = x;
            x = y;
            y = held;
        }
        w += 2 * (n / r) * (r - 1);
        n /= r;
        stride *= r;
    }
    return x;
}

/* sum_j x_j e^{-2 pi i j k / length} of ``stride`` transforms side by side; the result is in x or in y, whichever is
   returned. */
static Complex *transformed(const Transform *transform, int64_t stride, Complex *x, Complex *y) {
    return finished(transform, 0, stride, x, y);
}

/* That of the products of the real parts and of the imaginary parts of a and b; the result is in x or in y. */
static Complex *product_transformed(
    const Transform *transform, const Complex *a, const Complex *b, Complex *x, Complex *y) {
    if (transform->stages == 0) {
        x[0] = (Complex){a[0].re * b[0].re, a[0].im * b[0].im};
        return x;
    }
    any_stage(transform->factors[0], transform->length, 1, transform->twiddles, a, b, x);
    return finished(transform, 1, 1, x, y);
}
