/* SPDX-License-Identifier: Apache-2.0 */
/* volume_set.c - the verbs set, reset and get: options of a volume.
 *
 *     all keys and values are checked by the tables of the translators that
 *     they go to -> the record's options change, its generation grows: one
 *     transaction -> the watch on the record tells everybody who has a volfile
 *     to fetch it again (volume.c), and they take over what may change while
 *     they run
 *
 * Several options in one command change together or not at all. When somebody
 * else changed the volume meanwhile, the change is made again to what is there
 * now.
 */
#include <stdio.h>

#include "core/opt.h"
#include "mgmtd/access.h"
#include "mgmtd/mgmtd.h"
#include "volfiles/voption.h"

#define TRIES       8u
#define OPTIONS_MAX 64u

struct set {
    struct command *c;
    struct volume  *vol;
    json_t         *wanted;  /* option -> text, or null: to its default;
                                NULL: all to their defaults */
    json_t         *changed; /* the answer's: what is not as it was */
    unsigned        tries;
    options_done   *done;
};

/* -- the end ------------------------------------------------------------- */

static void set_end(struct set *s, const struct cfs_err *err)
{
    struct command *c = s->c;
    struct volume *vol = s->vol;
    json_t *changed = s->changed;
    options_done *done = s->done;

    json_decref(s->wanted);
    free(s);
    done(c, vol, changed, err);
    json_decref(changed);
    volume_unref(vol);
}

/* Of set and reset. */
static void answer_changed(struct command *c, struct volume *vol,
                           json_t *changed, const struct cfs_err *err)
{
    if (err->code == 0)
        command_ok(c, mem_ok(json_pack("{s:s,s:I,s:O}", "name", vol->name,
                                       "generation",
                                       (json_int_t)vol->generation,
                                       "changed", changed)));
    else
        command_fail(c, err);
}

/* -- the change ---------------------------------------------------------- */

static void note(struct set *s, const char *key, const char *value)
{
    struct cfs_vopt_info info;
    const char *when = "";

    if (cfs_vopt_describe(key, &info, NULL) == 0)
        when = cfs_vopt_when_str(s->vol->state == VOL_STARTED
                                     ? info.when
                                     : CFS_VOPT_AT_ONCE);
    json_array_append_new(
        s->changed, mem_ok(json_pack("{s:s,s:s?,s:s}", "option", key, "value",
                                     value, "takes_effect", when)));
}

static void change_wanted(struct set *s, json_t *options)
{
    const char *key;
    json_t *value;

    json_object_foreach(s->wanted, key, value) {
        if (json_is_null(value)) {
            if (json_object_del(options, key) == 0)
                note(s, key, NULL);
        } else if (!json_equal(json_object_get(options, key), value)) {
            json_object_set(options, key, value);
            note(s, key, json_string_value(value));
        }
    }
}

static void drop_all(struct set *s, json_t *options)
{
    const char *key;
    json_t *value;

    json_object_foreach(options, key, value)
        note(s, key, NULL);
    json_object_clear(options);
}

/* Who was let in by the old auth.allow has a secret that is good no more:
 * spec.c. */
static void allow_anew(json_t *rec, const json_t *before)
{
    const json_t *was = json_object_get(json_object_get(before, "options"),
                                        "auth.allow");
    const json_t *is = json_object_get(json_object_get(rec, "options"),
                                       "auth.allow");

    if (!json_equal(was, is) && (was || is))
        json_object_set(rec, "allow_generation",
                        json_object_get(rec, "generation"));
}

static void commit(struct set *s);

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct set *s = arg;
    struct cfs_err why = {0};

    if (status == -CFS_E_CONFLICT && !s->vol->gone && ++s->tries < TRIES) {
        commit(s);
        return;
    }
    if (s->vol->gone)
        cfs_err_set(&why, -ENOENT, "volume %s was deleted meanwhile",
                    s->vol->name);
    else if (status < 0)
        why = *err;
    set_end(s, &why);
}

static json_t *options_of(json_t *rec)
{
    json_t *options = json_object_get(rec, "options");

    if (!json_is_object(options)) {
        options = mem_ok(json_object());
        json_object_set_new(rec, "options", options);
    }
    return options;
}

static void commit(struct set *s)
{
    json_t *rec = mem_ok(json_deep_copy(s->vol->rec));
    json_t *options = options_of(rec);
    struct cfs_err none = {0};

    json_array_clear(s->changed);
    if (s->wanted)
        change_wanted(s, options);
    else
        drop_all(s, options);
    if (json_array_size(s->changed) == 0) {
        json_decref(rec);
        set_end(s, &none);
        return;
    }
    rec_volume_set_state(rec, s->vol->state);
    allow_anew(rec, s->vol->rec);
    volume_replace(s->vol, rec, on_committed, s);
}

void volume_change_options(struct command *c, struct volume *vol,
                           json_t *wanted, options_done *done)
{
    struct set *s = mem_new(sizeof *s);

    s->c = c;
    s->vol = volume_ref(vol);
    s->wanted = wanted;
    s->changed = mem_ok(json_array());
    s->done = done;
    commit(s);
}

/* -- what was asked for -------------------------------------------------- */

