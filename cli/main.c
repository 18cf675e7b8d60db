/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - clusterfs, the command: its table, and how one command goes. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "core/host.h"

static const struct cli_command commands[] = {
    {
        .group = "cluster",
        .verb = "create",
        .synopsis = "",
        .about = "Found a cluster of this node; others can join it then.",
        .more = "The first volume founds one, too. With "
                "/etc/clusterfs/cluster.conf the\ncluster's name, this node's "
                "address and its number come from there.",
        .options = CLI_OPT_JSON | CLI_OPT_NAME | CLI_OPT_ADDRESS,
        .changes = true,
        .args = cli_found_args,
        .show = cli_cluster_create_show,
    },
    {
        .group = "cluster",
        .verb = "status",
        .synopsis = "",
        .about = "Show the nodes, and how the configuration is kept.",
        .more = "One node keeps it by itself. Of several nodes one, three or "
                "five keep it in\netcd (voters), and changes need most of "
                "them; every node has a copy. LAG is how\nmany changes a "
                "node's copy is behind.",
        .options = CLI_OPT_JSON,
        .args = cli_name_args,
        .show = cli_cluster_status_show,
    },
    {
        .group = "cluster",
        .verb = "backup",
        .synopsis = "FILE",
        .about = "Write the cluster's configuration to a file.",
        .more = "What is on the volumes is not in it. The file holds secrets "
                "of volumes: keep it\nwhere only root can read it.",
        .force = "write over a file that is there",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_file_args,
        .show = cli_backup_show,
    },
    {
        .group = "cluster",
        .verb = "restore",
        .synopsis = "FILE",
        .about = "Go back to the configuration in a backup.",
        .more = "This node takes it and begins a new life of the cluster; the "
                "other nodes stop\nchanging anything and must join again "
                "(clusterfs peer join). Who holds a current\ncopy of each "
                "volume is found out anew from its bricks. Clients and nodes "
                "that were put\nout since the backup stay out, as far as this "
                "node knows of them.",
        .force = "of another cluster than this node's",
        .doing = "is restoring the configuration",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_YES,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_file_args,
        .question = cli_restore_question,
        .show = cli_reborn_show,
    },
    {
        .group = "cluster",
        .verb = "rebuild",
        .synopsis = "",
        .about = "When most voters are lost for good: go on from this node.",
        .more = "This node's copy of the configuration becomes the cluster's; "
                "what was changed\nwithout its knowledge is lost. Never run it "
                "on two nodes, nor while lost nodes can\ncome back: they would "
                "go on by themselves. The other nodes must join again\n"
                "(clusterfs peer join).",
        .force = "although most voters are there",
        .doing = "is rebuilding the cluster",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_YES,
        .changes = true,
        .args = cli_force_args,
        .question = cli_rebuild_question,
        .show = cli_reborn_show,
    },
    {
        .group = "client",
        .verb = "add",
        .synopsis = "NAME -o FILE",
        .about = "Let a machine that is no node mount volumes.",
        .more = "FILE is all that the machine needs: copy it there as "
                "/etc/clusterfs/client.pem,\nor mount with -o "
                "credentials=FILE. It holds a key: whoever has it is that "
                "client. - is\nstandard output; with --json, without -o, the "
                "text is in the answer.",
        .options = CLI_OPT_JSON | CLI_OPT_VOLUME | CLI_OPT_OUTPUT,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_client_add_args,
        .failed = cli_client_add_failed,
        .finish = cli_client_add_finish,
        .show = cli_client_add_show,
    },
    {
        .group = "client",
        .verb = "remove",
        .synopsis = "NAME",
        .about = "Do not let a client in any more.",
        .options = CLI_OPT_JSON | CLI_OPT_YES,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_client_args,
        .question = cli_client_remove_question,
        .show = cli_client_remove_show,
    },
    {
        .group = "client",
        .verb = "list",
        .synopsis = "",
        .about = "List the clients that were added.",
        .options = CLI_OPT_JSON,
        .args = cli_name_args,
        .show = cli_client_list_show,
    },
    {
        .group = "peer",
        .verb = "token",
        .synopsis = "",
        .about = "Make a token, by which one node can join.",
        .more = "On a node of a cluster: for 'peer join' on the new one. On a "
                "node that is of\nnone: for 'peer probe' on a node of the "
                "cluster that it shall join. Whoever has\nit can join: pass "
                "it on as a password.",
        .options = CLI_OPT_JSON | CLI_OPT_FOR | CLI_OPT_ADDRESS |
                   CLI_OPT_REPLACE,
        .changes = true,
        .args = cli_token_args,
        .show = cli_token_show,
    },
    {
        .group = "peer",
        .verb = "join",
        .synopsis = "[HOST]",
        .about = "Join the cluster whose node made the token.",
        .more = "Only an empty node can. HOST, or HOST:PORT, is one of the "
                "cluster's nodes;\nwithout it the one that made the token.",
        .doing = "is joining the cluster",
        .options = CLI_OPT_JSON | CLI_OPT_TOKEN | CLI_OPT_ADDRESS,
        .words_max = 1,
        .changes = true,
        .args = cli_join_args,
        .show = cli_join_show,
    },
    {
        .group = "peer",
        .verb = "probe",
        .synopsis = "[HOST]",
        .about = "Invite the empty node that made the token.",
        .more = "HOST, or HOST:PORT, is the new node; without it as the token "
                "says. --address\nis where the others reach it then.",
        .doing = "is taking the node in",
        .options = CLI_OPT_JSON | CLI_OPT_TOKEN | CLI_OPT_ADDRESS,
        .words_max = 1,
        .changes = true,
        .args = cli_join_args,
        .show = cli_join_show,
    },
    {
        .group = "peer",
        .verb = "detach",
        .synopsis = "NODE",
        .about = "Take a node out of the cluster.",
        .more = "Its certificate is not believed any more, and it becomes an "
                "empty node, if it can\nbe told.",
        .force = "although it has bricks of volumes; of this node: forget the "
                 "cluster",
        .doing = "is detaching the node",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_YES,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_detach_args,
        .question = cli_detach_question,
        .show = cli_detach_show,
    },
    {
        .group = "peer",
        .verb = "status",
        .synopsis = "",
        .about = "Show the other nodes, and which can be reached from here.",
        .options = CLI_OPT_JSON,
        .args = cli_name_args,
        .show = cli_peer_status_show,
    },
    {
        .group = "peer",
        .verb = "list",
        .synopsis = "",
        .about = "List the cluster's nodes.",
        .options = CLI_OPT_JSON,
        .args = cli_name_args,
        .show = cli_peer_list_show,
    },
    {
        .group = "volume",
        .verb = "create",
        .synopsis = "NAME [replica N] HOST:/BRICK...",
        .about = "Make a volume of bricks, which are formatted.",
        .more = "A brick is a block device or an image file on HOST. N says "
                "how many bricks\nhold each file; with several bricks it "
                "cannot be left out. An image file that\nis not there is "
                "made, as large as --brick-size says; without it, the images\n"
                "share nine tenths of the free space.",
        .force = "take devices and files that hold something",
        .doing = "is making the bricks",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_SPARSE |
                   CLI_OPT_BRICK_SIZE | CLI_OPT_OPTION,
        .words_min = 2,
        .words_max = 4096,
        .changes = true,
        .args = cli_create_args,
        .show = cli_create_show,
    },
    {
        .group = "volume",
        .verb = "start",
        .synopsis = "NAME",
        .about = "Start a volume's bricks; then it can be mounted.",
        .force = "of a started volume: start bricks that are faulty",
        .doing = "is starting the bricks",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_force_args,
        .show = cli_start_show,
    },
    {
        .group = "volume",
        .verb = "stop",
        .synopsis = "NAME",
        .about = "Stop a volume's bricks, cleanly.",
        .force = "although it is mounted: the mounts break",
        .doing = "is stopping the bricks",
        .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_YES,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_force_args,
        .question = cli_stop_question,
        .show = cli_stop_show,
    },
    {
        .group = "volume",
        .verb = "delete",
        .synopsis = "NAME",
        .about = "Forget a stopped volume; what its bricks hold stays there.",
        .doing = "is deleting the volume",
        .options = CLI_OPT_JSON | CLI_OPT_YES,
        .words_min = 1,
        .words_max = 1,
        .changes = true,
        .args = cli_name_args,
        .question = cli_delete_question,
        .show = cli_delete_show,
    },
    {
        .group = "volume",
        .verb = "list",
        .synopsis = "",
        .about = "List all volumes.",
        .options = CLI_OPT_JSON,
        .args = cli_name_args,
        .show = cli_list_show,
    },
    {
        .group = "volume",
        .verb = "info",
        .synopsis = "[NAME]",
        .about = "Show what a volume, or each, is made of.",
        .options = CLI_OPT_JSON,
        .words_max = 1,
        .args = cli_name_args,
        .show = cli_info_show,
    },
    {
        .group = "volume",
        .verb = "status",
        .synopsis = "[NAME]",
        .about = "Show how a volume, or each, does: bricks, clients, space.",
        .more = "A brick's state is in-sync: it holds a current copy; out: it "
                "does not, and\nserves nothing; failed: its storage failed; "
                "starting, restarting, stopping,\nstopped; or faulty: it "
                "cannot be started, and why.",
        .options = CLI_OPT_JSON,
        .words_max = 1,
        .args = cli_name_args,
        .show = cli_status_show,
    },
    {
        .group = "volume",
        .verb = "set",
        .synopsis = "NAME OPTION VALUE [OPTION VALUE...]",
        .about = "Set options of a volume, together or not at all.",
        .more = "OPTION=VALUE will do too. Most options take effect at once, "
                "on bricks and mounts\nthat run; of the others it is said when "
                "they do. Which there are, and what they\naccept: clusterfs "
                "volume get NAME",
        .options = CLI_OPT_JSON,
        .words_min = 2,
        .words_max = 4096,
        .changes = true,
        .args = cli_set_args,
        .show = cli_set_show,
    },
    {
        .group = "volume",
        .verb = "reset",
        .synopsis = "NAME [OPTION...]",
        .about = "Set options, or all of them, to their defaults.",
        .options = CLI_OPT_JSON | CLI_OPT_YES,
        .words_min = 1,
        .words_max = 4096,
        .changes = true,
        .args = cli_reset_args,
        .question = cli_reset_question,
        .show = cli_set_show,
    },
    {
        .group = "volume",
        .verb = "get",
        .synopsis = "NAME [OPTION|all]",
        .about = "Show options of a volume: value, default, and where it is "
                 "from.",
        .options = CLI_OPT_JSON,
        .words_min = 1,
        .words_max = 2,
        .args = cli_get_args,
        .show = cli_get_show,
    },
    {
        .group = "volume",
        .verb = "profile",
        .synopsis = "NAME start|info|stop",
        .about = "Show what each brick did: operations, bytes, latencies.",
        .more = "start: count and time from now on. info: what came since. "
                "stop: time no more.\nPercentiles are upper ends of powers of "
                "two.",
        .options = CLI_OPT_JSON,
        .words_min = 2,
        .words_max = 2,
        .changes = true,
        .args = cli_profile_args,
        .show = cli_profile_show,
    },
    {
        .group = "volume",
        .verb = "top",
        .synopsis = "NAME",
        .about = "Show the busiest operations and files of a volume.",
        .more = "Since its bricks were started, or since 'volume profile NAME "
                "start'. A file\nis told by its inode number (find -inum), the "
                "one of its directory, and its\nname there as it was when it "
                "was looked up last.",
        .options = CLI_OPT_JSON,
        .words_min = 1,
        .words_max = 1,
        .args = cli_name_args,
        .show = cli_top_show,
    },
    {
        .group = "volume",
        .verb = "statedump",
        .synopsis = "NAME",
        .about = "Let each brick write down its state; shows into which file.",
        .options = CLI_OPT_JSON,
        .words_min = 1,
        .words_max = 1,
        .args = cli_name_args,
        .show = cli_statedump_show,
    },
    {.group = NULL},
};

