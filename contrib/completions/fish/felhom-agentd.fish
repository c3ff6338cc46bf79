# fish completion of felhom-agentd. Written by "make docs" from the source of --help.

# Sets where the line is: the commands so far, and how many arguments follow them.
function __felhom_agentd_line
    set -g __felhom_agentd_at ''
    set -g __felhom_agentd_number 0
    set -g __felhom_agentd_config
    set -l flag ''
    for word in (commandline -opc)[2..-1]
        if test -n "$flag"
            test "$flag" = --config; and set -g __felhom_agentd_config --config $word
            set flag ''
            continue
        end
        switch "$__felhom_agentd_at:$word"
            case ':serve'
                set -g __felhom_agentd_at 'serve'
                set -g __felhom_agentd_number 0
            case ':guest'
                set -g __felhom_agentd_at 'guest'
                set -g __felhom_agentd_number 0
            case ':provision'
                set -g __felhom_agentd_at 'provision'
                set -g __felhom_agentd_number 0
            case ':template'
                set -g __felhom_agentd_at 'template'
                set -g __felhom_agentd_number 0
            case ':check'
                set -g __felhom_agentd_at 'check'
                set -g __felhom_agentd_number 0
            case ':config'
                set -g __felhom_agentd_at 'config'
                set -g __felhom_agentd_number 0
            case ':doctor'
                set -g __felhom_agentd_at 'doctor'
                set -g __felhom_agentd_number 0
            case ':registry'
                set -g __felhom_agentd_at 'registry'
                set -g __felhom_agentd_number 0
            case ':cache'
                set -g __felhom_agentd_at 'cache'
                set -g __felhom_agentd_number 0
            case ':firewall'
                set -g __felhom_agentd_at 'firewall'
                set -g __felhom_agentd_number 0
            case ':audit'
                set -g __felhom_agentd_at 'audit'
                set -g __felhom_agentd_number 0
            case ':metrics'
                set -g __felhom_agentd_at 'metrics'
                set -g __felhom_agentd_number 0
            case ':pin'
                set -g __felhom_agentd_at 'pin'
                set -g __felhom_agentd_number 0
            case ':version'
                set -g __felhom_agentd_at 'version'
                set -g __felhom_agentd_number 0
            case 'guest:add'
                set -g __felhom_agentd_at 'guest add'
                set -g __felhom_agentd_number 0
            case 'guest:rotate'
                set -g __felhom_agentd_at 'guest rotate'
                set -g __felhom_agentd_number 0
            case 'guest:revoke'
                set -g __felhom_agentd_at 'guest revoke'
                set -g __felhom_agentd_number 0
            case 'guest:set'
                set -g __felhom_agentd_at 'guest set'
                set -g __felhom_agentd_number 0
            case 'guest:set-image'
                set -g __felhom_agentd_at 'guest set-image'
                set -g __felhom_agentd_number 0
            case 'guest:rollout'
                set -g __felhom_agentd_at 'guest rollout'
                set -g __felhom_agentd_number 0
            case 'guest:attach'
                set -g __felhom_agentd_at 'guest attach'
                set -g __felhom_agentd_number 0
            case 'guest:detach'
                set -g __felhom_agentd_at 'guest detach'
                set -g __felhom_agentd_number 0
            case 'guest:remove'
                set -g __felhom_agentd_at 'guest remove'
                set -g __felhom_agentd_number 0
            case 'guest:list'
                set -g __felhom_agentd_at 'guest list'
                set -g __felhom_agentd_number 0
            case 'guest:show'
                set -g __felhom_agentd_at 'guest show'
                set -g __felhom_agentd_number 0
            case 'template:list'
                set -g __felhom_agentd_at 'template list'
                set -g __felhom_agentd_number 0
            case 'template:prune'
                set -g __felhom_agentd_at 'template prune'
                set -g __felhom_agentd_number 0
            case 'config:check'
                set -g __felhom_agentd_at 'config check'
                set -g __felhom_agentd_number 0
            case 'registry:check'
                set -g __felhom_agentd_at 'registry check'
                set -g __felhom_agentd_number 0
            case 'cache:list'
                set -g __felhom_agentd_at 'cache list'
                set -g __felhom_agentd_number 0
            case 'cache:prune'
                set -g __felhom_agentd_at 'cache prune'
                set -g __felhom_agentd_number 0
            case 'firewall:show'
                set -g __felhom_agentd_at 'firewall show'
                set -g __felhom_agentd_number 0
            case 'firewall:apply'
                set -g __felhom_agentd_at 'firewall apply'
                set -g __felhom_agentd_number 0
            case 'firewall:remove'
                set -g __felhom_agentd_at 'firewall remove'
                set -g __felhom_agentd_number 0
            case 'audit:verify'
                set -g __felhom_agentd_at 'audit verify'
                set -g __felhom_agentd_number 0
            case 'pin:rotate'
                set -g __felhom_agentd_at 'pin rotate'
                set -g __felhom_agentd_number 0
            case ':--config'
                set flag $word
            case 'serve:--log-format' 'serve:--log-level' 'serve:--config'
                set flag $word
            case 'guest:--config'
                set flag $word
            case 'guest add:--config'
                set flag $word
            case 'guest rotate:--config'
                set flag $word
            case 'guest revoke:--config'
                set flag $word
            case 'guest set:--wait' 'guest set:--image' 'guest set:--profile' 'guest set:--ready-wait' 'guest set:--env-file' 'guest set:--memory' 'guest set:--env' 'guest set:--label' 'guest set:--publish' 'guest set:--volume' 'guest set:--command' 'guest set:--config'
                set flag $word
            case 'guest set-image:--digest' 'guest set-image:--wait' 'guest set-image:--config'
                set flag $word
            case 'guest rollout:--image' 'guest rollout:--digest' 'guest rollout:--guests' 'guest rollout:--wave' 'guest rollout:--max-failures' 'guest rollout:--wait' 'guest rollout:--config'
                set flag $word
            case 'guest attach:--config'
                set flag $word
            case 'guest detach:--for' 'guest detach:--config'
                set flag $word
            case 'guest remove:--config'
                set flag $word
            case 'guest list:--config'
                set flag $word
            case 'guest show:--config'
                set flag $word
            case 'provision:--wait' 'provision:--spec' 'provision:--vmid' 'provision:--golden' 'provision:--image' 'provision:--profile' 'provision:--ready-wait' 'provision:--env-file' 'provision:--hostname' 'provision:--storage' 'provision:--rootfs' 'provision:--bridge' 'provision:--vlan' 'provision:--ip' 'provision:--gateway' 'provision:--ip6' 'provision:--gateway6' 'provision:--nameserver' 'provision:--memory' 'provision:--swap' 'provision:--cores' 'provision:--onboot' 'provision:--env' 'provision:--label' 'provision:--publish' 'provision:--volume' 'provision:--command' 'provision:--config'
                set flag $word
            case 'template:--config'
                set flag $word
            case 'template list:--config'
                set flag $word
            case 'template prune:--config'
                set flag $word
            case 'check:--spec' 'check:--vmid' 'check:--golden' 'check:--image' 'check:--profile' 'check:--ready-wait' 'check:--env-file' 'check:--hostname' 'check:--storage' 'check:--rootfs' 'check:--bridge' 'check:--vlan' 'check:--ip' 'check:--gateway' 'check:--ip6' 'check:--gateway6' 'check:--nameserver' 'check:--memory' 'check:--swap' 'check:--cores' 'check:--onboot' 'check:--env' 'check:--label' 'check:--publish' 'check:--volume' 'check:--command' 'check:--config'
                set flag $word
            case 'config:--config'
                set flag $word
            case 'config check:--spec' 'config check:--config'
                set flag $word
            case 'doctor:--timeout' 'doctor:--config'
                set flag $word
            case 'registry:--config'
                set flag $word
            case 'registry check:--config'
                set flag $word
            case 'cache:--config'
                set flag $word
            case 'cache list:--config'
                set flag $word
            case 'cache prune:--unused' 'cache prune:--config'
                set flag $word
            case 'firewall:--config'
                set flag $word
            case 'firewall show:--config'
                set flag $word
            case 'firewall apply:--config'
                set flag $word
            case 'firewall remove:--config'
                set flag $word
            case 'audit:--config'
                set flag $word
            case 'audit verify:--config'
                set flag $word
            case 'metrics:--config'
                set flag $word
            case 'pin:--config'
                set flag $word
            case 'pin rotate:--config'
                set flag $word
            case 'version:--config'
                set flag $word
            case '*:-*'
            case '*'
                set -g __felhom_agentd_number (math $__felhom_agentd_number + 1)
        end
    end
