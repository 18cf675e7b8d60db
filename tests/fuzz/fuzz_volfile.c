/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_volfile.c - what parses prints, and the print parses again. */
#include <stdlib.h>

#include "volfiles/volfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cfs_volfile *v, *again;
    char *text, *text2;
    size_t len, len2;

    if (cfs_volfile_parse((const char *)data, size, &v, NULL) < 0)
        return 0;
    assert(cfs_volfile_print(v, &text, &len) == 0);
    if (len <= CFS_VOLFILE_MAX) {
        assert(cfs_volfile_parse(text, len, &again, NULL) == 0);
        assert(cfs_volfile_same_shape(v, again));
        assert(cfs_volfile_print(again, &text2, &len2) == 0);
        assert(len == len2 && memcmp(text, text2, len) == 0);
        free(text2);
        cfs_volfile_free(again);
    }
    free(text);
    cfs_volfile_free(v);
    return 0;
}