/* -- asking the user ------------------------------------------------------ */

/* -EPERM: no, or nobody is there to say so. */
static int confirm(const struct cli_line *l, struct cfs_err *err)
{
    char question[256], answer[16] = "";

    if (!l->cmd->question || cli_has(l, CLI_OPT_YES))
        return 0;
    l->cmd->question(l, question, sizeof question);
    if (!*question)
        return 0;
    if (!isatty(STDIN_FILENO))
        return cfs_err_set(err, -EPERM, "%s There is no terminal to ask on: "
                           "add --yes", question);
    fprintf(stderr, "%s [y/N] ", question);
    if (!fgets(answer, sizeof answer, stdin) ||
        (answer[0] != 'y' && answer[0] != 'Y'))
        return cfs_err_set(err, -EPERM, "nothing was done");
    return 0;
}

/* Only waiting is interrupted: the request is mgmtd's. */
static void on_interrupt(int sig)
{
    static const char text[] =
        "\nInterrupted. If clusterfs-mgmtd has begun, it goes on with it; "
        "see: clusterfs volume list\n";
    ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);

    (void)n;
    _exit(CLI_INTERRUPTED);
}

/* -- one command ---------------------------------------------------------- */

static void show(const struct cli_line *l, const struct cli_answer *a)
{
    if (!cli_has(l, CLI_OPT_JSON)) {
        l->cmd->show(stdout, a->json);
        return;
    }
    json_dumpf(a->json, stdout, JSON_INDENT(2));
    putchar('\n');
}

