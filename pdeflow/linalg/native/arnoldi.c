/* The Arnoldi process of pdeflow/linalg/arnoldi.py, one system after the other.
 *
 * A complex vector is an array of twice as many reals. The second Gram-Schmidt pass is made only where the
 * first has cancelled most of the vector, which keeps the rows orthogonal to a few roundings.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>

typedef struct {
    int64_t batch, size, total, fixed, is_complex;
    void *rows, *h, *z, *v, *w;                    /* of the dtype; z may be NULL */
    double *left, *growth, *norm, *start, *goal;   /* left is complex where the dtype is */
    int64_t *count;
    uint8_t *active, *broken;
    void *scratch, *column;                        /* a vector; a column of h */
} Basis;

enum { BLOCK = 8 }; /* rows whose products with w are taken together */

#define REAL float
#define EPSILON FLT_EPSILON
#define NAME(name) name##_float32
#include "arnoldi.h"
#undef REAL
#undef EPSILON
#undef NAME

#define REAL double
#define EPSILON DBL_EPSILON
#define NAME(name) name##_float64
#include "arnoldi.h"
