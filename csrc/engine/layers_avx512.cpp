// The engine for avx512; see layers_stamped.h.
#define FASTGAN_STAMP_AVX512
#include "engine/layers_stamped.h"
