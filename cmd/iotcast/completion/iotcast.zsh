#compdef iotcast
# Completion of iotcast for zsh: source <(iotcast completion zsh)
_iotcast() {
  local line
  local -a all
  for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      "") ;;
      :files) _files; return ;;
      *$'\t'*) all+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
      *) all+=("${line//:/\\:}") ;;
    esac
  done
  _describe iotcast all
}
# From a directory of fpath, zsh runs all of this when it wants _iotcast for the first time.
if [[ ${funcstack[1]} == _iotcast ]]; then
  _iotcast "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
  compdef _iotcast iotcast
fi
