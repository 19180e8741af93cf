# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tsmig_global_optspecs
    string join \n output= q/quiet config= h/help V/version
end

function __fish_tsmig_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tsmig_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tsmig_using_subcommand
    set -l cmd (__fish_tsmig_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tsmig -n "__fish_tsmig_needs_command" -l output -d 'Form of the result on standard output; with json, evacuate prints one event a line' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c tsmig -n "__fish_tsmig_needs_command" -l config -d 'Read this configuration after the usual ones (/etc/tsmig/config.toml, then $XDG_CONFIG_HOME/tsmig/config.toml)' -r -F
complete -c tsmig -n "__fish_tsmig_needs_command" -s q -l quiet -d 'No progress and no notices on standard error'
complete -c tsmig -n "__fish_tsmig_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tsmig -n "__fish_tsmig_needs_command" -s V -l version -d 'Print version'
complete -c tsmig -n "__fish_tsmig_needs_command" -f -a "evacuate" -d 'Profile both hosts, plan, migrate all selected domains, report'
complete -c tsmig -n "__fish_tsmig_needs_command" -f -a "plan" -d 'Print the plan that evacuate would run; nothing is moved'
complete -c tsmig -n "__fish_tsmig_needs_command" -f -a "profile" -d 'Print the traffic of each domain over the window'
complete -c tsmig -n "__fish_tsmig_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l migration-uri -d 'Where the destination takes the memory in, for example tcp://10.1.0.2: for a migration network of its own' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l timeout -d 'Cancel a migration that has not switched over after so long; auto is 800 s for each GiB of memory begun' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l report -d 'Write the report to a file as JSON, too' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l window -d 'How long to watch the traffic' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l interval -d 'Time between two samples' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l link -d 'Capacity of the NIC that carries the migration, each way, on both hosts; else as configured, detected, or 1Gbit' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l only -d 'Move only these domains; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l from-report -d 'Move only what an earlier run moved, as its report (--report) says: to bring the domains back after maintenance' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l exclude -d 'Leave these domains where they are; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l technique -d 'One technique for all domains that no pattern below names, or auto for the best mix' -r -f -a "auto\t'The planner chooses per domain'
pre-copy\t'Pre-copy for all'
post-copy\t'Post-copy for all'"
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l pre-copy -d 'These domains go by pre-copy; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l post-copy -d 'These domains go by post-copy; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l first -d 'These domains are launched before all others; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l last -d 'These domains are launched after all others; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l concurrency -d 'At most so many migrations at once, or auto for the best number' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l objective -d 'Aim at the least total time, or at the least harm to the guests\' traffic' -r -f -a "time\t'The least total migration time'
impact\t'The least application traffic lost, within a bounded total time'"
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l post-copy-limit -d 'At most so many domains in post-copy at once: what a link that breaks for good could cost' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l bandwidth -d 'Cap on all migration traffic together' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l window-limit -d 'Say whether the evacuation is predicted to fit a maintenance window of this length' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l output -d 'Form of the result on standard output; with json, evacuate prints one event a line' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l config -d 'Read this configuration after the usual ones (/etc/tsmig/config.toml, then $XDG_CONFIG_HOME/tsmig/config.toml)' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -s n -l dry-run -d 'Stop after the plan'
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l partial -d 'Move what can be moved where some domain can\'t; without it, then nothing is'
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -l offline -d 'Move the definitions of inactive domains, too; their disks are not copied'
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -s q -l quiet -d 'No progress and no notices on standard error'
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tsmig -n "__fish_tsmig_using_subcommand evacuate" -s V -l version -d 'Print version'
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l profile -d 'Plan from a saved profile instead of two hosts; no libvirt is needed' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l save -d 'Write the plan to a file as JSON, too' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l window -d 'How long to watch the traffic' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l interval -d 'Time between two samples' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l link -d 'Capacity of the NIC that carries the migration, each way, on both hosts; else as configured, detected, or 1Gbit' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l only -d 'Move only these domains; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l from-report -d 'Move only what an earlier run moved, as its report (--report) says: to bring the domains back after maintenance' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l exclude -d 'Leave these domains where they are; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l technique -d 'One technique for all domains that no pattern below names, or auto for the best mix' -r -f -a "auto\t'The planner chooses per domain'
pre-copy\t'Pre-copy for all'
post-copy\t'Post-copy for all'"
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l pre-copy -d 'These domains go by pre-copy; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l post-copy -d 'These domains go by post-copy; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l first -d 'These domains are launched before all others; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l last -d 'These domains are launched after all others; repeatable' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l concurrency -d 'At most so many migrations at once, or auto for the best number' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l objective -d 'Aim at the least total time, or at the least harm to the guests\' traffic' -r -f -a "time\t'The least total migration time'
impact\t'The least application traffic lost, within a bounded total time'"
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l post-copy-limit -d 'At most so many domains in post-copy at once: what a link that breaks for good could cost' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l bandwidth -d 'Cap on all migration traffic together' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l window-limit -d 'Say whether the evacuation is predicted to fit a maintenance window of this length' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l output -d 'Form of the result on standard output; with json, evacuate prints one event a line' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l config -d 'Read this configuration after the usual ones (/etc/tsmig/config.toml, then $XDG_CONFIG_HOME/tsmig/config.toml)' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -l offline -d 'Move the definitions of inactive domains, too; their disks are not copied'
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -s q -l quiet -d 'No progress and no notices on standard error'
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tsmig -n "__fish_tsmig_using_subcommand plan" -s V -l version -d 'Print version'
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -l save -d 'Write the profile to a file as JSON, too' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -l window -d 'How long to watch the traffic' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -l interval -d 'Time between two samples' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -l link -d 'Capacity of the NIC that carries the migration, each way, on both hosts; else as configured, detected, or 1Gbit' -r
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -l output -d 'Form of the result on standard output; with json, evacuate prints one event a line' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -l config -d 'Read this configuration after the usual ones (/etc/tsmig/config.toml, then $XDG_CONFIG_HOME/tsmig/config.toml)' -r -F
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -s q -l quiet -d 'No progress and no notices on standard error'
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tsmig -n "__fish_tsmig_using_subcommand profile" -s V -l version -d 'Print version'
complete -c tsmig -n "__fish_tsmig_using_subcommand help; and not __fish_seen_subcommand_from evacuate plan profile help" -f -a "evacuate" -d 'Profile both hosts, plan, migrate all selected domains, report'
complete -c tsmig -n "__fish_tsmig_using_subcommand help; and not __fish_seen_subcommand_from evacuate plan profile help" -f -a "plan" -d 'Print the plan that evacuate would run; nothing is moved'
complete -c tsmig -n "__fish_tsmig_using_subcommand help; and not __fish_seen_subcommand_from evacuate plan profile help" -f -a "profile" -d 'Print the traffic of each domain over the window'
complete -c tsmig -n "__fish_tsmig_using_subcommand help; and not __fish_seen_subcommand_from evacuate plan profile help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
