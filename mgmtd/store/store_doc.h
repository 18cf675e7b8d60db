/* SPDX-License-Identifier: Apache-2.0 */
/* store_doc.h - between store_doc.c and lineage.c. */
#ifndef CFS_MGMTD_STORE_DOC_H
#define CFS_MGMTD_STORE_DOC_H

#include "mgmtd/store/store.h"

#define DOC_FORMAT 1

/* Over lineage, revision and the records, as they stand. */
void store_doc_seal(json_t *doc);

#endif
