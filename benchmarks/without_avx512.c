/* Preloaded into a process on x86-64 Linux, it hides AVX-512, AMX and what came after AVX2 from every library in it.
 *
 * The kernel lets the processor fault on CPUID (arch_prctl ARCH_SET_CPUID); the handler asks it after all and leaves
 * those features out of the answer. Libraries that choose their code by CPUID, and all of those measured here do,
 * then run as on a processor that has AVX2 and no more. libc is resolved before and keeps its own copies.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012, FEATURES = 7 };

static struct sigaction before;

static long faulting(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void leave_out(uint32_t leaf, uint32_t part, uint32_t *eax, uint32_t *ebx, uint32_t *ecx, uint32_t *edx) {
  if (leaf == FEATURES && part == 0) {
    /* F, DQ, IFMA, PF, ER, CD, BW, VL */
    *ebx &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
    /* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
    *ecx &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
    /* 4VNNIW, 4FMAPS, VP2INTERSECT, AMX-BF16, FP16, AMX-TILE, AMX-INT8 */
    *edx &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
  }
  if (leaf == FEATURES && part == 1) {
    *eax &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23); /* AVX-VNNI, BF16, AMX-FP16, AVX-IFMA */
    *edx &= ~(1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19); /* VNNI-INT8, NE-CONVERT, AMX, VNNI-INT16, AVX10 */
  }
}

static void answer(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  (void)signal;
  if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) { /* a fault of another kind: as without us */
    sigaction(SIGSEGV, &before, NULL);
    return;
  }
  uint32_t leaf = (uint32_t)registers[REG_RAX], part = (uint32_t)registers[REG_RCX], eax, ebx, ecx, edx;
  faulting(0);
  __cpuid_count(leaf, part, eax, ebx, ecx, edx);
  faulting(1);
  leave_out(leaf, part, &eax, &ebx, &ecx, &edx);
  registers[REG_RAX] = eax, registers[REG_RBX] = ebx, registers[REG_RCX] = ecx, registers[REG_RDX] = edx;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
  sigaction(SIGSEGV, &action, &before);
  if (faulting(1)) sigaction(SIGSEGV, &before, NULL); /* this processor cannot */
}
