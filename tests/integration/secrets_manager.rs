//! Secrets Manager from playbooks: a secret that somebody keeps there, and the password of a database that RDS keeps there.

use crate::harness::{Project, Ran};

/// Fails if a text that is a secret was printed.
fn hides(ran: &Ran, canary: &str) {
    assert!(!ran.stdout.contains(canary) && !ran.stderr.contains(canary), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_secret_is_read_by_name_and_field_and_is_never_printed() {
    let project = Project::empty();
    let canary = format!("canary-{}", std::process::id());
    // As an administrator keeps one, who is not `ops`.
    project.write("canary", &canary);
    project.write(
        "keep.rhai",
        r#"stack("music-app");
        let canary = file::read("canary");
        let secret = `{"password":"${canary}","port":25}`;
        aws::request("secretsmanager", "CreateSecret", #{ Name: "music/mail", SecretString: secret });
        aws::request("secretsmanager", "CreateSecret", #{ Name: "music/plain", SecretString: canary });"#,
    );
    hides(&project.run_local("keep.rhai", &["--yes"]).ended_with(0), &canary);
    project.write(
        "read.rhai",
        r#"
        let password = secrets::get_secret_value("music/mail", #{ field: "password" });
        print(`${password} ${secrets::get_secret_value("music/mail", #{ field: "port" })} ${secrets::get_secret_value("music/plain")}`);
        secrets::write_file("password", password);
        print(file::read("password"));
        for field in ["user", "password"] {
            let id = if field == "user" { "music/mail" } else { "music/plain" };
            try { secrets::get_secret_value(id, #{ field: field }); } catch (e) { print(`${e.kind}: ${e.message}`); }
        }
        try { secrets::get_secret_value("music/none"); } catch (e) { print(`${e.kind} ${e.code}`); }
        secrets::get_secret_value("music/plain", #{ feild: "password" });"#,
    );
    let ran = project.run_local("read.rhai", &[]).ended_with(1).says("did you mean `field`?");
    let expected = "[redacted] [redacted] [redacted]\n[redacted]\n\
                    invalid: the secret music/mail has no field `user`\n\
                    invalid: the secret music/plain is no JSON object, and has no fields\n\
                    not_found ResourceNotFoundException\n";
    assert_eq!(ran.stdout, expected);
    hides(&ran, &canary);
    assert_eq!(project.read("password"), canary);
    let plan = project.run_local("read.rhai", &["--dry-run"]);
    hides(&plan, &canary);
}

#[test]
fn rds_keeps_the_password_of_a_database_and_connections_find_it() {
    let project = Project::empty();
    project.write(
        "db.rhai",
        r#"stack("music-app");
        let managed = flag("managed", "RDS keeps the password");
        let wanted = #{};
        if managed { wanted.manage_master_user_password = true; } else { wanted.master_password = secrets::ensure("database/master"); }
        let db = rds::ensure_instance("db", wanted);
        let music = postgres::connect(db);
        print(music.query("select current_user::text as name")[0].name);
        let found = aws::request("rds", "DescribeDBInstances", #{ DBInstanceIdentifier: "music-app-db" });
        print(found.DBInstances.DBInstance.MasterUserSecret?.SecretStatus ?? "its own");"#,
    );
    let first = project.run_local("db.rhai", &["--yes"]).ended_with(0);
    assert_eq!(first.stdout, "dbadmin\nits own\n");
    // One that has a password of its own is handed over.
    let handed = project.run_local("db.rhai", &["--yes", "--managed"]).ended_with(0);
    assert_eq!(handed.stdout, "dbadmin\nactive\n");
    assert!(handed.stderr.contains("master password kept by RDS"), "{}", handed.stderr);
    let before = project.changes_on_the_wire();
    // And stays so, whether that is asked for or not.
    for arguments in [&["--yes", "--managed"][..], &["--yes"]] {
        let again = project.run_local("db.rhai", arguments).ended_with(0);
        assert_eq!(again.stdout, "dbadmin\nactive\n");
    }
    assert_eq!(project.changes_on_the_wire(), before);

    // A password that has changed since is found.
    project.write(
        "rotate.rhai",
        r#"stack("music-app");
        let db = #{ DBInstanceIdentifier: "music-app-db", RotateMasterUserPassword: true, ApplyImmediately: true };
        aws::request("rds", "ModifyDBInstance", db);"#,
    );
    project.run_local("rotate.rhai", &["--yes"]).ended_with(0);
    project.run_local("db.rhai", &["--yes", "--managed"]).ended_with(0);

    for (script, expected) in [
        (
            "rds::ensure_instance(\"db\", #{ manage_master_user_password: false });",
            "RDS keeps the master password",
        ),
        ("rds::ensure_instance(\"other\", #{});", "a database needs `master_password`"),
        (
            "rds::ensure_instance(\"db\", #{ manage_master_user_password: true, master_password: secrets::ensure(\"x\") });",
            "RDS makes the password that it keeps itself",
        ),
    ] {
        project.write("wrong.rhai", &format!("stack(\"music-app\");\n{script}"));
        project.run_local("wrong.rhai", &["--yes"]).ended_with(1).says(expected);
    }
}

#[test]
fn a_deployment_whose_password_rds_keeps_makes_none_of_its_own() {
    let project = Project::new();
    project.write(
        "names.rhai",
        r#"stack("music-app");
        let found = aws::request("ssm", "GetParametersByPath", #{ Path: "/ops/music-app/", Recursive: true });
        print(found.Parameters.map(|parameter| parameter.Name));"#,
    );
    for arguments in [&["--yes", "--skip-schema", "--managed-password"][..], &["--yes", "--skip-schema"]] {
        project.run_local("deploy", arguments).ended_with(0);
        let names = project.run_local("names.rhai", &[]).ended_with(0).stdout;
        assert!(names.contains("/ops/music-app/server/") && !names.contains("database/master"), "{names}");
    }
}
