//! The query server's image, built by its Dockerfile. The two images that it builds upon come from a registry; here a small Debian stands
//! in for both, and the program that this workspace has built for the compiler's result.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::Docker;
use crate::harness::finish;
use crate::sshd::may_be_root;

/// As `debian:bookworm-slim` leaves them out.
const NOT_IN_SLIM: &str = "rm -rf \"$1\"/var/cache/apt/*.bin \"$1\"/var/cache/apt/archives/*.deb \"$1\"/var/lib/apt/lists/* \
                           \"$1\"/usr/share/doc \"$1\"/usr/share/man \"$1\"/usr/share/info \"$1\"/usr/share/locale";

/// A small Debian in an archive, made once for all runs.
fn debian() -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm.tar");
    if kept.exists() {
        return kept;
    }
    let program = Path::new("/usr/sbin/debootstrap");
    assert!(program.exists(), "debootstrap is missing: install the Debian package debootstrap");
    let folder = tempfile::Builder::new().prefix("ops-debian-").tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    let made = Command::new(program).args(["--variant=minbase", "bookworm"]).arg(&root).output();
    let made = made.expect("debootstrap starts");
    assert!(made.status.success(), "debootstrap: {}", String::from_utf8_lossy(&made.stdout));
    let trimmed = Command::new("sh").args(["-c", NOT_IN_SLIM, "sh"]).arg(&root).status();
    assert!(trimmed.expect("sh is installed").success(), "{} is made smaller", root.display());
    let archive = folder.path().join("debian.tar");
    let packed = Command::new("tar")
        .arg("--create")
        .arg("--file")
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .arg(".")
        .status();
    assert!(packed.expect("tar is installed").success(), "{} is packed", root.display());
    // As a whole or not at all, also where two runs make it.
    let fresh = kept.with_extension(std::process::id().to_string());
    std::fs::copy(&archive, &fresh)
        .and_then(|_| std::fs::rename(&fresh, &kept))
        .expect("the archive is kept");
    kept
}

#[test]
fn the_query_servers_image_is_small_not_roots_and_found_healthy() {
    if !may_be_root("a Docker engine is started") {
        return;
    }
    let docker = Docker::start();
    docker.command(&["import", &debian().display().to_string(), "test/debian"]).ended_with(0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Path::new(env!("CARGO_BIN_EXE_ops")).with_file_name("app-server");
    assert!(program.exists(), "{} is missing: run `cargo build -p app-server`", program.display());
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(folder.path().join("app-server")).arg(&program);
    finish(strip).ended_with(0);
    let dockerfile = "FROM test/debian\nCOPY app-server /app-server\n\
                      RUN printf '#!/bin/sh\\nmkdir -p target/release && cp /app-server target/release/\\n' > /usr/local/bin/cargo \
                      && ln -s /bin/true /usr/local/bin/apt-get && chmod +x /usr/local/bin/cargo\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("a Dockerfile");
    docker.command(&["build", "-q", "-t", "test/rust", &folder.path().display().to_string()]).ended_with(0);

    let root = env!("CARGO_MANIFEST_DIR");
    let file = format!("{root}/app-server/Dockerfile");
    let images = ["--build-arg", "BUILD_IMAGE=test/rust", "--build-arg", "RUN_IMAGE=test/debian"];
    let build = ["build", "-q", "--network", "host", "-f", &file, "-t", "app-server:test"];
    docker.command(&[&build[..], &images, &[root]].concat()).ended_with(0);

    let mut check = Command::new(format!("{root}/scripts/check-image"));
    check.arg("app-server:test").env("DOCKER_HOST", docker.socket());
    let ran = finish(check).ended_with(0);
    assert!(ran.stdout.contains("healthy"), "{}", ran.stdout);

    // The check finds what it is there for.
    let mut check = Command::new(format!("{root}/scripts/check-image"));
    check.arg("test/debian").env("DOCKER_HOST", docker.socket());
    finish(check).ended_with(1).says("runs as root");
}
