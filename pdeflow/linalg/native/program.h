/* Array programs in single and in double precision: see program_real.h. */

#ifndef PDEFLOW_PROGRAM_H
#define PDEFLOW_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

/* An array of the caller: its first sample, a factor a sample or NULL, and whether it is float, not double. */
typedef struct {
    void *base;
    const double *factor;
    int64_t single;
} Outer;

enum { PRODUCTS = 0, RECIPROCAL = 1, COPY = 2, SPLIT_ROWS = 3, MERGE_ROWS = 4, DENSE = 5, STRIPS = 6 };

#define REAL float
#define NAME(x) x##_f32
#include "program_real.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(x) x##_f64
#include "program_real.h"
#undef REAL
#undef NAME

#endif
