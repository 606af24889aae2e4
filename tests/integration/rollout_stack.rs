//! The rollout over a stack of the local cloud: two instances behind its balancer, each with an OpenSSH server and a Docker engine of
//! its own, and clients that ask all the time.
//!
//! The two servers share this machine's loopback, where two machines would each have their own: curl on a server is told in its .curlrc
//! that 127.0.0.1 is the instance's address, and each server sees its own folder as the service's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::docker::{Answers, Docker};
use crate::harness::{Ran, finish, until};
use crate::logs;
use crate::sick_target::Sick;
use crate::sshd::{Login, Server, may_be_root};

const MESSAGES: &str = r#"
    stack("music-app");
    for message in sqs::get_queue("log").messages(#{ until_empty: true, wait_s: 1 }) { print(`${message.subject}: ${message.text}`); }
"#;

const INSTANCES: &str = r#"
    import "playbooks/lib/balancer" as balancer;
    stack("music-app");
    let key = ec2::ensure_key_pair("key");
    let group = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, my_ip())] });
    let topic = sns::ensure_topic("alerts");
    sqs::ensure_queue("log", #{ retention_s: 3600, subscribe_to: topic });
    let servers = NAMES.map(|name| ec2::ensure_instance(name, #{ key_pair: key, security_groups: [group] }));
"#;

/// One machine: an engine, a server that leads to it, and the folders that it alone sees.
pub(crate) struct Machine {
    pub(crate) docker: Docker,
    pub(crate) server: Server,
    curl: PathBuf,
    pub(crate) folder: PathBuf,
    /// Where the service listens.
    pub(crate) address: String,
}

impl Machine {
    fn start(login: &Login, name: &str) -> Self {
        let docker = Docker::start();
        let folder = |what: &str| {
            let path = login.project.path(&format!("{name}/{what}"));
            std::fs::create_dir_all(&path).expect("a folder");
            path
        };
        let (curl, folder) = (folder("curl"), folder("service"));
        let lines = format!("SetEnv DOCKER_HOST={} CURL_HOME={}", docker.socket(), curl.display());
        let (own, seen) = (folder.display().to_string(), shared(login).display().to_string());
        let before = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        let server = Server::with(login, &lines, &["unshare", "--mount", "sh", "-c", before, &own, &seen]);
        Self { docker, server, curl, folder, address: String::new() }
    }

    fn listens_at(&mut self, address: &str) {
        let curl = format!("connect-to = \"127.0.0.1:8080:{address}:8080\"\n");
        std::fs::write(self.curl.join(".curlrc"), curl).expect("a file");
        std::fs::write(self.folder.join("env"), format!("LISTEN={address}:8080\n")).expect("a file");
        self.address = format!("{address}:8080");
    }

    fn started(&self) -> String {
        let about = ["inspect", "--format", "{{.State.StartedAt}} {{.Image}}", "app-server"];
        self.docker.command(&about).ended_with(0).stdout
    }
}

/// Where each machine sees its own folder of the service.
fn shared(login: &Login) -> PathBuf {
    let path = login.project.path("etc-app-server");
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// A stack whose instances are these machines, each with the image `first`, behind its balancer.
pub(crate) struct Stack {
    pub(crate) login: Login,
    pub(crate) machines: Vec<Machine>,
    /// Where the balancer listens.
    pub(crate) address: String,
}

impl Stack {
    pub(crate) fn start(names: &[&str]) -> Self {
        let login = Login::with_playbooks();
        let mut machines: Vec<Machine> = names.iter().map(|name| Machine::start(&login, name)).collect();
        let behind: Vec<_> =
            names.iter().zip(&machines).map(|(name, it)| (*name, &it.server, &it.server)).collect();
        login.put_behind("music-app", &behind);
        let instances = INSTANCES.replace("NAMES", &format!("{names:?}"));
        let run = |text: &str| {
            finish(login.command(&format!("{instances}{text}"), &["--local", "--yes"])).ended_with(0).stdout
        };
        let addresses = run("for server in servers { print(server.private_ip); }");
        login.knows(&machines.iter().map(|it| &it.server).collect::<Vec<_>>());
        let first = machines[0].docker.archive("first", Answers::Ready);
        for (machine, address) in machines.iter_mut().zip(addresses.lines()) {
            machine.listens_at(address);
            // The service is there before the balancer asks for its health.
            finish(command(&login, &first, &["--host", &machine.server.address(), "--key", "id"]))
                .ended_with(0);
            assert_eq!(ask(&machine.address).expect("an answer"), "first");
        }
        // From here on only the consoles know the servers.
        std::fs::remove_dir_all(login.project.path(".ssh")).expect("a folder");
        let address = run(
            "let nlb = balancer::ensure(servers, group, false); nlb.targets.wait_healthy(5); print(nlb.listener.address);",
        );
        Self { login, machines, address: address.trim().to_owned() }
    }

    pub(crate) fn archive(&self, name: &str, answers: Answers) -> PathBuf {
        self.machines[0].docker.archive(name, answers)
    }

    pub(crate) fn command(&self, archive: &Path, more: &[&str]) -> Command {
        command(&self.login, archive, &[&["--local"], more].concat())
    }

    pub(crate) fn rollout(&self, archive: &Path, more: &[&str]) -> Ran {
        finish(self.command(archive, more))
    }

    /// What the balancer thinks of its targets.
    pub(crate) fn states(&self) -> String {
        let text =
            "stack(\"music-app\"); print(elbv2::find_target_group(\"app\").health().map(|it| it.state));";
        finish(self.login.command(text, &["--local", "--yes"])).ended_with(0).stdout.trim().to_owned()
    }

    /// Waits until the balancer sends connections to everybody again.
    pub(crate) fn is_whole(&self) {
        let healthy = format!("{:?}", self.machines.iter().map(|_| "healthy").collect::<Vec<_>>());
        until("every server is healthy again", || self.states() == healthy);
    }

    /// What was published since the last call.
    pub(crate) fn messages(&self) -> Vec<String> {
        let messages = finish(self.login.command(MESSAGES, &["--local", "--yes"])).ended_with(0).stdout;
        messages.lines().map(str::to_owned).collect()
    }
}

fn command(login: &Login, archive: &Path, more: &[&str]) -> Command {
    let (archive, folder) = (archive.display().to_string(), shared(login).display().to_string());
    let arguments =
        ["run", "rollout", "--yes", "--archive", &archive, "--folder", &folder, "--network", "host"];
    let wait: &[&str] = if more.contains(&"--wait") { &[] } else { &["--wait", "60"] };
    login.ops(&[&arguments, wait, more].concat())
}

/// What the service behind `address` says, or why nothing was said.
pub(crate) fn ask(address: &str) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

#[test]
fn two_servers_behind_a_balancer_get_an_image_and_no_client_notices() {
    if !may_be_root("Docker engines are started, and folders mounted") {
        return;
    }
    let stack = Stack::start(&["server", "server-2"]);
    let [one, two] = &stack.machines[..] else { panic!("two machines") };
    let second = stack.archive("second", Answers::Ready);
    let broken = stack.archive("broken", Answers::NotFound);

    let before = (stack.login.project.changes_on_the_wire(), one.started(), two.started());
    let ran = stack.rollout(&second, &["--dry-run"]).ended_with(0);
    ran.says("run script `# start the new image` on music-app-server-2")
        .says("publish \"Music app rolled out\"");
    let after = (stack.login.project.changes_on_the_wire(), one.started(), two.started());
    assert_eq!(before, after, "a plan has changed something");

    // A target that is sick from the start, and no server of the stack, holds nobody up.
    let sick = Sick::registered(&stack.login);

    // Whoever asks during the rollout gets an answer, of the old image or of the new one.
    let over = AtomicBool::new(false);
    let (ran, heard) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut heard = Vec::new();
            while !over.load(Ordering::SeqCst) {
                heard.push(ask(&stack.address));
            }
            heard
        });
        let ran = stack.rollout(&second, &[]);
        over.store(true, Ordering::SeqCst);
        (ran, client.join().expect("the client ends"))
    });
    let ran = ran.ended_with(0).says(&format!("has targets that are not healthy: {}", sick.id));
    sick.deregistered(&stack.login);
    assert!(ran.stdout.contains("servers  2") && ran.stdout.contains("changed  2"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("interrupted"), "nobody is:\n{}", ran.stderr);
    let steps = [
        "Drain music-app-server",
        "Swap on music-app-server",
        "Health of music-app-server",
        "Drain music-app-server-2",
    ];
    let at = steps.map(|step| ran.stderr.find(step).unwrap_or_else(|| panic!("no {step}:\n{}", ran.stderr)));
    assert!(at.is_sorted(), "{}", ran.stderr);
    let wrong = heard.iter().filter(|answer| !matches!(answer.as_deref(), Ok("first" | "second"))).count();
    assert_eq!(wrong, 0, "of {} answers: {heard:?}", heard.len());
    for image in ["first", "second"] {
        assert!(heard.iter().any(|answer| answer.as_deref().is_ok_and(|it| it == image)), "{heard:?}");
    }
    assert_eq!(ask(&stack.address).expect("an answer"), "second");

    // The second run leaves the containers as they are, and tells nobody.
    let before = (one.started(), two.started());
    let ran = stack.rollout(&second, &[]).ended_with(0).says("==> 0 changes");
    assert!(ran.stdout.contains("changed  0"), "{}", ran.stdout);
    assert_eq!(before, (one.started(), two.started()));

    // A broken image stops at the first server, which has its previous one back.
    let ran = stack.rollout(&broken, &["--wait", "15"]).ended_with(1).says("went back to the previous image");
    assert!(!ran.stderr.contains("Drain music-app-server-2"), "{}", ran.stderr);
    for machine in &stack.machines {
        assert_eq!(ask(&machine.address).expect("an answer"), "second");
    }
    stack.is_whole();

    let messages = stack.messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    let archive = second.display();
    assert_eq!(
        messages[0],
        format!("Music app rolled out: The stack music-app runs a new image on 2 of 2 servers: {archive}")
    );
    let told = "Music app rollout failed: The rollout to the stack music-app failed: \
                music-app-server has its previous image back, music-app-server-2 keeps the image that it had. ";
    assert!(messages[1].starts_with(told), "{messages:?}");

    logs::are_shown(&stack);
    logs::are_followed(&stack);
}
