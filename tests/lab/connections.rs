//! Connections: log-ins by ssh that need a person, an sshd that has too many, TLS, and the address that the memory goes to.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Run, Test, assert_states, idle, run, start, tsmig};

pub const TESTS: &[(&str, Test)] = &[
    ("ssh_never_asks_and_what_to_do_is_said", ssh_never_asks),
    ("a_log_in_that_a_busy_sshd_drops_is_tried_again", busy_sshd),
    ("over_tls_from_client_to_hosts_and_from_host_to_host", over_tls),
    ("memory_goes_to_the_migration_uri_of_the_configuration", migration_uri),
];

/// A program in a new directory of this test's.
fn program(directory: &Path, name: &str, script: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(path)
}

fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let directory = lab.shared_dir().join(name);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir(&directory)?,
    }
    Ok(directory)
}

fn profile_by(lab: &Lab, ssh: &Path) -> Result<Run> {
    run(lab, &["profile", &format!("qemu+ssh://host-a/system?command={}", ssh.display())])
}

fn ssh_never_asks(lab: &Lab) -> Result<()> {
    let directory = directory(lab, "ssh")?;
    let path = |name: &str| directory.join(name).display().to_string();
    program(&directory, "ask", &format!("touch {}; echo wrong", path("asked")))?;
    // Whatever ssh asks, it asks that program, as it would ask a person at a terminal.
    let ssh = |name: &str, options: &str| {
        let ask = format!("SSH_ASKPASS={} SSH_ASKPASS_REQUIRE=force", path("ask"));
        program(&directory, name, &format!("{ask} exec ssh {options} \"$@\""))
    };
    let as_is = profile_by(lab, &ssh("as-is", "")?)?;
    ensure!(as_is.status == 0, "{}", as_is.stderr);

    let refused = profile_by(lab, &ssh("no-key", "-o PubkeyAuthentication=no")?)?;
    ensure!(refused.status == 1, "{}", refused.stdout);
    for said in ["Permission denied", "ssh-copy-id host-a", "ssh-add", "ssh -o BatchMode=yes host-a true"] {
        ensure!(refused.stderr.contains(said), "{said} in {}", refused.stderr);
    }

    let key = path("key");
    lab.run(Node::Client, &["cp", "/etc/ssh/key", &key])?;
    lab.run(Node::Client, &["ssh-keygen", "-q", "-p", "-N", "passphrase", "-f", &key])?;
    let locked = ssh("locked", &format!("-F none -l root -o GlobalKnownHostsFile=/etc/ssh/known_hosts -i {key}"))?;
    let refused = profile_by(lab, &locked)?;
    ensure!(refused.status == 1 && refused.stderr.contains("ssh-add"), "{}", refused.stderr);
    let tsmig = format!("{} profile 'qemu+ssh://host-a/system?command={}' --window 1s", TSMIG, locked.display());
    let with_agent = format!("ssh-add -q /etc/ssh/key && {tsmig}");
    lab.run(Node::Client, &["ssh-agent", "sh", "-c", &with_agent])?;

    let known = path("known");
    let stranger = ssh("stranger", &format!("-o GlobalKnownHostsFile=none -o UserKnownHostsFile={known}"))?;
    let refused = profile_by(lab, &stranger)?;
    ensure!(refused.status == 1 && refused.stderr.contains("run `ssh host-a true` once"), "{}", refused.stderr);
    ensure!(!directory.join("asked").exists(), "ssh asked for something");
    let accept = ["-o", "StrictHostKeyChecking=accept-new", "host-a", "true"];
    lab.run(Node::Client, &[&[&*stranger.to_string_lossy()], &accept[..]].concat())?;
    let known = profile_by(lab, &stranger)?;
    ensure!(known.status == 0, "{}", known.stderr);
    Ok(())
}

const TSMIG: &str = env!("CARGO_BIN_EXE_tsmig");

