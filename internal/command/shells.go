package command

import (
	"fmt"
	"strings"
)

const written = "Written by \"make docs\" from the source of --help."

// guestsOf asks the program itself, with the configuration of the line.
const guestsOf = `%s ${config:+--config "$config"} guest list --json 2>/dev/null | tr ',' '\n' | sed -n 's/.*"guest": *\([0-9][0-9]*\).*/\1/p'`

func bash(a App, all []point) string {
	var out strings.Builder
	fn := "_" + identifier(a)
	fmt.Fprintf(&out, "# bash completion of %s. %s\n# shellcheck shell=bash disable=SC2034,SC2207\n\n", a.Name, written)
	fmt.Fprintf(&out, `%s() {
  local cur=${COMP_WORDS[COMP_CWORD]} at='' flag='' kind='' config='' commands='' options='' number=0 i word
  # bash gives --flag=value in three words.
  local -a words=()
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == '=' && ${#words[@]} -gt 0 && ${words[-1]} == --* ]]; then
      ((i == COMP_CWORD)) && words+=('')
      continue
    fi
    words+=("$word")
  done
  cur=${words[-1]}
  for ((i = 0; i < ${#words[@]} - 1; i++)); do
    word=${words[i]}
    if [[ -n $flag ]]; then
      [[ $flag == --config ]] && config=$word
      flag=''
      continue
    fi
    case "$at:$word" in
`, fn)
	out.WriteString(patterns(all, "      ", "at=%s number=0", "flag=$word"))
	out.WriteString("      *:-*) ;;\n      *) ((number++)) ;;\n    esac\n  done\n  if [[ -n $flag ]]; then\n    case \"$at:$flag\" in\n")
	out.WriteString(valueKinds(all, "      "))
	out.WriteString("    esac\n  else\n    case \"$at\" in\n")
	for _, p := range all {
		var commands, options []string
		for _, c := range p.commands {
			commands = append(commands, c[0])
		}
		for _, f := range p.flags {
			options = append(options, f.name)
		}
		fmt.Fprintf(&out, "      %s) commands=%s options=%s ;;\n", quote(p.path), quote(strings.Join(commands, " ")), quote(strings.Join(options, " ")))
	}
	out.WriteString("    esac\n    if [[ $cur == -* ]]; then\n      COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n      return\n    fi\n")
	out.WriteString("    case \"$at:$number\" in\n")
	out.WriteString(argumentCases(all, "      "))
	out.WriteString("    esac\n  fi\n  COMPREPLY=()\n  case \"$kind\" in\n")
	fmt.Fprintf(&out, "    %s) COMPREPLY=($(compgen -W \"$(%s)\" -- \"$cur\")) ;;\n", kindGuest, fmt.Sprintf(guestsOf, a.Name))
	fmt.Fprintf(&out, `    %s | %s)
      compopt -o filenames 2>/dev/null
      local IFS=$'\n'
      COMPREPLY=($(compgen -f -- "$cur"))
      if [[ $kind == %[2]s ]]; then
        for i in "${!COMPREPLY[@]}"; do
          [[ ${COMPREPLY[i]} == *.tar.zst || -d ${COMPREPLY[i]} ]] || unset "COMPREPLY[i]"
        done
        COMPREPLY=("${COMPREPLY[@]}")
      fi
      ;;
    %s)
      compopt -o filenames 2>/dev/null
      local IFS=$'\n'
      COMPREPLY=($(compgen -d -- "$cur"))
      ;;
    '') COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
  esac
}
complete -F %s %s
`, kindFile, kindArchive, kindDirectory, fn, a.Name)
	return out.String()
}

func zsh(a App, all []point) string {
	var out strings.Builder
	fmt.Fprintf(&out, "#compdef %s\n# %s\n\n_%s() {\n", a.Name, written, a.Name)
	out.WriteString(`  local at='' flag='' kind='' config='' word number=0
  local -i i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    word=${(Q)words[i]}
    if [[ -n $flag ]]; then
      [[ $flag == --config ]] && config=$word
      flag=''
      continue
    fi
    if [[ $word == --config=* ]]; then
      config=${word#*=}
      continue
    fi
    case "$at:$word" in
`)
	out.WriteString(patterns(all, "      ", "at=%s number=0", "flag=$word"))
	out.WriteString(`      *:-*) ;;
      *) ((number++)) ;;
    esac
  done
  if [[ -z $flag && ${words[CURRENT]} == --*=* ]]; then
    flag=${words[CURRENT]%%=*}
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    case "$at:$flag" in
`)
	out.WriteString(valueKinds(all, "      "))
	out.WriteString("    esac\n  else\n    case \"$at\" in\n")
	for _, p := range all {
		fmt.Fprintf(&out, "      %s)\n", quote(p.path))
		fmt.Fprintf(&out, "        commands=(%s)\n        options=(%s)\n        ;;\n", described(p.commands), described(flagTexts(p.flags)))
	}
	out.WriteString(`    esac
    if [[ ${words[CURRENT]} == -* ]]; then
      _describe option options
      return
    fi
    case "$at:$number" in
`)
	out.WriteString(argumentCases(all, "      "))
	out.WriteString("    esac\n  fi\n  case \"$kind\" in\n")
	fmt.Fprintf(&out, "    %s) compadd -- ${(f)\"$(%s)\"} ;;\n", kindGuest, fmt.Sprintf(guestsOf, a.Name))
	fmt.Fprintf(&out, `    %s) _files ;;
    %s) _files -g '*.tar.zst' ;;
    %s) _files -/ ;;
    '') _describe command commands ;;
  esac
}

_%s "$@"
`, kindFile, kindArchive, kindDirectory, a.Name)
	return out.String()
}

