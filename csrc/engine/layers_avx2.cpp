// The engine for avx2; see layers_stamped.h.
#define FASTGAN_STAMP_AVX2
#include "engine/layers_stamped.h"
