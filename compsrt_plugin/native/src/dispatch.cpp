// The functions that Python calls, at the best level that this processor has.
#include "fake_quantize.h"
#include "selective_scan.h"

namespace {

enum Level { PLAIN, AVX2, AVX512 };

Level best() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
    return PLAIN;
}

constexpr int WIDEST = 256;

// The Rudin-Shapiro signs of `quant.hadamard_transforms`: -1 to the number of pairs 11 in n
struct Signs {
    float of[WIDEST];
    Signs() {
        for (unsigned n = 0; n < WIDEST; ++n) of[n] = __builtin_parity(n & (n >> 1)) ? -1.0f : 1.0f;
    }
};

const Signs signs;

Domain domain_of(int width, int transform, int invert) {
    const bool is_signed = transform == 3;
    return {width, is_signed ? 1 : transform, invert, is_signed ? signs.of : nullptr};
}

const Level available = best();
Level level = available;

#if defined(__x86_64__)
#define AT_LEVEL(FUNCTION, ...)                                              \
    return level == AVX512 ? FUNCTION##_avx512(__VA_ARGS__)                  \
                           : level == AVX2 ? FUNCTION##_avx2(__VA_ARGS__) : FUNCTION##_plain(__VA_ARGS__)
// no code of its own for AVX-512: eight channels fill a vector of AVX2
#define SCAN_AT_LEVEL(FUNCTION, ...) \
    return level == PLAIN ? FUNCTION##_plain(__VA_ARGS__) : FUNCTION##_avx2(__VA_ARGS__)
#else
#define AT_LEVEL(FUNCTION, ...) return FUNCTION##_plain(__VA_ARGS__)
#define SCAN_AT_LEVEL AT_LEVEL
#endif

}  // namespace

extern "C" {

// Use at most this level from now on (tests); returns the one in use.
int compsrt_level(int wanted) {
    level = wanted < available ? static_cast<Level>(wanted) : available;
    return level;
}

int compsrt_fake_quantize(const float *x, float *y, int64_t rows, int vectors, int width, int transform, int invert,
                          const float *scale, const float *zero_point, int per_row, int per_token, float top, int threads) {
    AT_LEVEL(forward, x, y, rows, vectors, domain_of(width, transform, invert),
             {scale, zero_point, per_row, per_token, top}, threads);
}

int compsrt_fake_quantize_backward(const float *x, const float *grad, float *grad_x, float *y, float *grad_scale,
                                   float *grad_zero, int64_t rows, int vectors, int width, int transform, int invert,
                                   const float *scale, const float *zero_point, int per_row, int per_token, float top,
                                   int threads) {
    AT_LEVEL(backward, x, grad, grad_x, y, grad_scale, grad_zero, rows, vectors, domain_of(width, transform, invert),
             {scale, zero_point, per_row, per_token, top}, threads);
}

int compsrt_selective_scan(float *y, const float *u, const float *delta, const float *A, const float *B, const float *C,
                           const float *D, const float *delta_bias, int64_t batch, int64_t length, int64_t channels,
                           int states, int threads) {
    const Scan scan = {u, delta, A, B, C, D, delta_bias, batch, length, channels};
    SCAN_AT_LEVEL(scan_forward, scan, states, y, threads);
}

int compsrt_selective_scan_backward(const float *grad, float *grad_u, float *grad_delta, float *grad_A, float *grad_B,
                                    float *grad_C, float *grad_D, float *grad_bias, const float *u, const float *delta,
                                    const float *A, const float *B, const float *C, const float *D,
                                    const float *delta_bias, int64_t batch, int64_t length, int64_t channels,
                                    int states, int threads) {
    const Scan scan = {u, delta, A, B, C, D, delta_bias, batch, length, channels};
    const ScanGradients to = {grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_bias};
    SCAN_AT_LEVEL(scan_backward, scan, states, grad, to, threads);
}

}  // extern "C"
