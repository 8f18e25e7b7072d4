// The engine for portable; see layers_stamped.h.
#include "engine/layers_stamped.h"