end

function __felhom_agentd_is
    __felhom_agentd_line
    test "$__felhom_agentd_at" = "$argv[1]"; and begin
        test (count $argv) -eq 1; or contains -- $__felhom_agentd_number $argv[2..-1]; or begin
            test "$argv[-1]" = +; and test $__felhom_agentd_number -ge $argv[2]
        end
    end
end

function __felhom_agentd_guests
    __felhom_agentd_line
    felhom-agentd $__felhom_agentd_config guest list --json 2>/dev/null | string match -rag '"guest": *([0-9]+)'
end

function __felhom_agentd_archives
    __fish_complete_path (string replace -r '^--[^=]*=' '' -- (commandline -ct)) | string match -r '.*(?:\.tar\.zst|/)(?:\t.*)?$'
end

complete -c felhom-agentd -f
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a serve -d 'Serve the local API until SIGTERM'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a guest -d 'Add, change, attach, detach, remove, list and show guests; rotate and revoke tokens'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a provision -d 'Make a guest from a golden image and see its controller come up'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a template -d 'List and remove the templates that guests are linked clones of'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a check -d 'Find all that would make provision fail, and change nothing'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a config -d 'Print the configuration, or an example of one'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a doctor -d 'Find what is wrong on this host, and say what to do'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a registry -d 'Check the host\'s access to registries'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a cache -d 'List and remove the blobs that the registry proxy keeps'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a firewall -d 'Show, apply and remove rules that let only the guests reach the local API'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a audit -d 'Check the log of tokens and pulls'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a metrics -d 'Print what the daemon counts, in the form of Prometheus'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a pin -d 'Print the pins of this host\'s certificates, or rotate its keys'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -a version -d 'Print version, Go version and platform'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'\'' -l version -d 'Print the version'
complete -c felhom-agentd -n '__felhom_agentd_is \'serve\'' -l log-format -x -d 'Form of the log: text, json, or auto: text on a terminal, else json (default: auto)'
complete -c felhom-agentd -n '__felhom_agentd_is \'serve\'' -l log-level -x -d 'Log this and what is worse: error, warning, info or debug (default: info)'
complete -c felhom-agentd -n '__felhom_agentd_is \'serve\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'serve\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a add -d 'Make a guest known and write its config mount; of a known one, replace the token'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a rotate -d 'Give known guests new tokens; no request fails meanwhile'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a revoke -d 'End all tokens of a guest at once'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a set -d 'Change the container of one guest, and see it come up'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a set-image -d 'Have one guest run another image, and see it come up'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a rollout -d 'Have many guests run another image, some at a time'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a attach -d 'Mount a known guest\'s config directory, at once if the guest runs'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a detach -d 'End the config mount in a guest; its directory stays'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a remove -d 'Remove all that was made for a guest: itself if provision made it, mount, token, reports'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a list -d 'Show the guests: what runs in them, where, and what is wrong'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -a show -d 'Show all that is known of a guest, and its container\'s settings'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest add\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest add\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest add\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest add\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rotate\'' -l all -d 'Rotate the tokens of all guests'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rotate\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rotate\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rotate\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rotate\' 0 +' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest revoke\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest revoke\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest revoke\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest revoke\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l wait -x -d 'How long to wait for the guest\'s bootstrap; 0s: not at all (default: provision.wait, 5m)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l image -x -d 'The controller\'s image, in place of the configuration\'s: a full REFERENCE'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l profile -x -d 'What the container gets unasked: felhom or plain'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l ready-wait -x -d 'DURATION that the controller may take to become ready'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l env-file -r -F -d 'FILE with secret variables of the container, mode 0600'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l memory -x -d 'SIZE with a unit, such as 512m: the container\'s limit'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l env -x -d 'Set a variable of the container, NAME=VALUE; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l label -x -d 'Set a label of the container, NAME=VALUE; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l publish -x -d 'Publish a port, HOSTPORT:PORT; may be repeated, and replaces the list'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l volume -x -d 'Mount a volume, SOURCE:TARGET; may be repeated, and replaces the list'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l command -x -d 'Run WORDS in place of the image\'s own command'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set-image\'' -l digest -x -d 'Want the image to have this manifest DIGEST, sha256:…'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set-image\'' -l wait -x -d 'How long to wait for the guest\'s bootstrap; 0s: not at all (default: provision.wait, 5m)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set-image\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set-image\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set-image\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest set-image\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l image -x -d 'The image to run: a full REFERENCE'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l digest -x -d 'Want the image to have this manifest DIGEST, sha256:…'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l guests -x -d 'VMIDS with commas between them; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l all -d 'All guests that have a token'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l wave -x -d 'Change this NUMBER of guests at a time (default: 1)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l max-failures -x -d 'Continue beside this NUMBER of failed guests'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l wait -x -d 'How long to wait for the guests of a wave (default: provision.wait, 5m)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l resume -d 'Continue the rollout that has not ended'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l abandon -d 'Forget the rollout that has not ended; guests stay as they are'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest rollout\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest attach\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest attach\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest attach\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest attach\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest detach\'' -l for -x -d 'Shut the guest down first, for a PURPOSE that PVE refuses with the mount: snapshot, rollback, clone, template, migration'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest detach\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest detach\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest detach\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest detach\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest remove\'' -l force -d 'Shut a running guest down first; its disks are removed'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest remove\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest remove\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest remove\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest remove\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest list\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest list\'' -l watch -d 'Show the table again every 2 seconds until Ctrl-C'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest list\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest list\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest show\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest show\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest show\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'guest show\' 0' -a '(__felhom_agentd_guests)'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l no-start -d 'Leave the guest stopped'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l wait -x -d 'How long to wait for the guest\'s bootstrap; 0s: not at all (default: provision.wait, 5m)'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l spec -r -F -d 'FILE with several guests (docs/agentd.md)'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l vmid -x -a '(__felhom_agentd_guests)' -d 'NUMBER of the guest, 100 to 999999999'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l golden -x -a '(__felhom_agentd_archives)' -d 'Archive to restore: an absolute PATH, or a volume of PVE'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l image -x -d 'The controller\'s image, in place of the configuration\'s: a full REFERENCE'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l profile -x -d 'What the container gets unasked: felhom or plain'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l ready-wait -x -d 'DURATION that the controller may take to become ready'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l env-file -r -F -d 'FILE with secret variables of the container, mode 0600'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l hostname -x -d 'NAME of the guest'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l storage -x -d 'PVE: STORAGE of the root file system'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l rootfs -x -d 'Size of the root file system in GIB'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l bridge -x -d 'BRIDGE of eth0'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l vlan -x -d 'VLAN TAG of eth0'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l ip -x -d 'An ADDRESS with its network\'s length such as 192.0.2.7/24, dhcp, or manual'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l gateway -x -d 'ADDRESS of the gateway, for a guest with an address as --ip'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l ip6 -x -d 'An IPv6 ADDRESS with its network\'s length, auto, dhcp, or manual'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l gateway6 -x -d 'IPv6 ADDRESS of the gateway, such as fe80::1, for an address as --ip6'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l nameserver -x -d 'ADDRESS of the guest\'s name server; up to three with blanks between'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l memory -x -d 'MIB of memory of the guest; with a unit, such as 512m, the container\'s limit'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l swap -x -d 'MIB of swap'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l cores -x -d 'NUMBER of processors'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l onboot -x -d 'Start it with the host: true or false'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l env -x -d 'Set a variable of the container, NAME=VALUE; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l label -x -d 'Set a label of the container, NAME=VALUE; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l publish -x -d 'Publish a port, HOSTPORT:PORT; may be repeated, and replaces the list'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l volume -x -d 'Mount a volume, SOURCE:TARGET; may be repeated, and replaces the list'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l command -x -d 'Run WORDS in place of the image\'s own command'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'provision\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'template\'' -a list -d 'List the templates and the guests that use them'
complete -c felhom-agentd -n '__felhom_agentd_is \'template\'' -a prune -d 'Remove templates of older golden images that no guest uses'
complete -c felhom-agentd -n '__felhom_agentd_is \'template\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'template\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'template list\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'template list\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'template list\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'template prune\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'template prune\'' -l all -d 'Remove unused templates of the current golden image too'
complete -c felhom-agentd -n '__felhom_agentd_is \'template prune\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'template prune\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l spec -r -F -d 'FILE with several guests (docs/agentd.md)'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l vmid -x -a '(__felhom_agentd_guests)' -d 'NUMBER of the guest, 100 to 999999999'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l golden -x -a '(__felhom_agentd_archives)' -d 'Archive to restore: an absolute PATH, or a volume of PVE'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l image -x -d 'The controller\'s image, in place of the configuration\'s: a full REFERENCE'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l profile -x -d 'What the container gets unasked: felhom or plain'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l ready-wait -x -d 'DURATION that the controller may take to become ready'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l env-file -r -F -d 'FILE with secret variables of the container, mode 0600'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l hostname -x -d 'NAME of the guest'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l storage -x -d 'PVE: STORAGE of the root file system'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l rootfs -x -d 'Size of the root file system in GIB'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l bridge -x -d 'BRIDGE of eth0'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l vlan -x -d 'VLAN TAG of eth0'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l ip -x -d 'An ADDRESS with its network\'s length such as 192.0.2.7/24, dhcp, or manual'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l gateway -x -d 'ADDRESS of the gateway, for a guest with an address as --ip'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l ip6 -x -d 'An IPv6 ADDRESS with its network\'s length, auto, dhcp, or manual'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l gateway6 -x -d 'IPv6 ADDRESS of the gateway, such as fe80::1, for an address as --ip6'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l nameserver -x -d 'ADDRESS of the guest\'s name server; up to three with blanks between'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l memory -x -d 'MIB of memory of the guest; with a unit, such as 512m, the container\'s limit'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l swap -x -d 'MIB of swap'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l cores -x -d 'NUMBER of processors'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l onboot -x -d 'Start it with the host: true or false'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l env -x -d 'Set a variable of the container, NAME=VALUE; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l label -x -d 'Set a label of the container, NAME=VALUE; may be repeated'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l publish -x -d 'Publish a port, HOSTPORT:PORT; may be repeated, and replaces the list'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l volume -x -d 'Mount a volume, SOURCE:TARGET; may be repeated, and replaces the list'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l command -x -d 'Run WORDS in place of the image\'s own command'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'check\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'config\'' -a check -d 'Find what is wrong with the configuration and a specification'
complete -c felhom-agentd -n '__felhom_agentd_is \'config\'' -l print -d 'Print the configuration with all defaults'
complete -c felhom-agentd -n '__felhom_agentd_is \'config\'' -l example -d 'Print an example with every key'
complete -c felhom-agentd -n '__felhom_agentd_is \'config\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'config\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'config check\'' -l spec -r -F -d 'FILE with several guests (docs/agentd.md)'
complete -c felhom-agentd -n '__felhom_agentd_is \'config check\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'config check\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'config check\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'doctor\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'doctor\'' -l timeout -x -d 'End each check after TIME (default: 20s)'
complete -c felhom-agentd -n '__felhom_agentd_is \'doctor\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'doctor\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'registry\'' -a check -d 'Prove that the credentials work for pulling'
complete -c felhom-agentd -n '__felhom_agentd_is \'registry\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'registry\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'registry check\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'registry check\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'registry check\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache\'' -a list -d 'List the blobs, the last used first'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache\'' -a prune -d 'Remove blobs that were not used for some time'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache list\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache list\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache list\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache prune\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache prune\'' -l unused -x -d 'Remove what was not used for TIME; 0s: all (default: 720h0m)'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache prune\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'cache prune\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall\'' -a show -d 'Print the rules, whether they are in force, and what PVE\'s firewall needs'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall\'' -a apply -d 'Replace the rules by those for the guests of now'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall\'' -a remove -d 'Remove the rules'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall show\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall show\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall show\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall apply\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall apply\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall apply\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall remove\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall remove\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'firewall remove\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'audit\'' -a verify -d 'Report whether the audit log is what was written'
complete -c felhom-agentd -n '__felhom_agentd_is \'audit\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'audit\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'audit verify\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'audit verify\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'audit verify\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'metrics\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'metrics\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin\'' -a rotate -d 'Make the next key the current one; no pinned request fails'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin rotate\'' -l json -d 'Print JSON'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin rotate\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'pin rotate\'' -l help -d 'Print help'
complete -c felhom-agentd -n '__felhom_agentd_is \'version\'' -l config -r -F -d 'Read the configuration from FILE (default: /etc/felhom/agentd.yaml)'
complete -c felhom-agentd -n '__felhom_agentd_is \'version\'' -l help -d 'Print help'
