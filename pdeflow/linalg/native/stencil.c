/* Products of a batch of stencils with vectors. */

#include "stencil.h"

void apply_f32(const int64_t *plan, int64_t samples, int64_t coefficient_stride, int64_t size,
               const float *coefficients, const float *x, float *out) {
    for (int64_t s = 0; s < samples; s++)
        stencil_apply_f32(plan, coefficients + s * coefficient_stride, x + s * size, out + s * size);
}

void apply_f64(const int64_t *plan, int64_t samples, int64_t coefficient_stride, int64_t size,
               const double *coefficients, const double *x, double *out) {
    for (int64_t s = 0; s < samples; s++)
        stencil_apply_f64(plan, coefficients + s * coefficient_stride, x + s * size, out + s * size);
}