static void complain(const char *text)
{
    fprintf(stderr, "clusterfs: %s\n", text);
}

/* Beside an answer: what was shown may be old. */
static void note(const char *text)
{
    char *safe;

    if (!text || !*text)
        return;
    fflush(stdout);
    safe = safe_text(text);
    fprintf(stderr, "Note: %s\n", safe);
    free(safe);
}

static int ask(const struct cli_line *l, const json_t *args)
{
    const struct cli_command *c = l->cmd;
    struct cli_answer answer;
    struct cfs_err err = {0};
    struct cli_where where;
    struct cfs_dirs dirs;
    char verb[64];
    int rc, status;

    if (cfs_dirs_default(&dirs) < 0) {
        complain("out of memory");
        return CLI_FAILED;
    }
    snprintf(verb, sizeof verb, "%s-%s", c->group, c->verb);
    if (c->changes)
        signal(SIGINT, on_interrupt);
    where = (struct cli_where){
        .run_dir = l->run_dir ? l->run_dir : dirs.run,
        .config_dir = dirs.config,
        .state_dir = dirs.state,
        .server = l->server,
        .credentials = l->credentials,
    };
    rc = cli_ask(&where, verb, args, c->doing, &answer, &err);
    cfs_dirs_free(&dirs);
    if (c->failed && (rc < 0 || answer.status != 0))
        c->failed();
    if (rc < 0) {
        complain(err.text);
        return rc == -EBADMSG ? CLI_FAILED : CLI_NO_MGMTD;
    }
    status = (int)answer.status;
    if (status == 0 && c->finish && c->finish(l, answer.json, &err) < 0) {
        complain(err.text);
        status = CLI_FAILED;
    } else if (status == 0) {
        show(l, &answer);
        note(answer.error);
    } else {
        char *safe = safe_text(answer.error ? answer.error : "");

        complain(safe);
        free(safe);
    }
    cli_answer_free(&answer);
    return status == 0 ? CLI_DONE : CLI_FAILED;
}

