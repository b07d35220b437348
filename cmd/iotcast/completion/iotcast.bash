# Completion of iotcast for bash: source <(iotcast completion bash)
_iotcast() {
  local line prefix
  COMPREPLY=()
  # Bash takes : and = for the ends of words: the line as it is knows better.
  local before=${COMP_LINE:0:COMP_POINT}
  local -a words
  read -ra words <<<"$before"
  [[ $before == *[[:space:]] ]] && words+=("")
  local current=${words[-1]}
  local cut=${COMP_WORDS[COMP_CWORD]}
  [[ $cut == [=:] ]] && cut=
  prefix=${current%"$cut"}
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o default
      COMPREPLY=()
      return
    fi
    line=${line%%$'\t'*}
    COMPREPLY+=("${line#"$prefix"}")
  done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _iotcast iotcast
