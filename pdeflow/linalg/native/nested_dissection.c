/* Multifrontal Gaussian elimination of matrices of one pattern, several systems side by side.

   All systems are eliminated in the same order, so every operation is one on vectors with a number of each:
   no front is too small for that, as it would be for a library of dense matrices. */

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Of a row of the table: pivots; size of the front; where its places, its assembly, its factors and its update
   matrix are; then for two children the size of their update, where its places in this front are, and itself. */
enum { PIVOTS, SIZE, FRONT, ASSEMBLY, ASSEMBLED, KEPT, LEFT, CHILD, COLUMNS = 13 };

#define PANEL 16 /* pivots that are eliminated before the rest of the front is touched */

typedef float f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef double f64x8 __attribute__((vector_size(64), aligned(8), may_alias));

/* The square root of the rounding of a number: what a pivot of a matrix with diagonal up to one may not be below. */
#define SMALLEST_f32 3.5e-4f
#define SMALLEST_f64 1.5e-8

static inline float floored_float(float a) {
    return a < SMALLEST_f32 && a > -SMALLEST_f32 ? SMALLEST_f32 : a;
}
static inline double floored_double(double a) {
    return a < SMALLEST_f64 && a > -SMALLEST_f64 ? SMALLEST_f64 : a;
}
/* The comparison of vectors gives -1 where it holds. */
static inline f32x16 floored_f32x16(f32x16 a) {
    return a + __builtin_convertvector(a < SMALLEST_f32 & a > -SMALLEST_f32, f32x16) * (a - SMALLEST_f32);
}
static inline f64x8 floored_f64x8(f64x8 a) {
    return a + __builtin_convertvector(a < SMALLEST_f64 & a > -SMALLEST_f64, f64x8) * (a - SMALLEST_f64);
}

#define JOIN(a, b) PASTE(a, b)
#define PASTE(a, b) a##b
#define FLOORED(a) JOIN(floored_, V)(a)
#define PLUS(a, b) ((a) + (b))
#define TIMES(a, b) ((a) * (b))
#define LESS(x, a, b) ((x) - (a) * (b))
#define INVERSE(a) (1 / (a))

#define V float
#define NAME(function) function##_float32
#include "nested_dissection.h"

#define V double
#define NAME(function) function##_float64
#include "nested_dissection.h"

#define TILE 4
#define ZERO {0}

#define V f32x16
#define NAME(function) function##_float32_lanes
#include "nested_dissection.h"

#define V f64x8
#define NAME(function) function##_float64_lanes
#include "nested_dissection.h"

#undef PLUS
#undef TIMES
#undef LESS
#undef INVERSE
#undef TILE
#undef ZERO

#define COMPLEX(R, NAME)                                                                                 \
    typedef struct {                                                                                     \
        R re, im;                                                                                        \
    } NAME;                                                                                              \
    static inline NAME plus_##NAME(NAME a, NAME b) { return (NAME){a.re + b.re, a.im + b.im}; }          \
    static inline NAME times_##NAME(NAME a, NAME b) {                                                    \
        return (NAME){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};                             \
    }                                                                                                    \
    static inline NAME less_##NAME(NAME x, NAME a, NAME b) {                                             \
        return (NAME){x.re - a.re * b.re + a.im * b.im, x.im - a.re * b.im - a.im * b.re};               \
    }                                                                                                    \
    static inline NAME inverse_##NAME(NAME a) {                                                          \
        const R square = a.re * a.re + a.im * a.im;                                                      \
        return (NAME){a.re / square, -a.im / square};                                                    \
    }
COMPLEX(float, c64)
COMPLEX(double, c128)
COMPLEX(f32x16, c64x16)
COMPLEX(f64x8, c128x8)

static inline c64 floored_c64(c64 a) {
    const int tiny = fabsf(a.re) < SMALLEST_f32 && fabsf(a.im) < SMALLEST_f32;
    return (c64){tiny ? SMALLEST_f32 : a.re, tiny ? 0 : a.im};
}
static inline c128 floored_c128(c128 a) {
    const int tiny = fabs(a.re) < SMALLEST_f64 && fabs(a.im) < SMALLEST_f64;
    return (c128){tiny ? SMALLEST_f64 : a.re, tiny ? 0 : a.im};
}
static inline c64x16 floored_c64x16(c64x16 a) {
    const f32x16 tiny = __builtin_convertvector(a.re < SMALLEST_f32 & a.re > -SMALLEST_f32
                                                & a.im < SMALLEST_f32 & a.im > -SMALLEST_f32, f32x16);
    return (c64x16){a.re + tiny * (a.re - SMALLEST_f32), a.im + tiny * a.im};
}
static inline c128x8 floored_c128x8(c128x8 a) {
    const f64x8 tiny = __builtin_convertvector(a.re < SMALLEST_f64 & a.re > -SMALLEST_f64
                                               & a.im < SMALLEST_f64 & a.im > -SMALLEST_f64, f64x8);
    return (c128x8){a.re + tiny * (a.re - SMALLEST_f64), a.im + tiny * a.im};
}

#define TILE 2 /* a number takes two registers */
#define ZERO {{0}, {0}}
#define PLUS(a, b) JOIN(plus_, V)(a, b)
#define TIMES(a, b) JOIN(times_, V)(a, b)
#define LESS(x, a, b) JOIN(less_, V)(x, a, b)
#define INVERSE(a) JOIN(inverse_, V)(a)

#define V c64
#define NAME(function) function##_complex64
#include "nested_dissection.h"

#define V c128
#define NAME(function) function##_complex128
#include "nested_dissection.h"

#define V c64x16
#define NAME(function) function##_complex64_lanes
#include "nested_dissection.h"

#define V c128x8
#define NAME(function) function##_complex128_lanes
#include "nested_dissection.h"
