// The vector functions of one level against loops over their lanes. Compiled once a level, as kernels are.
#include <math.h>
#include <string.h>

#include "engine/network.h"
#include "engine/scratch.h"
#include "random.h"
#include "simd/simd.h"

namespace compsrt {
namespace {
#include COMPSRT_SIMD

#include "simd/math-inl.h"

#include "kernels/codes-inl.h"
#include "kernels/hadamard-inl.h"

const char* failed = nullptr;

#define CHECK(CONDITION) \
    if (!(CONDITION) && !failed) failed = #CONDITION

struct Row {
    float at[W];
    explicit Row(F v) { store(at, v); }
    float operator[](int i) const { return at[i]; }
};

struct Words {
    int32_t at[W];
#if COMPSRT_INTEGER
    explicit Words(I v) { istore(at, v); }
#endif
};

F random_row(Random& random, float spread) {
    float x[W];
    for (float& value : x) value = random.uniform(-spread, spread);
    return load(x);
}

template <int K>
void check_lanes(F a) {
    const Row x(a), moved(swapped<K>(a)), summed(lane_butterfly<K>(a));
    for (int i = 0; i < W; i++) {
        CHECK(moved[i] == x[i ^ K]);
        CHECK(summed[i] == (i & K ? x[i ^ K] - x[i] : x[i] + x[i ^ K]));
    }
}

void check_floats(Random& random) {
    const F a = random_row(random, 300), b = random_row(random, 300);
    const Row x(a), y(b);
    const Row most(larger(a, b)), least(smaller(a, b)), size(magnitude(a)), rounded(nearest(a));
    const Row roots(square_root(magnitude(a))), scaled(times_power(a, all(-3.0f)));
    const Row code(code_of(a, all(255.0f)));
    for (int i = 0; i < W; i++) {
        CHECK(most[i] == fmaxf(x[i], y[i]) && least[i] == fminf(x[i], y[i]) && size[i] == fabsf(x[i]));
        CHECK(rounded[i] == nearbyintf(x[i]) && roots[i] == sqrtf(fabsf(x[i])) && scaled[i] == x[i] / 8);
        CHECK(code[i] == fminf(fmaxf(nearbyintf(x[i]), 0), 255));
    }
    const float unknown = Row(code_of(all(NAN), all(7.0f)))[0];
    CHECK(unknown != unknown);  // std::isnan would be a function that levels share
    for (int half = -3; half < 4; half++) CHECK(Row(nearest(all(half + 0.5f)))[0] == nearbyintf(half + 0.5f));
    check_lanes<1>(a);
    check_lanes<2>(a);
    if constexpr (W > 4) check_lanes<4>(a);
    if constexpr (W > 8) check_lanes<8>(a);
    const F even = evens(a, b), odd = odds(a, b);
    CHECK(!memcmp(Row(woven_first(even, odd)).at, x.at, sizeof x.at));
    CHECK(!memcmp(Row(woven_last(even, odd)).at, y.at, sizeof y.at));
    for (int count = 0; count < W; count++) {
        float kept[W];
        memcpy(kept, y.at, sizeof kept);
        store_some(kept, a, count);
        const Row some(load_some(x.at, count));
        for (int i = 0; i < W; i++) {
            CHECK(some[i] == (i < count ? x[i] : 0));
            CHECK(kept[i] == (i < count ? x[i] : y[i]));
        }
    }
}

void check_functions(Random& random) {
    F x[2] = {random_row(random, 6), random_row(random, 1)}, y[2] = {x[0], x[1]};
    gelu(y);
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < W; i++) {
            const double u = Row(x[v])[i];
            CHECK(fabs(Row(y[v])[i] - 0.5 * u * erfc(-u / sqrt(2.0))) < 1e-6);
        }
    const F negative = magnitude(x[0]) * all(-20.0f);
    for (int i = 0; i < W; i++) {
        const double wanted = exp2((double)Row(negative)[i]);
        CHECK(fabs(Row(power_of_two(negative))[i] - wanted) <= 3e-7 * wanted);
    }
}

void check_hadamard(Random& random) {
    for (int m = 1; m <= 256; m *= 2) {
        static float x[256 * W], before[256 * W];
        for (int i = 0; i < m * W; i++) before[i] = x[i] = random.integer(-8, 8);  // sums are exact
        hadamard_in_place(x, m, W);
        for (int row = 0; row < m; row++)
            for (int lane = 0; lane < W; lane++) {
                float sum = 0;
                for (int k = 0; k < m; k++)
                    sum += __builtin_parity(row & k) ? -before[k * W + lane] : before[k * W + lane];
                CHECK(x[row * W + lane] == sum);
            }
    }
    for (int T = 16; T <= 256; T *= 2) {
        float x[256], before[256];
        for (int i = 0; i < T; i++) before[i] = x[i] = random.integer(-8, 8);
        hadamard_of_lanes(x, T);
        for (int i = 0; i < T; i++) {
            float sum = 0;
            for (int k = 0; k < T; k++) sum += __builtin_parity(i & k) ? -before[k] : before[k];
            CHECK(x[i] == sum);
        }
    }
}

#if COMPSRT_INTEGER
void check_integers(Random& random) {
    uint8_t codes[4 * W];
    int8_t weights[4 * W];
    const int most = kSumBits == 16 ? 120 : 127;  // vpmaddubsw saturates above
    for (int i = 0; i < 4 * W; i++) {
        codes[i] = random.integer(0, kSumBits == 16 ? 127 : 255);
        weights[i] = random.integer(-most, most);
    }
    const Words sums(dot_end(dot(dot_begin(5), load_codes(codes), iload(weights))));
    const Words same(dot_end(dot(dot_begin(0), load_codes(codes), broadcast4(weights))));
    int16_t a[2 * W], b[2 * W];
    for (int i = 0; i < 2 * W; i++) a[i] = random.integer(-30000, 30000), b[i] = random.integer(-255, 255);
    const Words pairs((I)dot_pairs(pairs_begin(-7), iload(a), iload(b)));
    for (int i = 0; i < W; i++) {
        int sum = 5, same_sum = 0;
        for (int k = 0; k < 4; k++) {
            const int code = codes[4 * i + k] - kCodeShift;
            sum += code * weights[4 * i + k];
            same_sum += code * weights[k];
        }
        CHECK(sums.at[i] == sum && same.at[i] == same_sum);
        CHECK(pairs.at[i] == a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1] - 7);
    }
    const F rows[4] = {random_row(random, 90), random_row(random, 90), random_row(random, 9), random_row(random, 4e5f)};
    uint8_t bytes[4 * W];
    istore(bytes, codes4(rows[0], rows[1], rows[2], rows[3], all_bytes(63)));
    uint16_t halves[2 * W];
    istore(halves, codes2(rows[0], rows[2], iall(63 << 16 | 63)));
    int16_t stored[W];
    store_16bit(stored, rows[0]);
    const auto wanted = [](float x) { return (int)fminf(fmaxf(nearbyintf(x), 0), 63); };
    for (int i = 0; i < W; i++) {
        for (int r = 0; r < 4; r++) CHECK(bytes[4 * i + r] == wanted(Row(rows[r])[i]));
        CHECK(halves[2 * i] == wanted(Row(rows[0])[i]) && halves[2 * i + 1] == wanted(Row(rows[2])[i]));
        CHECK(stored[i] == nearbyintf(Row(rows[0])[i]));
    }
    const Words less(subtract_bytes(iload(codes), all_bytes(3)));
    for (int i = 0; i < 4 * W; i++) CHECK(((uint8_t*)less.at)[i] == (uint8_t)(codes[i] - 3));
    const Words low(low_half(iload(a))), high(high_half(iload(a)));
    for (int i = 0; i < W; i++) CHECK((low.at[i] | high.at[i]) == ((int32_t*)a)[i] && low.at[i] == (uint16_t)a[2 * i]);
}
#endif
}  // namespace

// What failed, or null.
extern const char* COMPSRT_NAMED(check_vectors_, COMPSRT_LEVEL)() {
    Random random;
    for (int round = 0; round < 200; round++) {
        check_floats(random);
        check_functions(random);
#if COMPSRT_INTEGER
        check_integers(random);
#endif
    }
    check_hadamard(random);
    return failed;
}
}  // namespace compsrt
