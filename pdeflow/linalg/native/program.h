/* Array programs in single and in double precision: see program_real.h. */

#ifndef PDEFLOW_PROGRAM_H
#define PDEFLOW_PROGRAM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* An array of the caller: its first sample, a factor a sample or NULL, and whether it is float, not double. */
typedef struct {
    void *base;
    const double *factor;
    int64_t single;
} Outer;

/* The operations, the memory that they run on with the numbers from sample to sample, and what comes and goes. */
typedef struct {
    const int64_t *code;
    int64_t length;
    int64_t single;
    void *memory, *constants;
    int64_t stride;
    Outer outer[2];
} Program;

enum { PRODUCTS = 0, RECIPROCAL = 1, COPY = 2, SPLIT_ROWS = 3, MERGE_ROWS = 4, DENSE = 5, STRIPS = 6, INVERT = 7, MAGNITUDES = 8, UPWIND = 9 };

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

static inline void run_sample(const Program *program, int64_t sample, const Outer *outer) {
    if (program->single)
        run_sample_f32(program, sample, outer);
    else
        run_sample_f64(program, sample, outer);
}

#endif
