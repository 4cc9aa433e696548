/* Products of compressed-row matrices of one pattern with a batch of vectors: y = A x.
 *
 * values_step is the distance between the values of two samples, 0 where all share one matrix. Complex
 * numbers are pairs (real, imaginary), multiplied by hand: the operator of C99 checks for NaN in every product.
 */
#include <stdint.h>

#define REAL_PRODUCT(NAME, T)                                                                       \
    void NAME(int64_t batch, int64_t rows, const int64_t *restrict start,                           \
              const int32_t *restrict column, const T *restrict values, int64_t values_step,        \
              const T *restrict x, int64_t x_step, T *restrict y, int64_t y_step)                   \
    {                                                                                               \
        for (int64_t s = 0; s < batch; ++s, values += values_step, x += x_step, y += y_step)        \
            for (int64_t i = 0; i < rows; ++i) {                                                    \
                T sum = 0;                                                                          \
                for (int64_t k = start[i]; k < start[i + 1]; ++k)                                   \
                    sum += values[k] * x[column[k]];                                                \
                y[i] = sum;                                                                         \
            }                                                                                       \
    }

#define COMPLEX_PRODUCT(NAME, T)                                                                    \
    void NAME(int64_t batch, int64_t rows, const int64_t *restrict start,                           \
              const int32_t *restrict column, const T *restrict values, int64_t values_step,        \
              const T *restrict x, int64_t x_step, T *restrict y, int64_t y_step)                   \
    {                                                                                               \
        for (int64_t s = 0; s < batch;                                                              \
             ++s, values += 2 * values_step, x += 2 * x_step, y += 2 * y_step)                      \
            for (int64_t i = 0; i < rows; ++i) {                                                    \
                T real = 0, imaginary = 0;                                                          \
                for (int64_t k = start[i]; k < start[i + 1]; ++k) {                                 \
                    const T a = values[2 * k], b = values[2 * k + 1];                               \
                    const T c = x[2 * (int64_t)column[k]], d = x[2 * (int64_t)column[k] + 1];       \
                    real += a * c - b * d;                                                          \
                    imaginary += a * d + b * c;                                                     \
                }                                                                                   \
                y[2 * i] = real;                                                                    \
                y[2 * i + 1] = imaginary;                                                           \
            }                                                                                       \
    }

REAL_PRODUCT(product_float32, float)
REAL_PRODUCT(product_float64, double)
COMPLEX_PRODUCT(product_complex64, float)
COMPLEX_PRODUCT(product_complex128, double)
