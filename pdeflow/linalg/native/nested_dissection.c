/* Multifrontal Gaussian elimination of matrices of one pattern, several systems side by side.

   All systems are eliminated in the same order, so every operation is one on vectors with a number of each:
   no front is too small for that, as it would be for a library of dense matrices. */

#include <stdint.h>
#include <string.h>

/* Of a row of the table: pivots; size of the front; where its places, its assembly, its factors and its update
   matrix are; then for two children the size of their update, where its places in this front are, and itself. */
enum { PIVOTS, SIZE, FRONT, ASSEMBLY, ASSEMBLED, KEPT, LEFT, CHILD, COLUMNS = 13 };

#define PANEL 16 /* pivots that are eliminated before the rest of the front is touched */
#define TILE 4

typedef float f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef double f64x8 __attribute__((vector_size(64), aligned(8), may_alias));

#define LANES
#define V f32x16
#define NAME(function) function##_float32_lanes
#include "nested_dissection.h"

#define V f64x8
#define NAME(function) function##_float64_lanes
#include "nested_dissection.h"

#undef LANES
#define V float
#define NAME(function) function##_float32
#include "nested_dissection.h"

#define V double
#define NAME(function) function##_float64
#include "nested_dissection.h"
