//! The disk playbook on a real OpenSSH server: the tools of the file system are stood in for, since no test may grow this machine's disk.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Project, finish};
use crate::sshd::{Login, Server, user};

/// A server whose disk has a partition that grows once, and an xfs file system on it.
const TOOLS: [(&str, &str); 5] = [
    ("findmnt", "case \"$*\" in *SOURCE*) echo /dev/null ;; *) echo xfs ;; esac"),
    ("lsblk", "exit 0"),
    ("xfs_growfs", "echo \"$*\" >> \"$TOOLS/grown\""),
    ("df", "echo Size; if [ -e \"$TOOLS/grown\" ]; then echo 32212254720; else echo 8589934592; fi"),
    ("sudo", "shift 3; exec \"$@\""),
];

#[test]
fn a_file_system_grows_once_and_the_second_run_finds_it_grown() {
    let login = Login::with_playbooks();
    let tools = login.project.path("tools");
    for (name, text) in TOOLS {
        login
            .project
            .write(&format!("tools/{name}"), &format!("#!/bin/sh\nTOOLS={}\n{text}\n", tools.display()));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(tools.join(name), mode).expect("a mode");
    }
    let server = Server::with(&login, &format!("SetEnv PATH={}:/usr/bin:/bin", tools.display()), &[]);
    login.knows(&[&server]);
    let run = || {
        let mut command = login.project.command(&[
            "run",
            "disk",
            "--host",
            &server.address(),
            "--key",
            "id",
            "--mount",
            "/data",
        ]);
        command.env_remove("SSH_AUTH_SOCK").env("USER", user());
        finish(command).ended_with(0)
    };
    let ran = run().says("/data has grown to 30 GiB");
    assert!(ran.stdout.contains("true"), "{}", ran.stdout);
    let ran = run().says("/data has 30 GiB");
    assert!(ran.stdout.contains("false"), "{}", ran.stdout);
    assert_eq!(login.project.read("tools/grown"), "-d /data\n-d /data\n");
}

#[test]
fn a_size_that_no_volume_has_is_refused_before_anything_is_asked() {
    let project = Project::new();
    project.write("it.rhai", "stack(\"disk\"); ec2::ensure_instance(\"server\").grow_root_volume(0);");
    project.run_local("it.rhai", &["--yes"]).ended_with(1).says("0 is no size");
}
