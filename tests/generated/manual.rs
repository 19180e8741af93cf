//! What a manual page says beside the options: exit status, files, environment, examples, related pages. clap makes the
//! rest, and puts the help's last words into a section EXTRA, which the sections here replace.

const EXIT_STATUS: &str = r".SH EXIT STATUS
.TP
0
All selected domains are at the destination (after a rehearsal, back at the source); or what else was asked for is done.
.TP
1
This run moved nothing: a host is not reachable, a domain can't be moved, or any other error. What an earlier run had begun
may have been seen to its end first. A rehearsal also ends so where domains have moved and can't return: they are named, with
the command that brings them back.
.TP
2
Usage or configuration.
.TP
3
Some selected domains don't run at the destination: they remain at the source, ended by themselves, or an error has paused
them; or nothing gets through to one that has arrived. Each is named with its reason.
.TP
4
A domain is between the hosts, or lost. It is named. See tsmig\-recover(1).
.TP
130
Interrupted, and some domains remain; after a second interrupt some may be between the hosts, and tsmig\-recover(1) sees to
them. What moved and what did not is named. If all had arrived, the status is 0.
";

const HOSTS: &str = r".SH HOSTS
A host is a libvirt URI, a name in the configuration, or any other name, which means qemu+ssh://NAME/system.
.PP
Over ssh tsmig opens several connections to each host, and ssh never asks for anything:
.B ssh \-o BatchMode=yes NAME true
has to succeed, by a key without a passphrase or one in ssh\-agent. A shared connection (ControlMaster) is not enough, since
sshd serves ten sessions on one. A URI with no_tty=0 lets ssh ask.
";

const VALUES: &str = r".SH VALUES
.TP
.I PATTERN
A domain\(aqs name, or a glob such as web\-*. Between \-\-pre\-copy and \-\-post\-copy, and between \-\-first and \-\-last, a name
beats a glob. What \-\-exclude matches never moves. A pattern that matches no domain of either host is an error, with status 2.
.TP
.I RATE
Bits or bytes a second, such as 100Mbit, 1Gbit, 12MB/s or 1GiB/s.
.TP
.I DURATION
Such as 500ms, 30s, 5min or 2h.
";

const FILES: &str = r".SH FILES
.TP
.I /etc/tsmig/config.toml
Hosts, and what else is the same for everybody.
.TP
.I $XDG_CONFIG_HOME/tsmig/config.toml
The same for one user; what it says comes before what /etc says. Without XDG_CONFIG_HOME it is in ~/.config.
.TP
.I $XDG_STATE_HOME/tsmig/experience.jsonl
What earlier runs have shown, for the next plan: see tsmig\-model(1). Without XDG_STATE_HOME it is in /var/lib/tsmig for root,
and in ~/.local/state/tsmig for others. The journals of runs are beside it.
";

const ENVIRONMENT: &str = r".SH ENVIRONMENT
.TP
.B XDG_CONFIG_HOME
Where the user's configuration is.
.TP
.B XDG_STATE_HOME
Where the journals and experience.jsonl are, in its directory tsmig.
.TP
.B NO_COLOR
No colours, whatever the terminal can show. They only repeat what the words say.
";

/// Pages, their examples, and what else to read.
const EXAMPLES: [(&str, &[(&str, &str)]); 5] = [
    ("tsmig", EVACUATE),
    ("tsmig-evacuate", EVACUATE),
    (
        "tsmig-plan",
        &[
            ("What an evacuation would do, with reasons and times:", "tsmig plan host-a host-b --link 10Gbit"),
            (
                "The same from a saved profile, with no host at hand:",
                "tsmig plan --profile both.json --objective impact",
            ),
        ],
    ),
    (
        "tsmig-profile",
        &[
            ("The traffic of each domain, watched for a minute:", "tsmig profile host-a --window 1min"),
            ("Both hosts, kept for later plans:", "tsmig profile host-a host-b --save both.json"),
        ],
    ),
    (
        "tsmig-report",
        &[
            ("What became of an evacuation, as a table:", "tsmig report night.json"),
            ("As a page for the browser:", "tsmig report night.json --html night.html"),
        ],
    ),
];

const EVACUATE: &[(&str, &str)] = &[
    ("What would be done, and nothing moved:", "tsmig evacuate host-a host-b --link 10Gbit --dry-run"),
    ("Move everything, and keep a report:", "tsmig evacuate host-a host-b --link 10Gbit --report night.json"),
    (
        "All but the test machines, the database last, over a network of its own:",
        "tsmig evacuate host-a host-b --exclude 'test-*' --last db --migration-uri tcp://10.1.0.2",
    ),
];

/// The page with its sections.
pub fn complete(name: &str, page: &str) -> String {
    let end = page.find(".SH EXTRA").or_else(|| page.find(".SH VERSION")).unwrap_or(page.len());
    let mut text = page[..end].to_owned() + EXIT_STATUS;
    if ["tsmig", "tsmig-evacuate", "tsmig-plan", "tsmig-profile", "tsmig-recover", "tsmig-rehearse"].contains(&name) {
        text += HOSTS;
    }
    if ["tsmig", "tsmig-evacuate", "tsmig-plan", "tsmig-rehearse", "tsmig-profile"].contains(&name) {
        text += VALUES;
    }
    if name != "tsmig-report" {
        text += FILES;
    }
    text += ENVIRONMENT;
    if let Some((_, examples)) = EXAMPLES.iter().find(|(page, _)| *page == name) {
        text += ".SH EXAMPLES\n";
        for (what, command) in *examples {
            text += &format!(".PP\n{what}\n.PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", command.replace('-', "\\-"));
        }
    }
    let others = [
        "tsmig",
        "tsmig-config",
        "tsmig-evacuate",
        "tsmig-model",
        "tsmig-plan",
        "tsmig-profile",
        "tsmig-recover",
        "tsmig-rehearse",
        "tsmig-report",
    ];
    let related: Vec<_> = others
        .into_iter()
        .filter(|other| *other != name)
        .map(|other| format!(".BR {} (1)", other.replace('-', "\\-")))
        .chain([r".BR tsmig\-config (5)".to_owned(), ".BR virsh (1)".to_owned()])
        .collect();
    text + ".SH SEE ALSO\n" + &related.join(" ,\n") + "\n"
}
