//! A database that is reached through a server: real OpenSSH, real PostgreSQL, TLS from end to end.

use crate::harness::finish;
use crate::sshd::{Login, Server};

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

/// An authority that has signed nothing.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&key).expect("a certificate").pem()
}
