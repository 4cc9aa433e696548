/* Incomplete factors A ~ L D U (L, U unit triangular) of compressed-row matrices of one pattern, row after row.
 *
 * Entries start[i] ... start[i + 1] - 1 belong to row i, columns ascending; diagonal[i] is the number of the one on
 * the diagonal. Factors hold L, 1 / D, and U in the places of A. The products of complex numbers are written
 * out: the operator of C99 checks for NaN in every one.
 */
#include <math.h>
#include <stdint.h>

#define REAL_PART(a) (a)
#define CONJUGATE(a) (a)
#define TIMES(a, b) ((a) * (b))
#define INVERSE(a) (1 / (a))
#define MAGNITUDE(a) fabs((double)(a))

#define T float
#define REAL float
#define FACTOR(function) function##_float32
#include "sparse_factors.h"
#define V float
#define VREAL float
#define NAME(function) function##_float32_float32
#include "sparse_factors.h"
#define V double
#define VREAL double
#define NAME(function) function##_float32_float64
#include "sparse_factors.h"
#undef FACTOR
#undef T
#undef REAL

#define T double
#define REAL double
#define FACTOR(function) function##_float64
#include "sparse_factors.h"
#define V double
#define VREAL double
#define NAME(function) function##_float64_float64
#include "sparse_factors.h"
#undef FACTOR
#undef T
#undef REAL

#undef REAL_PART
#undef CONJUGATE
#undef TIMES
#undef INVERSE
#undef MAGNITUDE

#define COMPLEX_ARITHMETIC(T, REAL, NAME)                             \
    static inline T times_##NAME(T a, T b) {                          \
        T c;                                                          \
        __real__ c = __real__ a * __real__ b - __imag__ a * __imag__ b; \
        __imag__ c = __real__ a * __imag__ b + __imag__ a * __real__ b; \
        return c;                                                     \
    }                                                                 \
    static inline T conjugate_##NAME(T a) {                           \
        __imag__ a = -__imag__ a;                                     \
        return a;                                                     \
    }                                                                 \
    static inline T inverse_##NAME(T a) {                             \
        REAL scale = 1 / (REAL)hypot(__real__ a, __imag__ a);         \
        __real__ a = __real__ a * scale * scale;                      \
        __imag__ a = -__imag__ a * scale * scale;                     \
        return a;                                                     \
    }
COMPLEX_ARITHMETIC(float _Complex, float, complex64)
COMPLEX_ARITHMETIC(double _Complex, double, complex128)

#define REAL_PART(a) (__real__(a))
#define CONJUGATE(a) FACTOR(conjugate)(a)
#define TIMES(a, b) FACTOR(times)(a, b)
#define INVERSE(a) FACTOR(inverse)(a)
#define MAGNITUDE(a) hypot(__real__(a), __imag__(a))

#define T float _Complex
#define REAL float
#define FACTOR(function) function##_complex64
#include "sparse_factors.h"
#define V float _Complex
#define VREAL float
#define NAME(function) function##_complex64_complex64
#include "sparse_factors.h"
#define V double _Complex
#define VREAL double
#define NAME(function) function##_complex64_complex128
#include "sparse_factors.h"
#undef FACTOR
#undef T
#undef REAL

#define T double _Complex
#define REAL double
#define FACTOR(function) function##_complex128
#include "sparse_factors.h"
#define V double _Complex
#define VREAL double
#define NAME(function) function##_complex128_complex128
#include "sparse_factors.h"
