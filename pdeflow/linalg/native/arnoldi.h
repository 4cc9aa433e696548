/* One step of the Arnoldi process, for numbers of type REAL; see arnoldi.c. */

/* h[i] = row_i . w for `count` rows. Several rows at a time, so that w is read seldom. */
static void NAME(dots)(const REAL *rows, int64_t count, const REAL *w, int64_t n, REAL *h)
{
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const REAL *r = rows + i * n;
        REAL a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, k = 0;
#pragma omp simd reduction(+ : a, b, c, d, e, f, g, k)
        for (int64_t x = 0; x < n; x++) {
            const REAL y = w[x];
            a += r[x] * y;
            b += r[n + x] * y;
            c += r[2 * n + x] * y;
            d += r[3 * n + x] * y;
            e += r[4 * n + x] * y;
            f += r[5 * n + x] * y;
            g += r[6 * n + x] * y;
            k += r[7 * n + x] * y;
        }
        h[i] = a, h[i + 1] = b, h[i + 2] = c, h[i + 3] = d;
        h[i + 4] = e, h[i + 5] = f, h[i + 6] = g, h[i + 7] = k;
    }
    for (; i < count; i++) {
        const REAL *r = rows + i * n;
        REAL a = 0;
#pragma omp simd reduction(+ : a)
        for (int64_t x = 0; x < n; x++)
            a += r[x] * w[x];
        h[i] = a;
    }
}

/* w -= sum_i h[i] row_i. */
static void NAME(subtract)(const REAL *rows, int64_t count, const REAL *h, int64_t n, REAL *w)
{
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const REAL *r = rows + i * n, *s = h + i;
        const REAL a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], k = s[7];
#pragma omp simd
        for (int64_t x = 0; x < n; x++)
            w[x] -= ((a * r[x] + b * r[n + x]) + (c * r[2 * n + x] + d * r[3 * n + x]))
                    + ((e * r[4 * n + x] + f * r[5 * n + x]) + (g * r[6 * n + x] + k * r[7 * n + x]));
    }
    for (; i < count; i++) {
        const REAL *r = rows + i * n;
        const REAL a = h[i];
#pragma omp simd
        for (int64_t x = 0; x < n; x++)
            w[x] -= a * r[x];
    }
}

static double NAME(length)(const REAL *w, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t x = 0; x < n; x++)
        sum += (double)w[x] * (double)w[x];
    if (sum > 1e-280 && sum < 1e280)
        return sqrt(sum);
    /* Squares may have left the range: once more, scaled by a power of two. */
    double largest = 0;
    for (int64_t x = 0; x < n; x++) {
        if (!isfinite(w[x]))
            return (double)NAN;
        largest = fmax(largest, fabs((double)w[x]));
    }
    if (largest == 0)
        return 0;
    int exponent;
    frexp(largest, &exponent);
    sum = 0;
    for (int64_t x = 0; x < n; x++) {
        const double y = ldexp((double)w[x], -exponent);
        sum += y * y;
    }
    return ldexp(sqrt(sum), exponent);
}

/* One Gram-Schmidt pass of w against the rows; the coefficients are added to h, one or two REALs each.
 *
 * A block of rows is used twice, for its products and to be subtracted, while it is in the cache.
 */
