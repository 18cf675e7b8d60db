/* SPDX-License-Identifier: Apache-2.0 */
/* xxh3.h - XXH3 with the widest vectors that this processor has. For whoever
 * checksums data: three times as fast as what libxxhash's plain names are
 * where it was built for any x86-64 (SSE2).
 *
 * Under the plain names: XXH3_64bits(), XXH3_64bits_withSeed(), ... The
 * library looks at the processor at the first call, in any thread; a call
 * that comes meanwhile looks, too, and finds the same.
 */
#ifndef CFS_CORE_XXH3_H
#define CFS_CORE_XXH3_H

#include <xxhash.h>

#ifdef CFS_XXH3_DISPATCH
#include <xxh_x86dispatch.h>
#endif

#endif
