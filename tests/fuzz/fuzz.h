/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - what a fuzz target is: one function that is given bytes, and one
 * that makes valid bytes to start from.
 *
 * With clang a target is a libFuzzer program. With any other compiler
 * fuzz_main.c drives it: over files that are named on the command line, or
 * over damaged samples for about a second, which the unit suite does.
 */
#ifndef CFS_TESTS_FUZZ_FUZZ_H
#define CFS_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The @n-th sample (any @n will do) into @ret; its length. A target without
 * this is given random bytes. */
size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max);

#endif