// described gives names and texts as _describe of zsh takes them.
func described(rows [][2]string) string {
	var words []string
	for _, r := range rows {
		words = append(words, quote(strings.ReplaceAll(r[0], ":", `\:`)+":"+strings.ReplaceAll(r[1], `\`, `\\`)))
	}
	return strings.Join(words, " ")
}

func flagTexts(flags []completedFlag) (rows [][2]string) {
	for _, f := range flags {
		rows = append(rows, [2]string{f.name, f.text})
	}
	return rows
}

func fish(a App, all []point) string {
	var out strings.Builder
	id := "__" + identifier(a)
	fmt.Fprintf(&out, "# fish completion of %s. %s\n\n", a.Name, written)
	fmt.Fprintf(&out, `# Sets where the line is: the commands so far, and how many arguments follow them.
function %s_line
    set -g %[1]s_at ''
    set -g %[1]s_number 0
    set -g %[1]s_config
    set -l flag ''
    for word in (commandline -opc)[2..-1]
        if test -n "$flag"
            test "$flag" = --config; and set -g %[1]s_config --config $word
            set flag ''
            continue
        end
        switch "$%[1]s_at:$word"
`, id)
	for line := range strings.SplitSeq(strings.TrimSpace(patterns(all, "", id+" %s", "FLAG")), "\n") {
		pattern, statement, _ := strings.Cut(line, ") ")
		pattern = strings.ReplaceAll(pattern, " | ", " ")
		if strings.HasPrefix(statement, "FLAG") {
			fmt.Fprintf(&out, "            case %s\n                set flag $word\n", pattern)
			continue
		}
		at := strings.TrimSuffix(strings.TrimPrefix(statement, id+" "), " ;;")
		fmt.Fprintf(&out, "            case %s\n                set -g %s_at %s\n                set -g %[2]s_number 0\n", pattern, id, at)
	}
	fmt.Fprintf(&out, `            case '*:-*'
            case '*'
                set -g %[1]s_number (math $%[1]s_number + 1)
        end
    end
end

function %[1]s_is
    %[1]s_line
    test "$%[1]s_at" = "$argv[1]"; and begin
        test (count $argv) -eq 1; or contains -- $%[1]s_number $argv[2..-1]; or begin
            test "$argv[-1]" = +; and test $%[1]s_number -ge $argv[2]
        end
    end
end

function %[1]s_guests
    %[1]s_line
    %[2]s $%[1]s_config guest list --json 2>/dev/null | string match -rag '"guest": *([0-9]+)'
end

function %[1]s_archives
    __fish_complete_path (string replace -r '^--[^=]*=' '' -- (commandline -ct)) | string match -r '.*(?:\.tar\.zst|/)(?:\t.*)?$'
end

complete -c %[2]s -f
`, id, a.Name)
	takes := map[string]string{
		kindFile: " -F", kindArchive: " -a '(" + id + "_archives)'", kindDirectory: " -a '(__fish_complete_directories)'",
		kindGuest: " -a '(" + id + "_guests)'", kindOther: "",
	}
	for _, p := range all {
		here := fmt.Sprintf("complete -c %s -n %s", a.Name, fishQuote(id+"_is "+fishQuote(p.path)))
		for _, c := range p.commands {
			fmt.Fprintf(&out, "%s -a %s -d %s\n", here, c[0], fishQuote(c[1]))
		}
		for _, f := range p.flags {
			form := "-l " + strings.TrimPrefix(f.name, "--")
			if f.kind != "" {
				form += valueForm(f.kind) + takes[f.kind]
			}
			fmt.Fprintf(&out, "%s %s -d %s\n", here, form, fishQuote(f.text))
		}
		for i, kind := range p.args {
			if takes[kind] == "" {
				continue
			}
			numbers := fmt.Sprint(i)
			if p.many && i == len(p.args)-1 {
				numbers += " +"
			}
			fmt.Fprintf(&out, "complete -c %s -n %s%s\n", a.Name, fishQuote(id+"_is "+fishQuote(p.path)+" "+numbers), takes[kind])
		}
	}
	return out.String()
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

// valueForm is how fish is told that a flag has a value; only a file's may be any file.
func valueForm(kind string) string {
	if kind == kindFile {
		return " -r"
	}
	return " -x"
}
