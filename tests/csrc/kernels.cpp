// Every kernel at every level that this processor has, against the plain level.
//
//     kernels                                       check all; the levels that were checked are printed
//     kernels network LEVEL DUMP INPUT OUTPUT H W   run the network of a dump (dumps.py) on an image
//     kernels operator LEVEL DUMP OUTPUT NAME       run the step of a plan that a dump has
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <string>
#include <vector>

#include "engine/conv_weights.h"
#include "engine/engine.h"
#include "engine/operators.h"
#include "random.h"
#include "simd/levels.h"

using namespace compsrt;

namespace compsrt {
#define LEVEL(NAME) extern const char* check_vectors_##NAME();
#include "simd/level_names.h"
#undef LEVEL
}  // namespace compsrt

static const std::map<std::string, const char* (*)()> vectors = {
#define LEVEL(NAME) {#NAME, check_vectors_##NAME},
#include "simd/level_names.h"
#undef LEVEL
};

static int failures = 0;

static void check(bool holds, const char* level, const char* what) {
    if (holds) return;
    printf("FAILED %s: %s\n", level, what);
    failures++;
}

static std::vector<float> filled(Random& random, size_t count, float low, float high) {
    std::vector<float> x(count);
    for (float& value : x) value = random.uniform(low, high);
    return x;
}

static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && !memcmp(a.data(), b.data(), sizeof(float) * a.size());
}

static bool close(const std::vector<float>& a, const std::vector<float>& b, float tolerance) {
    for (size_t i = 0; i < a.size(); i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance)) return false;
    return a.size() == b.size();
}

// All results of fake quantization, one after the other.
static std::vector<float> fake_quantized(const LevelKernels& level) {
    Random random;
    std::vector<float> signs(256), found;
    for (float& sign : signs) sign = random.integer(0, 1) ? 1 : -1;
    const int64_t rows = 131;
    for (int width : {10, 16, 60, 100, 180, 256})
        for (int transform : {kNone, kHadamard, kSoftmax})
            for (int variant = 0; variant < 8; variant++) {
                const int invert = variant & 1 || transform != kHadamard, per_token = variant & 2, with_signs = variant & 4;
                int vectors = 1;
                while (16 * vectors < width) vectors *= 2;
                const float scale = 0.21f, zero = -0.8f;
                const FakeQuantize how = {rows,   width,     vectors, (Transform)transform,
                                          invert, with_signs ? signs.data() : nullptr, &scale, &zero,
                                          0,      per_token != 0, 7.0f, 1};
                const size_t inputs = rows * width, outputs = invert ? inputs : rows * vectors * 16;
                const std::vector<float> x = filled(random, inputs, -1, 1), grad = filled(random, outputs, -1, 1);
                std::vector<float> y(outputs), again(outputs), grad_x(inputs), sums(2);
                level.calibration->fake_quantize(how, x.data(), y.data());
                level.calibration->fake_quantize_backward(how, x.data(), grad.data(),
                                                          {grad_x.data(), &sums[0], &sums[1], again.data()});
                check(same(y, again), level.name, "the backward pass gives the output once more");
                for (const auto& part : {y, grad_x, sums}) found.insert(found.end(), part.begin(), part.end());
            }
    return found;
}

static std::vector<float> scanned(const LevelKernels& level) {
    Random random;
    std::vector<float> found;
    for (int states : {8, 16}) {
        const int64_t batch = 2, length = 70, channels = 11, steps = batch * length;
        std::vector<std::vector<float>> x, grads;
        const size_t sizes[] = {(size_t)(steps * channels), (size_t)(steps * channels), (size_t)(channels * states),
                                (size_t)(steps * states),   (size_t)(steps * states),   (size_t)channels,
                                (size_t)channels};
        for (size_t size : sizes) {
            x.push_back(filled(random, size, -1, 1));
            grads.emplace_back(size);
        }
        for (float& value : x[2]) value = -fabsf(value);
        const Scan scan = {x[0].data(), x[1].data(), x[2].data(), x[3].data(), x[4].data(), x[5].data(),
                           x[6].data(), batch,       length,      channels,    states,      1};
        std::vector<float> y(steps * channels);
        level.calibration->selective_scan(scan, y.data());
        level.calibration->selective_scan_backward(
            scan, y.data(),
            {grads[0].data(), grads[1].data(), grads[2].data(), grads[3].data(), grads[4].data(), grads[5].data(),
             grads[6].data()});
        found.insert(found.end(), y.begin(), y.end());
        for (const auto& part : grads) found.insert(found.end(), part.begin(), part.end());
    }
    return found;
}

static std::vector<float> normed(const LevelKernels& level) {
    Random random;
    const int channels = 20, lanes = 16;
    const std::vector<float> weight = filled(random, channels, 0, 2), bias = filled(random, channels, -1, 1);
    const std::vector<float> x = filled(random, 4 * channels * lanes, -3, 3);
    std::vector<float> y(x.size());
    const float* in[4];
    float* out[4];
    for (int i = 0; i < 4; i++) in[i] = x.data() + i * channels * lanes, out[i] = y.data() + i * channels * lanes;
    level.inference->norm({weight.data(), bias.data(), 1e-5f}, in, out, channels, lanes);
    return y;
}

