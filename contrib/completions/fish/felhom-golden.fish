# fish completion of felhom-golden. Written by "make docs" from the source of --help.

# Sets where the line is: the commands so far, and how many arguments follow them.
function __felhom_golden_line
    set -g __felhom_golden_at ''
    set -g __felhom_golden_number 0
    set -g __felhom_golden_config
    set -l flag ''
    for word in (commandline -opc)[2..-1]
        if test -n "$flag"
            test "$flag" = --config; and set -g __felhom_golden_config --config $word
            set flag ''
            continue
        end
        switch "$__felhom_golden_at:$word"
            case ':build'
                set -g __felhom_golden_at 'build'
                set -g __felhom_golden_number 0
            case ':stage'
                set -g __felhom_golden_at 'stage'
                set -g __felhom_golden_number 0
            case ':pack'
                set -g __felhom_golden_at 'pack'
                set -g __felhom_golden_number 0
            case ':run'
                set -g __felhom_golden_at 'run'
                set -g __felhom_golden_number 0
            case ':serve'
                set -g __felhom_golden_at 'serve'
                set -g __felhom_golden_number 0
            case ':seal'
                set -g __felhom_golden_at 'seal'
                set -g __felhom_golden_number 0
            case ':verify'
                set -g __felhom_golden_at 'verify'
                set -g __felhom_golden_number 0
            case ':inspect'
                set -g __felhom_golden_at 'inspect'
                set -g __felhom_golden_number 0
            case ':diff'
                set -g __felhom_golden_at 'diff'
                set -g __felhom_golden_number 0
            case ':unpack'
                set -g __felhom_golden_at 'unpack'
                set -g __felhom_golden_number 0
            case ':version'
                set -g __felhom_golden_at 'version'
                set -g __felhom_golden_number 0
            case 'build:--recipe' 'build:--cache' 'build:--bootstrap' 'build:--engine' 'build:--out' 'build:--compression'
                set flag $word
            case 'stage:--recipe' 'stage:--cache' 'stage:--bootstrap' 'stage:--engine'
                set flag $word
            case 'run:--env' 'run:--dir'
                set flag $word
            case 'serve:--port' 'serve:--watch-pid'
                set flag $word
            case 'seal:--enable' 'seal:--skip' 'seal:--hostname' 'seal:--machine-id' 'seal:--explain'
                set flag $word
            case 'verify:--profile' 'verify:--enable' 'verify:--skip' 'verify:--sha256' 'verify:--allow-set-id' 'verify:--allow-world-writable' 'verify:--allow-capability' 'verify:--allow-secret' 'verify:--forbid-name' 'verify:--hostname' 'verify:--explain'
                set flag $word
            case 'unpack:--idmap' 'unpack:--config'
                set flag $word
            case '*:-*'
            case '*'
                set -g __felhom_golden_number (math $__felhom_golden_number + 1)
        end
    end
end

function __felhom_golden_is
    __felhom_golden_line
    test "$__felhom_golden_at" = "$argv[1]"; and begin
        test (count $argv) -eq 1; or contains -- $__felhom_golden_number $argv[2..-1]; or begin
            test "$argv[-1]" = +; and test $__felhom_golden_number -ge $argv[2]
        end
    end
end

function __felhom_golden_guests
    __felhom_golden_line
    felhom-golden $__felhom_golden_config guest list --json 2>/dev/null | string match -rag '"guest": *([0-9]+)'
end

function __felhom_golden_archives
    __fish_complete_path (string replace -r '^--[^=]*=' '' -- (commandline -ct)) | string match -r '.*(?:\.tar\.zst|/)(?:\t.*)?$'
end

