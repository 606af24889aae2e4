//! The shipped playbooks against moto, an AWS emulator that nobody here wrote: what ours lets pass by mistake, it may not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Project, Ran, finish};

/// The emulator, until the test ends.
pub(crate) struct Moto {
    server: Child,
    port: u16,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut server = Command::new(moto().join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut lines = BufReader::new(server.stderr.take().expect("a pipe")).lines();
        // It takes a free port, and says which.
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("Running on http://127.0.0.1:").and_then(|(_, port)| port.trim().parse().ok())
        });
        // It logs every call; a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, port: port.expect("moto says where it answers") }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Empties the emulator.
    pub(crate) fn reset(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto answers");
        let request =
            "POST /moto-api/reset HTTP/1.1\r\nhost: moto\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Runs `ops` with the emulator for an account.
    fn ops(&self, project: &Project, arguments: &[&str]) -> Ran {
        let mut command = project.command(arguments);
        command.env("AWS_ENDPOINT_URL", self.endpoint()).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        finish(command)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("moto can be stopped");
    }
}

/// A virtual environment with moto, made once for a target folder.
fn moto() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto-5.2.5");
    // Tests run side by side, and one of them installs it for all.
    let installing = std::fs::File::create(folder.with_extension("lock")).expect("the lock's file");
    installing.lock().expect("the lock of the installation");
    if !folder.join("ready").exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            assert!(
                output.as_ref().is_ok_and(|output| output.status.success()),
                "the test needs moto: install Python (`apt-get install -y python3-venv`) and allow access to PyPI; {output:?}"
            );
        };
        run(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()]);
        run(&folder.join("bin/python"), &["-m", "pip", "install", "--quiet", "moto[server]==5.2.5"]);
        std::fs::write(folder.join("ready"), "").expect("the mark");
    }
    folder
}

#[test]
fn deploy_and_cleanup_converge_on_an_emulator_of_others() {
    let moto = Moto::start();
    let project = Project::new();
    let deploy = |expected: &str| {
        let image = "registry.example.com/app-server@sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let arguments =
            ["run", "deploy", "--yes", "--skip-schema", "--client-cidr", "10.0.0.0/8", "--image", image];
        moto.ops(&project, &arguments).ended_with(0).says(expected)
    };
    deploy("account 123456789012 · us-east-1");
    deploy("==> 0 changes");
    moto.ops(&project, &["run", "cleanup", "--yes"]).ended_with(4).says("--delete-protected music-app");
    moto.ops(&project, &["run", "cleanup", "--yes", "--keep-db"]).ended_with(0);
    deploy("ec2 server");
    deploy("==> 0 changes");
    let arguments = ["run", "cleanup", "--yes", "--delete-protected", "music-app"];
    moto.ops(&project, &arguments).ended_with(0).says("final-");
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    assert_eq!(moto.ops(&project, &["run", "left.rhai"]).ended_with(0).stdout, "[]\n");
    assert!(!project.path("deploy_config.json").exists());
}
