// Closes the region that stamp_begin.h opened.
#if FASTGAN_VECTOR_FLOATS != 4
#if defined(__clang__)
#pragma clang attribute pop
#elif defined(FASTGAN_STAMP_X86)
#pragma GCC pop_options
#endif
#endif
