/* SPDX-License-Identifier: Apache-2.0 */
/* window.c - room ahead of files that are being written: a file that grows
 * finds the blocks behind its last one still free, whoever else writes.
 *
 * A window is a promise in memory and nothing more: its blocks are free, and
 * count as free; others only look elsewhere first. When nothing else is to be
 * had, all windows are forgotten. A stream is known by where it goes on: the
 * block behind its last one is its window's start.
 */
#include "xlators/storage/block/engine/engine_int.h"

#define WIN_FIRST 256u  /* blocks: the first window of a stream */
#define WIN_MAX   4096u /* each further one is twice as long, up to this */
#define WIN_SHARE 64u   /* of what is free, at most the one in so many */

static struct window *window_at(struct space *s, uint64_t goal)
{
    for (unsigned i = 0; i < WINDOWS; i++)
        if (s->window[i].end != 0 && s->window[i].next == goal)
            return &s->window[i];
    return NULL;
}

static struct window *window_oldest(struct space *s)
{
    struct window *old = &s->window[0];

    for (unsigned i = 1; i < WINDOWS; i++)
        if (s->window[i].used < old->used)
            old = &s->window[i];
    return old;
}

uint64_t window_behind(const struct space *s, struct eng_ext ext,
                       uint64_t goal)
{
    for (unsigned i = 0; s->n_windows > 0 && i < WINDOWS; i++) {
        const struct window *w = &s->window[i];

        if (w->next != goal && ext.lba < w->end && w->next < ext.lba + ext.n)
            return w->end;
    }
    return 0;
}

uint32_t window_want(struct space *s, uint64_t goal, uint32_t n)
{
    const struct window *w = window_at(s, goal);
    uint32_t len = w ? w->len * 2 : WIN_FIRST;
    uint64_t share = s->free / WIN_SHARE;

    if (len < n)
        len = n;
    if (len > WIN_MAX)
        len = WIN_MAX;
    if (len > share)
        len = (uint32_t)share;
    return len >= n ? len : 0;
}

void window_took(struct space *s, uint64_t goal, struct eng_ext ext,
                 uint32_t more)
{
    struct window *w = window_at(s, goal);

    if (more == 0 && !(w && ext.lba == goal))
        return; /* it has none, and gets none */
    if (!w) {
        w = window_oldest(s);
        s->n_windows += w->end == 0;
        *w = (struct window){.len = more};
    }
    w->used = ++s->window_clock;
    if (more > 0)
        w->end = ext.lba + ext.n + more;
    if (more > 0 && ext.lba != goal)
        w->len = more; /* it moved: the next one will be longer */
    w->next = ext.lba + ext.n;
    if (w->end < w->next)
        w->end = w->next;
}

bool windows_forget(struct space *s)
{
    bool any = s->n_windows > 0;

    for (unsigned i = 0; any && i < WINDOWS; i++)
        s->window[i] = (struct window){0};
    s->n_windows = 0;
    return any;
}
