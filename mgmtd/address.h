/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - addresses of this machine and others, as text: a number or a
 * name, IPv6 without brackets. */
#ifndef CFS_MGMTD_ADDRESS_H
#define CFS_MGMTD_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_MAX 255u

/* This machine's first one that is not loopback, IPv4 before IPv6 and no
 * link-local one; else 127.0.0.1. */
void address_first(char *ret, size_t len);
/* What to listen on to be reached by all of them: "::", which is IPv4 too, or,
 * where the kernel has no IPv6, "0.0.0.0". */
const char *address_any(void);
/* The same number, however it is written, or the same text. */
bool address_same(const char *a, const char *b);

#endif
