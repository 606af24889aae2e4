//! A database that is reached through a server: real OpenSSH, real PostgreSQL, TLS from end to end.

use std::process::Stdio;

use crate::harness::{finish, signal, until};
use crate::proxy::{Fate, Proxy};
use crate::sshd::{Login, Server, may_be_root};

const DATABASE: &str = r#"
    stack("private");
    let group = ec2::ensure_security_group("db", #{ ingress: [] });
    let db = rds::ensure_instance("db", #{
        engine: "postgres", instance_class: "db.t3.micro", allocated_storage_gib: 20, db_name: "music",
        security_groups: [group], master_password: secrets::ensure("database/master"),
    });
"#;

#[test]
fn a_connection_through_a_server_verifies_the_database_itself() {
    let login = Login::new();
    let server = Server::start(&login);
    let text = format!(
        r#"{DATABASE}
        let music = postgres::connect(db, #{{ via: server }});
        print(music.query("select ssl, inet_client_port() as port from pg_stat_ssl where pid = pg_backend_pid()")[0].ssl);
        print(music.query("select count(*)::int as n from generate_series(1, 200000) g, lateral (select repeat('x', 100)) r")[0].n);
        print(music.query("select repeat('y', 3000000) as long")[0].long.len());
        postgres::connect(db, #{{ via: server, ca: "other.pem" }});
        "#
    );
    login.project.write("other.pem", &authority());
    let ran = finish(login.command(&login.script(&[&server], &text), &["--local", "--yes"]));
    let ran = ran.ended_with(1).says("InvalidCertificate");
    assert_eq!(ran.stdout, "true\n200000\n3000000\n");
    assert!(server.log().contains("direct-tcpip"), "{}", server.log());
}

#[test]
fn an_instance_is_gone_through_only_where_the_database_does_not_answer() {
    if !may_be_root("a server is given names of its own") {
        return;
    }
    let login = Login::with_playbooks();
    // A name that resolves for the server alone, like that of a database in a private network.
    login.project.write("hosts", "127.0.0.1 db.hidden localhost\n");
    let hosts = login.project.path("hosts").display().to_string();
    let before = ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", &hosts];
    let server = Server::with(&login, "", &before);
    login.put_behind("private", &[("web", &server, &server)]);
    let text = |options: &str, then: &str| {
        format!(
            r#"{DATABASE}
            let app = ec2::ensure_security_group("app", #{{ ingress: [] }});
            let web = ec2::ensure_instance("web", #{{ key_pair: ec2::ensure_key_pair("key"), security_groups: [app] }});
            let music = postgres::connect(db, #{{ via: web{options} }});
            print(music.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()")[0].ssl);
            {then}"#
        )
    };
    let run = |options: &str| finish(login.command(&text(options, ""), &["--local", "--yes"]));

    assert_eq!(run("").ended_with(0).stdout, "true\n");
    assert!(!server.log().contains("direct-tcpip"), "{}", server.log());

    let proxy = Proxy::start(&login.project.endpoint(), |call| match call.operation.as_str() {
        "DescribeDBInstances" => Fate::Says("<Address>127.0.0.1</Address>", "<Address>db.hidden</Address>"),
        _ => Fate::Passes,
    });
    let database = login.project.local("/_local/status")["databases"][0].clone();
    let cloud = login.project.read(".ops/local/cloud.json");
    let proxied = cloud.replace(&login.project.endpoint(), &proxy.endpoint);
    login.project.write(".ops/local/cloud.json", &proxied);
    let rules = || -> Vec<(String, bool)> {
        let calls = proxy.calls();
        let calls =
            calls.iter().map(|(call, _)| call).filter(|call| call.body.contains("SecurityGroupIngress"));
        calls.map(|call| (call.operation.clone(), call.body.contains("FromPort=22"))).collect()
    };

    // The certificate has to be the database's own, by its name and not by that of the tunnel's end.
    let authority = Authority::new();
    login.project.write("hidden.pem", &authority.pem());
    let home = database["log"].as_str().expect("a log").trim_end_matches("postgres.log").to_owned();
    authority.sign(&home, "localhost");
    run(", ca: \"hidden.pem\"").ended_with(1).says("InvalidCertificate").says("through private-web");
    let opened = ("AuthorizeSecurityGroupIngress".to_owned(), true);
    assert_eq!(rules()[0], opened);
    assert_eq!(rules().len(), 2, "the port was not closed after an error: {:?}", rules());

    authority.sign(&home, "db.hidden");
    let ran = run(", ca: \"hidden.pem\"").ended_with(0).says("db.hidden does not answer from here");
    assert_eq!(ran.stdout, "true\n");
    assert!(server.log().contains("direct-tcpip"), "{}", server.log());
    assert_eq!(rules().len(), 4, "{:?}", rules());

    // Killed in the middle, it leaves the port open; the next run closes it, and here that is the clean-up.
    let log = login.project.path("log");
    let file = std::fs::File::create(&log).expect("a file");
    let text = text(", ca: \"hidden.pem\"", "say(\"through\"); loop { sleep(1); }");
    let mut command = login.command(&text, &["--local", "--yes"]);
    let mut child = command.stdout(Stdio::null()).stderr(file).spawn().expect("ops starts");
    until("the tunnel is open", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("through\n"))
    });
    signal("-KILL", i32::try_from(child.id()).expect("a process id"));
    child.wait().expect("the run ends");
    assert_eq!(rules().last(), Some(&opened), "{:?}", rules());
    let arguments =
        ["run", "cleanup", "--local", "--yes", "--stack", "private", "--delete-protected", "private"];
    finish(login.ops(&[&arguments[..], &["--destroy-data", "private"]].concat()))
        .ended_with(0)
        .says("has left");
    assert_eq!(rules()[5].0, "RevokeSecurityGroupIngress", "{:?}", rules());
    login.project.write(".ops/local/cloud.json", &cloud);
}

/// An authority that has signed nothing.
fn authority() -> String {
    Authority::new().pem()
}

/// An authority of a test's own.
struct Authority {
    key: rcgen::KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { key, certificate }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Gives the running PostgreSQL in the folder `home` a certificate for `name`.
    fn sign(&self, home: &str, name: &str) {
        let issuer = rcgen::Issuer::from_ca_cert_pem(&self.pem(), &self.key).expect("an issuer");
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
        // The files stay those of the user that PostgreSQL runs as.
        std::fs::write(format!("{home}server.crt"), certificate.pem()).expect("a certificate");
        std::fs::write(format!("{home}server.key"), key.serialize_pem()).expect("a key");
        let pid =
            std::fs::read_to_string(format!("{home}data/postmaster.pid")).expect("a running PostgreSQL");
        signal("-HUP", pid.lines().next().and_then(|line| line.parse().ok()).expect("a process id"));
    }
}
