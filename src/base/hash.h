/* Hashing of peer-chosen keys: SipHash-1-3 keyed once per process (against collision floods), and
 * FNV-1a for stable hashes that outlive the process (template hashes, names). */
#pragma once

#include "base/base.h"

uint64_t hash_bytes(const void *p, size_t n);
/* Fixed key, for the simulator and tests that need the same order every run. Call before any map is
 * made. */
void hash_seed(uint64_t k0, uint64_t k1);
uint32_t hash_fnv1a32(const void *p, size_t n);
uint64_t hash_fnv1a64(const void *p, size_t n);
