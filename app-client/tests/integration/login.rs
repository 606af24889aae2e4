//! Getting in, and the sentence that says why not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::harness::{PASSWORD, Server, USER, free_port};

#[test]
fn a_wrong_password_is_refused_and_says_where_it_came_from() {
    let server = Server::start();
    let wrong = server.client(["-c", "select 1"]).env("PGPASSWORD", "wrong").run();
    wrong.fails(3, &["password authentication failed", "28P01", "came from PGPASSWORD"]);

    server.file(".pgpass", &format!("*:*:*:other:x\n*:*:*:{USER}:wrong\n"));
    let wrong = server.client(["-c", "select 1"]).without("PGPASSWORD").run();
    wrong.fails(3, &["28P01", ".pgpass, line 2"]);
}

#[test]
fn a_password_file_is_used_with_its_escapes_and_only_if_it_is_private() {
    let server = Server::start();
    let escaped = PASSWORD.replace('\\', "\\\\");
    let file =
        server.file("passwords", &format!("# mine\n127.0.0.1:{}:postgres:{USER}:{escaped}\n", server.port));
    let named = || {
        let file = file.to_str().expect("UTF-8").to_owned();
        server.client(["--csv", "-c", "select 1 as a"]).without("PGPASSWORD").env("PGPASSFILE", &file)
    };
    assert_eq!(named().run().succeeds(), "a\n1\n");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("the file is ours");
    named().run().fails(3, &["may be read by others", "chmod 600", "a password is needed", "PGPASSWORD"]);
}

#[test]
fn without_a_user_the_password_file_offers_its_own() {
    let server = Server::start();
    let client = || server.client(["-c", "select 1"]).without("PGUSER").without("PGPASSWORD");
    client().run().fails(2, &["no user", "--user NAME"]);
    server.file(".pgpass", "*:*:*:anna:x\n*:*:*:paolo:x\n*:*:other:elsewhere:x\n");
    let run = client().run();
    run.fails(2, &["no user", "anna, paolo", "--user anna"]);
    assert!(!run.stderr.contains("elsewhere"), "{run:?}");
}

#[test]
fn a_server_that_is_not_there_is_explained() {
    let server = Server::start();
    let port = free_port().to_string();
    server.client(["-c", "select 1", "--port", &port]).run().fails(3, &[&port, "is the server running"]);
    let unknown =
        server.client(["-c", "select 1", "--host", "nowhere.invalid", "--sslmode", "disable"]).run();
    unknown.fails(3, &["cannot find the host `nowhere.invalid`"]);
    let database = server.client(["-c", "select 1", "--database", "absent"]).run();
    database.fails(3, &["\"absent\" does not exist", "--database"]);
}

#[test]
fn something_else_than_postgres_on_the_port_is_noticed() {
    let server = Server::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::Write::write_all(
                &mut stream.expect("a client"),
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
            );
        }
    });
    for mode in ["disable", "require"] {
        let run = server.client(["-c", "select 1", "--port", &port, "--sslmode", mode]).run();
        run.fails(3, &["does not speak the PostgreSQL protocol"]);
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let client = server.client(["-c", "select 1", "--port", &port]).env("PGCONNECT_TIMEOUT", "2");
    client.run().fails(3, &["did not answer the login within 2 s"]);
}

#[test]
fn a_url_says_all_of_it_but_never_the_password() {
    let server = Server::start();
    let url = format!("postgresql://{USER}@127.0.0.1:{}/postgres?sslmode=disable", server.port);
    let client = server.client(["--csv", "-c", "select 1 as a", "--url", &url]);
    assert_eq!(client.without("PGHOST").without("PGUSER").run().succeeds(), "a\n1\n");
    let refused = server.client(["-c", "select 1", "--url", "postgresql://anna:s3cret@127.0.0.1/db"]).run();
    refused.fails(2, &["PGPASSWORD"]);
    assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
}