fn busy_sshd(lab: &Lab) -> Result<()> {
    // One that has had one log-in begun drops all others unheard.
    const LIMITED: &str = "/usr/sbin/sshd -f /etc/ssh/sshd_config -p 2222 -o PidFile=/run/limited.pid \
                           -o MaxStartups=1:100:1 -o PerSourcePenalties=no && echo started";
    lab.run(Node::HostA, &["sh", "-ec", LIMITED])?;
    let directory = directory(lab, "busy")?;
    let dropped = directory.join("dropped");
    let ssh = program(&directory, "ssh", &format!("ssh \"$@\"; status=$?; touch {}; exit $status", dropped.display()))?;
    let mut holder = lab
        .command(Node::Client, "bash")
        .args(["-c", "exec 3<>/dev/tcp/host-a/2222; head -c 4 <&3; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut greeting = [0; 4];
    std::io::Read::read_exact(holder.stdout.as_mut().context("piped")?, &mut greeting)?;
    let uri = format!("qemu+ssh://host-a:2222/system?command={}", ssh.display());
    let mut command = tsmig(lab, &["profile", &uri]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    while !dropped.exists() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    holder.kill()?;
    holder.wait()?;
    let run = Run::of(running.wait_with_output()?);
    lab.run(Node::HostA, &["sh", "-c", "kill $(cat /run/limited.pid)"])?;
    let run = run?;
    ensure!(run.status == 0, "{}", run.stderr);
    Ok(())
}

fn migration_uri(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![idle("i1"), idle("i2")])?;
    let addresses = |verb: &str| -> Result<()> {
        for (host, address) in [(Node::HostA, "10.10.1.1/24"), (Node::HostB, "10.10.1.2/24")] {
            lab.run(host, &["ip", "address", verb, address, "dev", "br0"])?;
        }
        Ok(())
    };
    addresses("add")?;
    let file = directory(lab, "uri")?.join("config.toml");
    let hosts =
        "[hosts.host-a]\nlink = '100Mbit'\n[hosts.host-b]\nlink = '100Mbit'\nmigration_uri = 'tcp://10.10.1.2'\n";
    fs::write(&file, hosts)?;
    let (config, path) = ("--config", &*file.to_string_lossy());
    for (guest, technique) in [("i1", "pre-copy"), ("i2", "post-copy")] {
        let arguments = ["evacuate", "host-a", "host-b", "--only", guest, "--technique", technique, config, path];
        let mut running = start(lab, &[&arguments[..], &["--bandwidth", "60Mbit"]].concat())?;
        running.wait_for_progress(guest)?;
        let streams = lab.run(Node::HostA, &["ss", "-Htn", "state", "established", "dport >= :49152"])?;
        let run = running.end()?;
        ensure!(streams.contains("10.10.1.2:49152") && !streams.contains("10.10.0.2:491"), "{streams}");
        ensure!(run.status == 0, "{}", run.stdout);
        assert_states(lab, guest, None, Some("running"))?;
    }
    addresses("del")?;
    guests.assert_alive(lab)
}

/// A certificate authority, a certificate for each host, and what a client needs, in the directory where the script runs.
const CERTIFICATES: &str = "
    new='-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
    openssl req -x509 $new -subj /CN=lab -addext keyUsage=critical,keyCertSign -keyout ca.key -out cacert.pem
    for host in host-a host-b; do
        openssl req $new -subj /CN=$host -keyout $host.key -out $host.request
        printf 'subjectAltName=DNS:%s\\nkeyUsage=digitalSignature\\nextendedKeyUsage=serverAuth,clientAuth' $host > $host.ext
        openssl x509 -req -in $host.request -CA cacert.pem -CAkey ca.key -extfile $host.ext -out $host.pem
    done
    cp host-a.pem clientcert.pem
    cp host-a.key clientkey.pem";

/// Lets a host's libvirt listen by TLS, and take the client's certificates from where the client has them.
const LISTEN_BY_TLS: &str = "
    mkdir -p /etc/pki/CA /etc/pki/libvirt/private \"$(dirname \"$1\")\"
    ln -sfn /srv/shared \"$1\"
    cd /srv/shared/tls
    cp cacert.pem /etc/pki/CA/
    cp \"$(hostname).pem\" /etc/pki/libvirt/servercert.pem
    cp \"$(hostname).key\" /etc/pki/libvirt/private/serverkey.pem
    sed -i 's/^listen_tls = 0/listen_tls = 1/' /etc/libvirt/libvirtd.conf";

fn over_tls(lab: &Lab) -> Result<()> {
    let directory = directory(lab, "tls")?;
    let make = format!("cd {} && {CERTIFICATES}", directory.display());
    lab.run(Node::Client, &["sh", "-ec", &make])?;
    for &host in lab.hosts() {
        lab.run(host, &["sh", "-ec", LISTEN_BY_TLS, "sh", &lab.shared_dir().to_string_lossy()])?;
        kill(lab.libvirtd_pid(host)?, Signal::SIGKILL)?;
    }
    lab.start_daemons()?;
    let guests = Guests::boot(lab, vec![idle("i1")])?;
    let uri = |host: Node| format!("qemu+tls://{host}/system?pkipath={}", directory.display());
    let (from, to) = (uri(Node::HostA), uri(Node::HostB));
    let run = run(lab, &["evacuate", &from, &to, "--link", "100Mbit", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    ensure!(run.notices()?.is_empty(), "the source's libvirt reaches host-b by TLS, too: {}", run.stdout);
    assert_states(lab, "i1", None, Some("running"))?;
    guests.assert_alive(lab)
}