static void NAME(pass)(const Basis *s, const REAL *rows, int64_t count, REAL *w, REAL *h)
{
    const int64_t n = s->size;
    REAL part[BLOCK], imag[BLOCK], *turned = s->scratch;
    for (int64_t i = 0; i < count; i += BLOCK, rows += BLOCK * n) {
        const int64_t block = count - i < BLOCK ? count - i : BLOCK;
        if (!s->is_complex) {
            NAME(dots)(rows, block, w, n, part);
            NAME(subtract)(rows, block, part, n, w);
            for (int64_t k = 0; k < block; k++)
                h[i + k] += part[k];
            continue;
        }
        /* <v, w> = v . w + i v . turned, with turned = -i w; and h v = re(h) v + i im(h) v. */
        for (int64_t x = 0; x < n; x += 2)
            turned[x] = w[x + 1], turned[x + 1] = -w[x];
        NAME(dots)(rows, block, w, n, part);
        NAME(dots)(rows, block, turned, n, imag);
        NAME(subtract)(rows, block, part, n, w);
        for (int64_t x = 0; x < n; x++)
            turned[x] = 0;
        NAME(subtract)(rows, block, imag, n, turned);
        for (int64_t x = 0; x < n; x += 2)
            w[x] -= turned[x + 1], w[x + 1] += turned[x];
        for (int64_t k = 0; k < block; k++)
            h[2 * (i + k)] += part[k], h[2 * (i + k) + 1] += imag[k];
    }
}

/* Append A z_j to every system that takes part, and tell how many still do. */
int64_t NAME(append)(const Basis *s, int64_t j, const void *z)
{
    const int64_t n = s->size, fixed = s->fixed, total = s->total, end = fixed + j + 1;
    const int64_t reals = s->is_complex ? 2 : 1;
    int64_t left_over = 0;
    REAL *h = s->column;
    for (int64_t sample = 0; sample < s->batch; sample++) {
        if (!s->active[sample])
            continue;
        REAL *rows = (REAL *)s->rows + sample * (total + 1) * n;
        REAL *w = (REAL *)s->w + sample * n, *v = (REAL *)s->v + sample * n;
        for (int64_t i = 0; i < reals * end; i++)
            h[i] = 0;
        const double before = NAME(length)(w, n);
        NAME(pass)(s, rows, end, w, h);
        double length = NAME(length)(w, n);
        if (length < 0.2 * before) {
            NAME(pass)(s, rows, end, w, h);
            length = NAME(length)(w, n);
        }
        const int finite = isfinite(length), some = finite && length > 10 * EPSILON * before;
        if (s->z) { /* before v is written, which z may be */
            REAL *to = (REAL *)s->z + (sample * total + j) * n;
            const REAL *from = (const REAL *)z + sample * n;
            for (int64_t x = 0; x < n; x++)
                to[x] = finite ? from[x] : 0;
        }
        REAL *next = rows + end * n;
        const REAL inverse = some ? (REAL)(1 / length) : 0;
        for (int64_t x = 0; x < n; x++)
            v[x] = next[x] = some ? w[x] * inverse : 0;
        REAL *H = (REAL *)s->h + sample * (total + 1) * total * reals + j * reals;
        for (int64_t i = 0; i < end; i++)
            for (int64_t c = 0; c < reals; c++)
                H[i * total * reals + c] = h[i * reals + c];
        H[end * total * reals] = some ? (REAL)length : 0;
        if (s->is_complex)
            H[end * total * reals + 1] = 0;
        if (!finite) {
            s->broken[sample] = 1;
            s->active[sample] = 0;
            continue;
        }
        double *left = s->left + sample * (total + 1) * reals, re = 0, im = 0;
        for (int64_t i = 0; i <= j; i++) {
            const REAL *a = h + (fixed + i) * reals;
            if (s->is_complex) {
                re += left[2 * i] * a[0] - left[2 * i + 1] * a[1];
                im += left[2 * i] * a[1] + left[2 * i + 1] * a[0];
            } else
                re += left[i] * a[0];
        }
        double *growth = s->growth + sample, *norm = s->norm + sample;
        if (some) {
            re /= -length, im /= -length;
            *growth += re * re + im * im;
            *norm = s->start[sample] / sqrt(*growth);
        } else {
            const double product = hypot(re, im);
            if (product > 10 * EPSILON * before * sqrt(*growth))
                *norm = 0;
            re = im = 0;
        }
        left[(j + 1) * reals] = re;
        if (s->is_complex)
            left[(j + 1) * reals + 1] = im;
        s->count[sample]++;
        s->active[sample] = some && *norm > s->goal[sample];
        left_over += s->active[sample];
    }
    return left_over;
}