complete -c felhom-golden -f
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a build -d 'Bake the archive of a recipe'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a stage -d 'Make the root file system of a recipe in a directory'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a pack -d 'Seal a staged root and make its archive'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a run -d 'Run a script inside a staged root'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a serve -d 'Offer SSH and SFTP into a staged root, on the loopback address'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a seal -d 'Remove from a staged root what must not leave the build machine'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a verify -d 'Judge an archive by the rules, without unpacking it'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a inspect -d 'Show what is in an archive, without unpacking it'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a diff -d 'Compare two archives by meaning'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a unpack -d 'Do the restore that Proxmox VE does, into a directory'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -a version -d 'Print version, Go version and platform'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'\'' -l version -d 'Print the version'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l recipe -r -F -d 'FILE to bake by; without it the built-in recipe'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l cache -x -a '(__fish_complete_directories)' -d 'DIRECTORY of bases, images and frames (default: felhom-golden in the user\'s cache directory)'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l bootstrap -r -F -d 'Bake in this FILE as felhom-controller-bootstrap (default: the installed one for the architecture of the image)'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l engine -x -d 'PROGRAM that installs the packages, dpkg or mmdebstrap, whatever the recipe says'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l verbose -d 'Show what the programs of the build write'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l out -x -a '(__fish_complete_directories)' -d 'DIRECTORY for the archive and its records (default: .)'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l compression -x -d 'SETTING fast or release, in place of the recipe\'s'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l force -d 'Replace an existing archive'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l check -d 'Check recipe, files, programs, mirrors and registries, and bake nothing'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l print-recipe -d 'Print the built-in recipe and do nothing else'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l explain -d 'Show which recorded inputs of the two archives A and B differ, and do nothing else'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l json -d 'With --explain: print JSON'
complete -c felhom-golden -n '__felhom_golden_is \'build\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'build\' 0' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'build\' 1' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'stage\'' -l recipe -r -F -d 'FILE to bake by; without it the built-in recipe'
complete -c felhom-golden -n '__felhom_golden_is \'stage\'' -l cache -x -a '(__fish_complete_directories)' -d 'DIRECTORY of bases, images and frames (default: felhom-golden in the user\'s cache directory)'
complete -c felhom-golden -n '__felhom_golden_is \'stage\'' -l bootstrap -r -F -d 'Bake in this FILE as felhom-controller-bootstrap (default: the installed one for the architecture of the image)'
complete -c felhom-golden -n '__felhom_golden_is \'stage\'' -l engine -x -d 'PROGRAM that installs the packages, dpkg or mmdebstrap, whatever the recipe says'
complete -c felhom-golden -n '__felhom_golden_is \'stage\'' -l verbose -d 'Show what the programs of the build write'
complete -c felhom-golden -n '__felhom_golden_is \'stage\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'stage\' 0' -a '(__fish_complete_directories)'
complete -c felhom-golden -n '__felhom_golden_is \'pack\'' -l force -d 'Replace an existing archive'
complete -c felhom-golden -n '__felhom_golden_is \'pack\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'pack\' 0' -a '(__fish_complete_directories)'
complete -c felhom-golden -n '__felhom_golden_is \'pack\' 1' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'run\'' -l env -x -d 'Set a variable for the script, NAME=VALUE; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'run\'' -l dir -x -a '(__fish_complete_directories)' -d 'DIRECTORY of the root to start in (default: /)'
complete -c felhom-golden -n '__felhom_golden_is \'run\'' -l offline -d 'Give the script no network but a loopback of its own'
complete -c felhom-golden -n '__felhom_golden_is \'run\'' -l clean-env -d 'Pass nothing of this environment on'
complete -c felhom-golden -n '__felhom_golden_is \'run\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'run\' 0' -a '(__fish_complete_directories)'
complete -c felhom-golden -n '__felhom_golden_is \'run\' 1' -F
complete -c felhom-golden -n '__felhom_golden_is \'serve\'' -l port -x -d 'PORT on 127.0.0.1 (default: 2222)'
complete -c felhom-golden -n '__felhom_golden_is \'serve\'' -l watch-pid -x -d 'End when process PID does; needed with COMMAND'
complete -c felhom-golden -n '__felhom_golden_is \'serve\'' -l offline -d 'Give the sessions no network but a loopback of their own'
complete -c felhom-golden -n '__felhom_golden_is \'serve\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'serve\' 0' -a '(__fish_complete_directories)'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l enable -x -d 'Apply only this RULE; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l skip -x -d 'Do not apply this RULE; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l hostname -x -d 'NAME for /etc/hostname (default: localhost)'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l machine-id -x -d 'CONTENT of /etc/machine-id: empty, or uninitialized for a first boot with presets (default: empty)'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l list -d 'List the rules that seal applies'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l explain -x -d 'Explain one RULE'
complete -c felhom-golden -n '__felhom_golden_is \'seal\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'seal\' 0' -a '(__fish_complete_directories)'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l profile -x -d 'NAME of a set of rules: golden, which has all; restore, only what restore fails on or changes silently (default: golden)'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l enable -x -d 'Check only this RULE; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l skip -x -d 'Do not check this RULE; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l strict -d 'Count warnings as errors'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l json -d 'Print the report as JSON'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l junit -d 'Print the report as JUnit XML'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l sha256 -x -d 'The archive\'s HASH; default: from ARCHIVE.sha256 if it exists'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l allow-set-id -r -F -d 'Set-id PATH beyond Debian\'s own; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l allow-world-writable -r -F -d 'World-writable PATH; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l allow-capability -r -F -d 'PATH with file capabilities; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l allow-secret -r -F -d 'PATH whose content may look like a secret; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l forbid-name -x -d 'TEXT (a host name, a path) that must not occur in settings; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l hostname -x -d 'NAME that /etc/hostname may hold; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l list -d 'List the rules'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l explain -x -d 'Explain one RULE'
complete -c felhom-golden -n '__felhom_golden_is \'verify\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'verify\' 0' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'inspect\'' -l json -d 'Print the report as JSON'
complete -c felhom-golden -n '__felhom_golden_is \'inspect\'' -l full -d 'Read the whole archive, not its table of contents'
complete -c felhom-golden -n '__felhom_golden_is \'inspect\'' -l config -d 'Print pct.conf as it is in the archive, and read no further'
complete -c felhom-golden -n '__felhom_golden_is \'inspect\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'inspect\' 0' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'diff\'' -l json -d 'Print the differences as JSON'
complete -c felhom-golden -n '__felhom_golden_is \'diff\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'diff\' 0' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'diff\' 1' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'unpack\'' -l idmap -x -d 'TYPE:GUEST:HOST:COUNT with type u, g or b for both; may be repeated'
complete -c felhom-golden -n '__felhom_golden_is \'unpack\'' -l config -r -F -d 'FILE to write the guest\'s pct.conf to'
complete -c felhom-golden -n '__felhom_golden_is \'unpack\'' -l help -d 'Print help'
complete -c felhom-golden -n '__felhom_golden_is \'unpack\' 0' -a '(__felhom_golden_archives)'
complete -c felhom-golden -n '__felhom_golden_is \'unpack\' 1' -a '(__fish_complete_directories)'
complete -c felhom-golden -n '__felhom_golden_is \'version\'' -l help -d 'Print help'
