//! The disk playbook on a real OpenSSH server: the tools of the file system are stood in for, since no test may grow this machine's disk.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Project, finish};
use crate::sshd::{Login, Server, may_be_root};

/// A server whose disk has a partition that grows once, and an xfs file system on it.
const TOOLS: [(&str, &str); 5] = [
    ("findmnt", "case \"$*\" in *SOURCE*) echo /dev/null ;; *) echo xfs ;; esac"),
    ("lsblk", "exit 0"),
    ("xfs_growfs", "echo \"$*\" >> \"$TOOLS/grown\""),
    ("df", "echo Size; if [ -e \"$TOOLS/grown\" ]; then echo 32212254720; else echo 8589934592; fi"),
    ("sudo", "shift 3; exec \"$@\""),
];

/// A server with these tools.
fn server(login: &Login) -> Server {
    let tools = login.project.path("tools");
    for (name, text) in TOOLS {
        login
            .project
            .write(&format!("tools/{name}"), &format!("#!/bin/sh\nTOOLS={}\n{text}\n", tools.display()));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(tools.join(name), mode).expect("a mode");
    }
    Server::with(login, &format!("SetEnv PATH={}:/usr/bin:/bin", tools.display()), &[])
}

#[test]
fn a_file_system_grows_once_and_the_second_run_finds_it_grown() {
    let login = Login::with_playbooks();
    let server = server(&login);
    login.knows(&[&server]);
    let run = || {
        let arguments = ["run", "disk", "--host", &server.address(), "--key", "id", "--mount", "/data"];
        finish(login.ops(&arguments)).ended_with(0)
    };
    let ran = run().says("/data has grown to 30 GiB");
    assert!(ran.stdout.contains("true"), "{}", ran.stdout);
    let ran = run().says("/data has 30 GiB");
    assert!(ran.stdout.contains("false"), "{}", ran.stdout);
    assert_eq!(login.project.read("tools/grown"), "-d /data\n-d /data\n");
}

#[test]
fn the_volume_of_an_instance_grows_with_its_file_system_and_never_shrinks() {
    let login = Login::with_playbooks();
    let server = server(&login);
    login.put_behind("s", &[("web", &server, &server)]);
    let instance = "stack(\"s\"); let group = ec2::ensure_security_group(\"app\"); \
                    ec2::ensure_instance(\"web\", #{ key_pair: ec2::ensure_key_pair(\"key\"), security_groups: [group] }).wait();";
    finish(login.command(instance, &["--local", "--yes"])).ended_with(0);
    let run =
        |size: &str| finish(login.ops(&["run", "disk", "--local", "--yes", "--stack", "s", "--size", size]));

    finish(login.ops(&["run", "disk", "--local", "--dry-run", "--stack", "s"]))
        .ended_with(0)
        .says("8 to 30 GiB");
    assert!(!login.project.path("tools/grown").exists(), "a plan has changed the server");
    let ran = run("30").ended_with(0).says("root volume, 8 to 30 GiB").says("s-web: / has grown to 30 GiB");
    assert!(ran.stdout.contains("grown  1"), "{}", ran.stdout);
    let ran = run("30").ended_with(0).says("s-web: / has 30 GiB").says("==> 0 changes");
    assert!(ran.stdout.contains("grown  0"), "{}", ran.stdout);
    run("20").ended_with(1).says("has 30 GiB, and 20 GiB are asked for").says("never shrink");
    run("40").ended_with(1).says("VolumeModificationRateExceeded");
}

#[test]
fn a_size_that_no_volume_has_is_refused_before_anything_is_asked() {
    let project = Project::new();
    project.write("it.rhai", "stack(\"disk\"); ec2::ensure_instance(\"server\").grow_root_volume(0);");
    project.run_local("it.rhai", &["--yes"]).ended_with(1).says("0 is no size");
}

/// A disk that is a file, until the test ends.
struct Disk(String);

impl Disk {
    fn new(project: &Project, name: &str) -> Self {
        let file = std::fs::File::create(project.path(name)).expect("a file");
        file.set_len(64 << 20).expect("room");
        let output = Command::new("losetup").args(["--find", "--show"]).arg(project.path(name)).output();
        let output = output.expect("losetup is installed: `apt-get install mount`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Disk(String::from_utf8(output.stdout).expect("a path").trim().to_owned())
    }

    /// What blkid finds on it.
    fn found(&self) -> String {
        let output = Command::new("blkid").args(["--probe", "--output", "export", &self.0]).output();
        String::from_utf8(output.expect("blkid is installed").stdout).expect("text")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_blank_disk_is_formatted_once_and_what_holds_data_never_is() {
    if !may_be_root("disks are mounted") {
        return;
    }
    let login = Login::with_playbooks();
    login.project.write("fstab", "");
    // Each connection has mounts of its own, and its own fstab: this machine keeps those that it has.
    let alone = format!("mount --bind {} /etc/fstab && exec \"$@\"", login.project.path("fstab").display());
    let server = Server::with(
        &login,
        "",
        &["unshare", "--mount", "--propagation", "private", "sh", "-c", &alone, "sh"],
    );
    login.knows(&[&server]);
    let at = login.project.path("data").display().to_string();
    let disk = Disk::new(&login.project, "disk");
    let mount = |device: &str| {
        let address = server.address();
        let arguments = [
            "run",
            "playbooks/cookbook/mount_volume.rhai",
            "--host",
            &address,
            "--key",
            "id",
            "--device",
            device,
            "--mount",
            &at,
        ];
        finish(login.ops(&arguments))
    };

    mount(&disk.0).ended_with(0).says("formatted with ext4, in fstab as").says("mounted");
    let formatted = disk.found();
    assert!(formatted.contains("TYPE=ext4"), "{formatted}");
    // The mount was that connection's: as after a restart, it is there again, with the same file system.
    mount(&disk.0).ended_with(0).says(": mounted");
    assert_eq!(disk.found(), formatted);
    assert_eq!(login.project.read("fstab").lines().count(), 1);

    let parted = Disk::new(&login.project, "parted");
    let mut sector = [0; 512];
    // A partition of Linux (type 0x83) at sector 2048 with 65536 of them, and the signature of a master boot record.
    sector[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut written = std::fs::File::options().write(true).open(&parted.0).expect("the disk");
    written.write_all(&sector).and_then(|()| written.sync_all()).expect("a partition table");
    let before = parted.found();
    mount(&parted.0).ended_with(1).says("holds no file system, and is not blank either");
    assert_eq!(parted.found(), before);
    mount("/dev/null").ended_with(1).says("/dev/null is no disk");
}