static int check_values(struct command *c, const char *who,
                        struct cfs_err *err)
{
    json_t *options = json_object_get(c->args, "options"), *value;
    const char *key;
    int rc;

    if (json_object_size(options) == 0 ||
        json_object_size(options) > OPTIONS_MAX)
        return cfs_err_set(err, -EINVAL, "1 to %u options can be set at a "
                           "time", OPTIONS_MAX);
    json_object_foreach(options, key, value) {
        if (!json_is_string(value))
            return cfs_err_set(err, -EINVAL, "option %.80s: no text", key);
        rc = cfs_vopt_check(key, json_string_value(value), who, err);
        if (rc == 0)
            rc = access_option_check(key, json_string_value(value), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* An option that this version does not know may be in the record. */
static int check_name(const char *key, const json_t *rec, struct cfs_err *err)
{
    const struct cfs_vopt *row;

    if (!key)
        return cfs_err_set(err, -EINVAL, "an option's name is no text");
    if (json_object_get(json_object_get(rec, "options"), key))
        return 0;
    return cfs_vopt_find(key, &row, err);
}

void volume_set(struct command *c)
{
    struct cfs_err err = {0};
    struct volume *vol;
    char who[CFS_VOLUME_NAME_MAX + 16];
    int rc = volume_need(c->m, command_str(c, "name"), &vol, &err);

    if (rc == 0) {
        snprintf(who, sizeof who, "volume %s", vol->name);
        rc = check_values(c, who, &err);
    }
    if (rc < 0)
        command_fail(c, &err);
    else
        volume_change_options(c, vol,
                              json_incref(json_object_get(c->args,
                                                          "options")),
                              answer_changed);
}

void volume_reset(struct command *c)
{
    json_t *names = json_object_get(c->args, "options"), *name;
    json_t *wanted = mem_ok(json_object());
    struct cfs_err err = {0};
    struct volume *vol;
    int rc = volume_need(c->m, command_str(c, "name"), &vol, &err);
    size_t i;

    json_array_foreach(names, i, name) {
        if (rc == 0)
            rc = check_name(json_string_value(name), vol->rec, &err);
        if (rc == 0)
            json_object_set_new(wanted, json_string_value(name), json_null());
    }
    if (rc == 0 && json_array_size(names) > 0) {
        volume_change_options(c, vol, wanted, answer_changed);
        return;
    }
    json_decref(wanted);
    if (rc < 0)
        command_fail(c, &err);
    else
        volume_change_options(c, vol, NULL, answer_changed);
}

/* -- get ----------------------------------------------------------------- */

/* One option; @value is the volume's own, or NULL. */
static json_t *get_one(const struct cfs_vopt_info *i, const char *value)
{
    char accepts[200];

    cfs_opt_expected(&i->opt, accepts, sizeof accepts);
    return mem_ok(json_pack(
        "{s:s,s:s?,s:s,s:s?,s:s,s:s,s:s}", "option", i->key, "value",
        value ? value : i->opt.def, "from", value ? "volume" : "default",
        "default", i->opt.def, "takes_effect", cfs_vopt_when_str(i->when),
        "accepts", accepts, "help", i->opt.help ? i->opt.help : ""));
}

static int add_known(json_t *list, const json_t *own, const char *key,
                     struct cfs_err *err)
{
    struct cfs_vopt_info info;
    int rc = cfs_vopt_describe(key, &info, err);

    if (rc == 0)
        json_array_append_new(
            list, get_one(&info, json_string_value(json_object_get(own,
                                                                   key))));
    return rc;
}

/* In the record, but not in our table: a newer version's. */
static void add_unknown(json_t *list, json_t *own)
{
    const struct cfs_vopt *row;
    const char *key;
    json_t *value;

    json_object_foreach(own, key, value)
        if (cfs_vopt_find(key, &row, NULL) < 0)
            json_array_append_new(
                list, mem_ok(json_pack("{s:s,s:O,s:s,s:s}", "option", key,
                                       "value", value, "from", "volume",
                                       "help", "not known to this version")));
}

static int get_all(json_t *list, json_t *own, struct cfs_err *err)
{
    const char *last = "";
    int rc = 0;

    for (const struct cfs_vopt *o = cfs_vopts; o->key && rc == 0; o++) {
        if (strcmp(o->key, last) != 0)
            rc = add_known(list, own, o->key, err);
        last = o->key;
    }
    if (rc == 0)
        add_unknown(list, own);
    return rc;
}

void volume_get(struct command *c)
{
    const char *key = command_str(c, "option");
    json_t *list = mem_ok(json_array()), *own;
    struct cfs_err err = {0};
    struct volume *vol;
    int rc = volume_need(c->m, command_str(c, "name"), &vol, &err);

    if (rc == 0) {
        own = json_object_get(vol->rec, "options");
        rc = *key && strcmp(key, "all") != 0 ? add_known(list, own, key, &err)
                                             : get_all(list, own, &err);
    }
    if (rc < 0) {
        json_decref(list);
        command_fail(c, &err);
        return;
    }
    command_ok(c, mem_ok(json_pack("{s:s,s:o}", "name", vol->name, "options",
                                   list)));
}
