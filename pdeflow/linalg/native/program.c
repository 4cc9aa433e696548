/* Runs array programs, one sample after the other, so that the arrays of a sample stay in the cache. */

#include "program.h"

void run_program(const Program *program, int64_t samples) {
    for (int64_t sample = 0; sample < samples; sample++) run_sample(program, sample, program->outer);
}
