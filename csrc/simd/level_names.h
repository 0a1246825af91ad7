// LEVEL(name) for each level of this kind of processor, best first; csrc/levels.py says how each is compiled.
#if defined(__x86_64__)
LEVEL(avx512)
LEVEL(avx512bw)
LEVEL(avxvnni)
LEVEL(avx2)
#elif defined(__aarch64__)
LEVEL(neon)
#endif
LEVEL(plain)
