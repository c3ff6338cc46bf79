# complete.zsh SCRIPTS LINE...: prints each line with each word that zsh offers at its end, as LINE|WORD.
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=(${(q)1} \$fpath); PROMPT=; autoload -Uz compinit; compinit -u -D; stty -echo"
# Each offer passes compadd. It is printed with a mark, too.
zpty -w z 'compadd () { local -a list; local IFS=$'"'\\n'"'; if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return $?; fi; builtin compadd -A list "$@"; [[ -n "$list" ]] && print -r -- "OFFER:${(pj|\nOFFER:|)list}"; builtin compadd "$@"; }'
zpty -w z 'finish () { zle complete-word; print "END:OFFERS"; zle kill-buffer }; zle -N finish; zle -C complete-word complete-word _main_complete; bindkey "^I" finish; print BEGIN:OFFERS'
while zpty -r z line; do
  [[ $line == BEGIN:OFFERS* ]] && break
done
for typed in "${@:2}"; do
  zpty -n -w z "$typed"$'\t'
  while zpty -r z line; do
    for part in "${(@f)${line//$'\r'/}}"; do
      [[ $part == *OFFER:* ]] && print -r -- "$typed|${part##*OFFER:}"
    done
    [[ $line == *END:OFFERS* ]] && break
  done
done
zpty -d z
