# bash completion for clusterfs(8)                         -*- shell-script -*-
# SPDX-License-Identifier: Apache-2.0

_clusterfs_volumes()
{
    clusterfs volume list --json 2>/dev/null |
        sed -n 's/.*"name"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
}

_clusterfs_nodes()
{
    clusterfs peer list --json 2>/dev/null |
        sed -n 's/.*"name"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
}

_clusterfs_clients()
{
    clusterfs client list --json 2>/dev/null |
        sed -n 's/.*"name"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
}

_clusterfs_options()
{
    clusterfs volume get "$1" --json 2>/dev/null |
        sed -n 's/.*"option"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
}

_clusterfs()
{
    local cur prev words cword
    local -a args=()
    local i

    if declare -F _init_completion >/dev/null; then
        _init_completion -n : || return
    else
        cur=${COMP_WORDS[COMP_CWORD]}
        prev=${COMP_WORDS[COMP_CWORD-1]}
        words=("${COMP_WORDS[@]}")
        cword=$COMP_CWORD
    fi
    for ((i = 1; i < cword; i++)); do
        case ${words[i]} in
        -*) ;;
        *) args+=("${words[i]}") ;;
        esac
    done

    case $prev in
    --replace)
        mapfile -t COMPREPLY < <(compgen -W "$(_clusterfs_nodes)" -- "$cur")
        return ;;
    --volume)
        mapfile -t COMPREPLY < <(compgen -W "$(_clusterfs_volumes)" -- "$cur")
        return ;;
    --server)
        mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
        return ;;
    -o|--credentials)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return ;;
    --run-dir|--state-dir|--log-dir|--config-dir)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        return ;;
    esac

    case "${#args[@]} ${args[*]}" in
    "0 ")
        mapfile -t COMPREPLY < <(compgen -W 'volume peer client
            cluster --help --version' \
            -- "$cur") ;;
    "1 cluster")
        mapfile -t COMPREPLY < <(compgen -W 'create status backup restore
            rebuild --help' -- "$cur") ;;
    "2 cluster create")
        mapfile -t COMPREPLY < <(compgen -W '--name --address --json --help' \
            -- "$cur") ;;
    "2 cluster status")
        mapfile -t COMPREPLY < <(compgen -W '--json --help' -- "$cur") ;;
    "2 cluster rebuild")
        mapfile -t COMPREPLY < <(compgen -W '--yes --force --json --help' \
            -- "$cur") ;;
    "2 cluster backup"|"2 cluster restore")
        mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    "1 peer")
        mapfile -t COMPREPLY < <(compgen -W 'token join probe detach status
            list --help' -- "$cur") ;;
    "1 client")
        mapfile -t COMPREPLY < <(compgen -W 'add remove list --help' \
            -- "$cur") ;;
    "2 peer token")
        mapfile -t COMPREPLY < <(compgen -W '--for --address --replace --json
            --help' -- "$cur") ;;
    "2 peer join"|"2 peer probe")
        case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W '--token --address --json
                --help' -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur") ;;
        esac ;;
    "2 peer detach")
        mapfile -t COMPREPLY < <(compgen -W "$(_clusterfs_nodes) --force --yes
            --json --help" -- "$cur") ;;
    "2 client remove")
        mapfile -t COMPREPLY < <(compgen -W "$(_clusterfs_clients) --yes
            --json --help" -- "$cur") ;;
    *" client add "*)
        mapfile -t COMPREPLY < <(compgen -W '--volume -o --help' -- "$cur") ;;
    "1 volume")
        mapfile -t COMPREPLY < <(compgen -W 'create start stop delete list
            info status set reset get profile top statedump --help' -- "$cur") ;;
    "2 volume start"|"2 volume stop"|"2 volume delete"|"2 volume info"|\
    "2 volume status"|"2 volume set"|"2 volume reset"|"2 volume get"|\
    "2 volume profile"|"2 volume top"|"2 volume statedump")
        case ${args[1]} in
        start) i='--force' ;;
        stop) i='--force --yes' ;;
        reset) i='--yes' ;;
        delete) i='--yes' ;;
        *) i= ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$(_clusterfs_volumes) $i
            --json --help" -- "$cur") ;;
    "3 volume get "*|*" volume set "*|*" volume reset "*)
        mapfile -t COMPREPLY < <(compgen -W "$(_clusterfs_options \
            "${args[2]}")" -- "$cur") ;;
    "3 volume profile "*)
        mapfile -t COMPREPLY < <(compgen -W 'start info stop' -- "$cur") ;;
    "3 volume create "*)
        mapfile -t COMPREPLY < <(compgen -W 'replica' -- "$cur") ;;
    *" volume create "*)
        case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W '--brick-size --sparse
                --option --force --json --help' -- "$cur") ;;
        *:/*) mapfile -t COMPREPLY < <(compgen -f -- "${cur#*:}") ;;
        *) mapfile -t COMPREPLY < <(compgen -A hostname -S :/ -- "$cur")
           compopt -o nospace ;;
        esac ;;
    *)
        case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W '--json --yes --help' \
                -- "$cur") ;;
        esac ;;
    esac
}

complete -F _clusterfs clusterfs
