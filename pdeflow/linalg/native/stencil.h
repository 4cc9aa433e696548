/* Stencil times vector in single and in double precision: see stencil_real.h. */

#ifndef PDEFLOW_STENCIL_H
#define PDEFLOW_STENCIL_H

#include <stdint.h>

#define REAL float
#define NAME(x) x##_f32
#include "stencil_real.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(x) x##_f64
#include "stencil_real.h"
#undef REAL
#undef NAME

#endif
