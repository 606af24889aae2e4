//! Files to and from real OpenSSH servers, tunnels through them, and what a broken line or a full disk leaves behind.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{until, wait};
use crate::sshd::{Login, Server, may_be_root, user};

/// `size` bytes that differ from place to place.
fn bytes(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the file is there").permissions().mode() & 0o7777
}

#[test]
fn a_file_is_sent_once_with_its_mode_and_comes_back() {
    let login = Login::new();
    let server = Server::start(&login);
    let content = bytes(3_000_000);
    std::fs::write(login.project.path("blob"), &content).expect("a file");
    let far = login.project.path("far's $(name)");
    let text = format!(
        r#"let far = "{}";
        print(server.upload("blob", far)); print(server.upload("blob", far)); print(server.upload("blob", far, #{{ mode: "0600" }}));
        server.download(far, "back"); server.download(far, "open", #{{ mode: "0644" }});
        try {{ server.download(far + "x", "none"); }} catch (e) {{ print(e.kind); }}
        server.upload("blob", "/tmp");"#,
        far.display()
    );
    let ran = login.run(&login.script(&[&server], &text)).ended_with(1).says("/tmp is a folder");
    assert_eq!(ran.stdout, "true\nfalse\ntrue\nnot_found\n");
    assert!(std::fs::read(&far).expect("it was sent") == content);
    assert!(std::fs::read(login.project.path("back")).expect("it was fetched") == content);
    assert_eq!(
        (mode(&far), mode(&login.project.path("back")), mode(&login.project.path("open"))),
        (0o600, 0o600, 0o644)
    );
    assert!(!login.project.path("none").exists());
}

#[test]
fn a_file_is_written_only_where_it_differs() {
    let login = Login::new();
    let server = Server::start(&login);
    let far = login.project.path("far");
    let text = format!(
        r#"let far = "{}"; let text = "one\ntwo's $x\n";
        print([server.write_file(far, text), server.write_file(far, text), server.write_file(far, text, #{{ mode: "0640" }}),
               server.write_file(far, "other"), server.write_file(far, "other", #{{ mode: "0640", sudo: {} }})]);
        print(server.write_file(far, ""));"#,
        far.display(),
        user() == "root"
    );
    let ran = login.run(&login.script(&[&server], &text)).ended_with(0);
    assert_eq!(ran.stdout, "[true, false, true, true, false]\ntrue\n");
    assert_eq!((std::fs::read_to_string(&far).expect("it is there").as_str(), mode(&far)), ("", 0o640));
}

#[test]
fn an_upload_that_is_cut_leaves_the_old_file_and_goes_on_where_it_stopped() {
    let login = Login::new();
    let server = Server::start(&login);
    let content = bytes(64_000_000);
    std::fs::write(login.project.path("blob"), &content).expect("a file");
    let (far, part) = (login.project.path("far"), login.project.path(".far.ops-part"));
    std::fs::write(&far, "old").expect("a file");
    let text = login.script(&[&server], &format!("print(server.upload(\"blob\", \"{}\"));", far.display()));
    let there = || std::fs::metadata(&part).map_or(0, |found| found.len());

    let child =
        login.command(&text, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("some of it has arrived", || there() > 1_000_000);
    server.cut();
    wait(child).ended_with(1).says("the connection to 127.0.0.1 was lost");
    assert_eq!(std::fs::read(&far).expect("it is there"), b"old");
    // The shell on the far side takes note of the end a moment later.
    until("the part is at rest", || {
        let before = there();
        std::thread::sleep(std::time::Duration::from_millis(100));
        before == there() && before > 0
    });
    let begun = there();
    assert!(begun < content.len() as u64, "nothing was cut");

    login.run(&text).ended_with(0);
    assert!(std::fs::read(&far).expect("it was sent") == content);
    assert!(!part.exists());

    // A part of another file is no beginning of this one.
    std::fs::write(&part, bytes(1000).iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).expect("a file");
    std::fs::write(login.project.path("blob"), &content[..2_000_000]).expect("a file");
    login.run(&text).ended_with(0);
    assert!(std::fs::read(&far).expect("it was sent") == content[..2_000_000]);
}

#[test]
fn a_download_that_was_cut_goes_on_where_it_stopped() {
    let login = Login::new();
    let server = Server::start(&login);
    let content = bytes(2_000_000);
    let far = login.project.path("far");
    std::fs::write(&far, &content).expect("a file");
    let text = login.script(&[&server], &format!("server.download(\"{}\", \"near\");", far.display()));
    for part in [&content[..1_500_000], &[7; 1_000][..], &content[..], &bytes(3_000_000)[..]] {
        std::fs::write(login.project.path(".near.ops-part"), part).expect("a file");
        login.run(&text).ended_with(0);
        assert!(std::fs::read(login.project.path("near")).expect("it was fetched") == content);
        assert!(!login.project.path(".near.ops-part").exists());
    }
}

#[test]
fn a_far_side_that_can_take_no_more_says_so_and_keeps_nothing() {
    let login = Login::new();
    // A limit on the size of files, which every user can set: writing fails in the middle as on a full disk.
    let server =
        Server::with(&login, "", &["/bin/bash", "-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sshd"]);
    std::fs::write(login.project.path("blob"), bytes(3_000_000)).expect("a file");
    let far = login.project.path("far");
    let text = format!(
        "print(server.write_file(\"{0}\", \"small\")); server.upload(\"blob\", \"{0}\");",
        far.display()
    );
    let ran = login.run(&login.script(&[&server], &text)).ended_with(1).says("File too large");
    assert_eq!(ran.stdout, "true\n");
    assert_eq!(std::fs::read(&far).expect("it is there"), b"small");
    assert!(!login.project.path(".far.ops-part").exists());
}

#[test]
fn a_full_disk_on_the_far_side_keeps_the_old_file() {
    if !may_be_root("a small disk is mounted") {
        return;
    }
    let login = Login::new();
    let server = Server::start(&login);
    let disk = login.project.path("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&disk).status();
    assert!(mounted.expect("mount is installed").success(), "a small disk can be mounted");
    std::fs::write(disk.join("far"), "old").expect("a file");
    std::fs::write(login.project.path("blob"), bytes(3_000_000)).expect("a file");
    let text = format!("server.upload(\"blob\", \"{}/far\");", disk.display());
    let ran = login.run(&login.script(&[&server], &text));
    let left: Vec<_> =
        std::fs::read_dir(&disk).expect("the disk").map(|entry| entry.expect("a name").file_name()).collect();
    let old = std::fs::read(disk.join("far")).expect("it is there");
    let unmounted = Command::new("umount").arg(&disk).status().expect("umount is installed").success();
    assert!(unmounted, "the small disk is left at {}", disk.display());
    ran.ended_with(1).says("No space left on device");
    assert_eq!((left.len(), old.as_slice()), (1, &b"old"[..]));
}

#[test]
fn a_tunnel_carries_both_ways_and_is_closed_with_its_block() {
    let login = Login::new();
    let server = Server::start(&login);
    let echo = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = echo.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in echo.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    // What uses the tunnel is a program of its own, on the server, which is this machine too.
    let text = format!(
        r#"
        let use_it = "import socket, sys, threading\nhost, port = sys.argv[1].rsplit(':', 1)\n" +
            "def once():\n  s = socket.create_connection((host, int(port)))\n  data = bytes(range(256)) * 4096\n" +
            "  threading.Thread(target=lambda: s.sendall(data)).start()\n  got = b''\n" +
            "  while len(got) < len(data):\n    got += s.recv(65536)\n  assert got == data\n  s.close()\nonce()\nonce()\nprint('both ways')";
        let address = ssh::forward(server, "127.0.0.1:{port}", |address| {{
            print(server.run(["python3", "-c", use_it, address], #{{ quiet: true }}).stdout);
            address
        }});
        let after = server.run(["python3", "-c", use_it, address], #{{ quiet: true, check: false }});
        print(after.stderr.contains("refused"));
        try {{ ssh::forward(server, "127.0.0.1:1", |address| 0); }} catch (e) {{ print(`${{e.kind}} ${{e.operation}}`); }}
        "#
    );
    let ran = login.run(&login.script(&[&server], &text)).ended_with(0);
    assert_eq!(ran.stdout, "both ways\ntrue\nunavailable forward\n");
}

#[test]
fn who_has_said_all_through_a_tunnel_still_gets_the_answer() {
    let login = Login::new();
    let server = Server::start(&login);
    // Counts what it is told, and says so at the end of it.
    let counter = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = counter.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in counter.incoming() {
            let mut stream = stream.expect("a connection");
            let mut told = Vec::new();
            stream.read_to_end(&mut told).expect("all of it");
            stream.write_all(format!("{} bytes", told.len()).as_bytes()).expect("the answer");
        }
    });
    let text = format!(
        r#"
        let use_it = "import socket, sys\nhost, port = sys.argv[1].rsplit(':', 1)\ns = socket.create_connection((host, int(port)))\n" +
            "s.sendall(b'x' * 1000000)\ns.shutdown(socket.SHUT_WR)\nprint(s.makefile().read())";
        ssh::forward(server, "127.0.0.1:{port}", |address| {{
            print(server.run(["python3", "-c", use_it, address], #{{ quiet: true }}).stdout);
        }});
        "#
    );
    let ran = login.run(&login.script(&[&server], &text)).ended_with(0);
    assert_eq!(ran.stdout, "1000000 bytes\n");
}