static int usage(const struct cli_line *l, const struct cfs_err *err)
{
    complain(err->text);
    fprintf(stderr, "Try 'clusterfs%s%s%s%s --help'.\n", l->group ? " " : "",
            l->group ? l->group : "", l->cmd ? " " : "",
            l->cmd ? l->cmd->verb : "");
    return CLI_USAGE;
}

static int run(const struct cli_line *l)
{
    struct cfs_err err = {0};
    json_t *args;
    int status;

    if (cli_has(l, CLI_OPT_HELP)) {
        cli_help(stdout, commands, l);
        return CLI_DONE;
    }
    if (cli_has(l, CLI_OPT_VERSION)) {
        printf("clusterfs %s\n", CFS_VERSION);
        return CLI_DONE;
    }
    args = json_object();
    if (l->cmd->args(l, args, &err) < 0) {
        status = usage(l, &err);
    } else if (confirm(l, &err) < 0) {
        complain(err.text);
        status = CLI_FAILED;
    } else {
        status = ask(l, args);
    }
    json_decref(args);
    return status;
}

int main(int argc, char **argv)
{
    struct cli_line l;
    struct cfs_err err = {0};
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (cli_parse(commands, argc, (const char *const *)argv, &l, &err) < 0)
        status = usage(&l, &err);
    else
        status = run(&l);
    cli_line_free(&l);
    if (fflush(stdout) != 0 && status == CLI_DONE) {
        complain("cannot write to standard output");
        status = CLI_FAILED;
    }
    return status;
}