// A 3×3 convolution of 5 channels to 7, beside the sums that define it.
static void check_conv(const LevelKernels& level) {
    Random random;
    const int inputs = 5, outputs = 7, height = 8, width = 32, pitch = 48;
    const std::vector<float> weight = filled(random, inputs * outputs * 9, -1, 1), bias = filled(random, outputs, -1, 1);
    const std::vector<float> in = filled(random, inputs * (height + 2) * pitch + 64, -1, 1);
    const PackedConv packed = pack({inputs, outputs, 1.0f, weight.data(), bias.data()}, level.inference->conv_rows);
    const int rows = packed.blocks * level.inference->conv_rows;
    std::vector<float> out(rows * height * pitch), line(kDown * pitch + 64), mixed(kDown * kAcross * inputs * pitch / 2),
        sums(kDown * kAcross * rows * pitch / 2);
    level.inference->conv(packed.weight.data(), packed.bias.data(), in.data(), out.data(), inputs, packed.blocks, height,
                          width, pitch, line.data(), mixed.data(), sums.data());
    float worst = 0;
    for (int o = 0; o < outputs; o++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                double sum = bias[o];
                for (int c = 0; c < inputs; c++)
                    for (int k = 0; k < 9; k++)
                        sum += (double)weight[(o * inputs + c) * 9 + k] *
                               in[(c * (height + 2) + y + k / 3) * pitch + x + k % 3];
                worst = fmaxf(worst, fabsf((float)sum - out[(o * height + y) * pitch + x]));
            }
    check(worst < 1e-4f, level.name, "convolution");
}

static std::vector<char> content(const char* path) {
    FILE* file = fopen(path, "rb");
    if (!file) exit(3);
    std::vector<char> bytes;
    char part[65536];
    for (size_t count; (count = fread(part, 1, sizeof part, file)) > 0;) bytes.insert(bytes.end(), part, part + count);
    fclose(file);
    return bytes;
}

// A dump is a list of (address, bytes, whether they hold addresses), each followed by its bytes. Return where the last
// one, what is to be run, is now. An address may point into a part.
static char* loaded(const char* path) {
    const std::vector<char> dump = content(path);
    struct Part {
        char* bytes;
        int64_t size, has_addresses;
    };
    std::map<int64_t, Part> parts;
    char* last = nullptr;
    for (size_t at = 0; at < dump.size();) {
        int64_t head[3];
        memcpy(head, dump.data() + at, sizeof head);
        last = (char*)aligned_alloc(64, (head[1] + 63) / 64 * 64);
        memcpy(last, dump.data() + at + sizeof head, head[1]);
        parts[head[0]] = {last, head[1], head[2]};
        at += sizeof head + head[1];
    }
    for (auto& [address, part] : parts)
        for (int64_t i = 0; part.has_addresses && i + 8 <= part.size; i += 8) {
            int64_t word;
            memcpy(&word, part.bytes + i, 8);
            auto found = parts.upper_bound(word);
            if (found == parts.begin() || word >= (--found)->first + found->second.size) continue;
            char* const here = found->second.bytes + (word - found->first);
            memcpy(part.bytes + i, &here, 8);
        }
    return last;
}

static const LevelKernels& level_named(const std::string& name) {
    for (int i = 0; i < level_count; i++)
        if (name == level_table[i].name && level_table[i].available()) return level_table[i];
    exit(2);
}

static void write(const char* path, const void* data, size_t bytes) {
    FILE* file = fopen(path, "wb");
    fwrite(data, 1, bytes, file);
    fclose(file);
}

static void run_network(char** arguments) {
    const Network& network = *(const Network*)loaded(arguments[1]);
    const std::vector<char> image = content(arguments[2]);
    const int h = atoi(arguments[4]), w = atoi(arguments[5]);
    Engine engine(network, *level_named(arguments[0]).inference, 2);
    std::vector<float> out((size_t)network.out_channels * h * w * network.scale * network.scale);
    engine.run((const float*)image.data(), out.data(), h, w);
    write(arguments[3], out.data(), sizeof(float) * out.size());
}

// What dumps.py writes last of a step: the operator's arguments, and the tensor that it writes.
struct Call {
    void *first, *second, *output;
    int64_t bytes;
};

static void run_operator(char** arguments) {
    const Call& call = *(const Call*)loaded(arguments[1]);
    Operators operators(*level_named(arguments[0]).inference, 2);
    const std::string name = arguments[3];
    if (name == "attention") operators.attention(*(Attention*)call.first, *(AttentionCall*)call.second);
    else if (name == "rows") operators.rows(*(RowsCall*)call.first);
    else if (name == "moments") operators.moments(*(MomentsCall*)call.first);
    else if (name == "reduction") operators.reduction(*(ReductionCall*)call.first);
    else if (name == "gram") operators.gram(*(GramCall*)call.first);
    else if (name == "mix") operators.mix(*(MixCall*)call.first);
    else if (name == "depthwise") operators.depthwise(*(DepthwiseCall*)call.first);
    else if (name == "convolution") operators.convolution(*(ConvolutionCall*)call.first);
    else if (name == "elementwise") operators.elementwise(*(ElementwiseCall*)call.first);
    else exit(4);
    write(arguments[2], call.output, call.bytes);
}

int main(int count, char** arguments) {
    if (count > 1) {
        (arguments[1] == std::string("network") ? run_network : run_operator)(arguments + 2);
        return 0;
    }
    const LevelKernels& plain = level_table[level_count - 1];
    for (int i = 0; i < level_count; i++) {
        const LevelKernels& level = level_table[i];
        if (!level.available()) continue;
        if (const char* failed = vectors.at(level.name)()) check(false, level.name, failed);
        check(same(fake_quantized(level), fake_quantized(plain)), level.name, "fake quantization, to the bit");
        check(same(scanned(level), scanned(plain)), level.name, "selective scan, to the bit");
        check(close(normed(level), normed(plain), 1e-5f), level.name, "layer norm");
        check_conv(level);
        printf("checked %s\n", level.name);
    }
    return failures != 0;
}
