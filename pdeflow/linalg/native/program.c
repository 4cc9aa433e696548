/* Runs array programs, one sample after the other, so that the arrays of a sample stay in the cache. */

#include "program.h"

void run_program(
    const int64_t *code, int64_t length, int64_t samples, const Outer *outer, int64_t single) {
    for (int64_t sample = 0; sample < samples; sample++) {
        if (single)
            run_sample_f32(code, length, sample, outer);
        else
            run_sample_f64(code, length, sample, outer);
    }
}
