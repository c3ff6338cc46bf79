# fish completion of felhom-controller-bootstrap. Written by "make docs" from the source of --help.

# Sets where the line is: the commands so far, and how many arguments follow them.
function __felhom_controller_bootstrap_line
    set -g __felhom_controller_bootstrap_at ''
    set -g __felhom_controller_bootstrap_number 0
    set -g __felhom_controller_bootstrap_config
    set -l flag ''
    for word in (commandline -opc)[2..-1]
        if test -n "$flag"
            test "$flag" = --config; and set -g __felhom_controller_bootstrap_config --config $word
            set flag ''
            continue
        end
        switch "$__felhom_controller_bootstrap_at:$word"
            case ':apply'
                set -g __felhom_controller_bootstrap_at 'apply'
                set -g __felhom_controller_bootstrap_number 0
            case ':validate'
                set -g __felhom_controller_bootstrap_at 'validate'
                set -g __felhom_controller_bootstrap_number 0
            case ':status'
                set -g __felhom_controller_bootstrap_at 'status'
                set -g __felhom_controller_bootstrap_number 0
            case ':doctor'
                set -g __felhom_controller_bootstrap_at 'doctor'
                set -g __felhom_controller_bootstrap_number 0
            case ':version'
                set -g __felhom_controller_bootstrap_at 'version'
                set -g __felhom_controller_bootstrap_number 0
            case ':--root' ':--docker-host'
                set flag $word
            case 'apply:--host-patience' 'apply:--network-wait' 'apply:--engine-wait' 'apply:--pull-patience' 'apply:--ready-wait' 'apply:--root' 'apply:--docker-host'
                set flag $word
            case 'validate:--root' 'validate:--docker-host'
                set flag $word
            case 'status:--timeout' 'status:--root' 'status:--docker-host'
                set flag $word
            case 'doctor:--timeout' 'doctor:--root' 'doctor:--docker-host'
                set flag $word
            case 'version:--root' 'version:--docker-host'
                set flag $word
            case '*:-*'
            case '*'
                set -g __felhom_controller_bootstrap_number (math $__felhom_controller_bootstrap_number + 1)
        end
    end
end

function __felhom_controller_bootstrap_is
    __felhom_controller_bootstrap_line
    test "$__felhom_controller_bootstrap_at" = "$argv[1]"; and begin
        test (count $argv) -eq 1; or contains -- $__felhom_controller_bootstrap_number $argv[2..-1]; or begin
            test "$argv[-1]" = +; and test $__felhom_controller_bootstrap_number -ge $argv[2]
        end
    end
end

function __felhom_controller_bootstrap_guests
    __felhom_controller_bootstrap_line
    felhom-controller-bootstrap $__felhom_controller_bootstrap_config guest list --json 2>/dev/null | string match -rag '"guest": *([0-9]+)'
end

function __felhom_controller_bootstrap_archives
    __fish_complete_path (string replace -r '^--[^=]*=' '' -- (commandline -ct)) | string match -r '.*(?:\.tar\.zst|/)(?:\t.*)?$'
end

complete -c felhom-controller-bootstrap -f
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -a apply -d 'Bring the controller up, or find that nothing has to be done'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -a validate -d 'Check a bootstrap.json and print all findings to stderr'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -a status -d 'Show how the last run ended, and exit as it did'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -a doctor -d 'Find what is wrong in this guest, and say what to do'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -a version -d 'Print version, Go version and platform'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -l root -x -a '(__fish_complete_directories)' -d 'Directory that every path is under (default: /)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -l docker-host -x -d 'Engine, unix://PATH (default: unix://ROOT/run/docker.sock)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -l help -d 'Print help'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'\'' -l version -d 'Print the version'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l keep-trying -d 'Run again until it succeeds or only a changed mount can help'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l host-patience -x -d 'With --keep-trying: how long a run that succeeded without the host is repeated to reach it (default: 30m)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l network-wait -x -d 'How long this guest may be without a network (default: 30s)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l engine-wait -x -d 'How long to wait for the engine (default: 1m30s)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l pull-patience -x -d 'How long a pull may go without progress (default: 5m)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l ready-wait -x -d 'How long the controller may take to become ready (default: ready_wait of bootstrap.json, or what the image\'s health test gives, 2m or more)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l root -x -a '(__fish_complete_directories)' -d 'Directory that every path is under (default: /)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l docker-host -x -d 'Engine, unix://PATH (default: unix://ROOT/run/docker.sock)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'apply\'' -l help -d 'Print help'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'validate\'' -l root -x -a '(__fish_complete_directories)' -d 'Directory that every path is under (default: /)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'validate\'' -l docker-host -x -d 'Engine, unix://PATH (default: unix://ROOT/run/docker.sock)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'validate\'' -l help -d 'Print help'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'validate\' 0' -F
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l json -d 'Print the result file'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l console -d 'Print one or two lines, as the console shows them'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l wait -d 'Wait for the end of the current run, or of the first one'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l timeout -x -d 'With --wait: how long (default: 10m)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l root -x -a '(__fish_complete_directories)' -d 'Directory that every path is under (default: /)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l docker-host -x -d 'Engine, unix://PATH (default: unix://ROOT/run/docker.sock)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'status\'' -l help -d 'Print help'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'doctor\'' -l json -d 'Print JSON'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'doctor\'' -l timeout -x -d 'End each check after this time (default: 20s)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'doctor\'' -l root -x -a '(__fish_complete_directories)' -d 'Directory that every path is under (default: /)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'doctor\'' -l docker-host -x -d 'Engine, unix://PATH (default: unix://ROOT/run/docker.sock)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'doctor\'' -l help -d 'Print help'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'version\'' -l root -x -a '(__fish_complete_directories)' -d 'Directory that every path is under (default: /)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'version\'' -l docker-host -x -d 'Engine, unix://PATH (default: unix://ROOT/run/docker.sock)'
complete -c felhom-controller-bootstrap -n '__felhom_controller_bootstrap_is \'version\'' -l help -d 'Print help'
