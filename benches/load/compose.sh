# shellcheck shell=bash
# To be sourced: docker compose with the arguments and the environment that ooy gives to it, as
# benches/measure.sh has overheard them (OVERHEARD, a folder).

edited=() # NAME=value: what was changed in the compose file since
more=()   # -f FILE: compose files of one's own behind ooy's

compose() {
  (
    while IFS= read -r -d '' pair; do
      case $pair in
      PATH=* | PWD=* | OLDPWD=* | SHLVL=* | _=*) ;;
      *) export "${pair?}" ;;
      esac
    done <"$OVERHEARD/environment"
    for pair in "${edited[@]}"; do export "${pair?}"; done
    mapfile -d '' -t arguments <"$OVERHEARD/arguments"
    docker "${arguments[@]}" "${more[@]}" "$@"
  )
}
