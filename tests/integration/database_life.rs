//! A database that is not simply available: stopped, full, about to be changed; and the snapshots that a playbook takes of it.

use crate::faults::through;
use crate::harness::{Project, Ran};
use crate::interop::Moto;
use crate::proxy::{Fate, Proxy};

const DB: &str = "let password = secrets::ensure(\"master\");\n";

fn write(project: &Project, script: &str) {
    project.write("playbooks/try.rhai", &format!("//! Tries.\nstack(\"s\");\n{DB}{script}\n"));
}

fn run(project: &Project, script: &str) -> Ran {
    write(project, script);
    project.run_local("try", &["--yes"])
}

const ENSURE: &str = r#"let db = rds::ensure_instance("db", #{ master_password: password });
db.wait();
print("up");"#;

const STATUS: &str = r#"fn status() { aws::request("rds", "DescribeDBInstances", #{ DBInstanceIdentifier: "s-db" }).DBInstances.DBInstance.DBInstanceStatus }
"#;

#[test]
fn a_stopped_database_is_started_before_it_is_changed_and_a_plan_leaves_it() {
    let project = Project::empty();
    run(&project, ENSURE).ended_with(0);
    let stop = format!(
        "{STATUS}aws::request(\"rds\", \"StopDBInstance\", #{{ DBInstanceIdentifier: \"s-db\" }});\nprint(status());"
    );
    assert_eq!(run(&project, &stop).ended_with(0).stdout, "stopping\n");
    // Asked for while it stops, and with another size: both need that it is up.
    let larger = ENSURE.replace("password });", "password, allocated_storage_gib: 30 });");
    write(&project, &larger);
    let before = project.changes_on_the_wire();
    let plan = project.ops(&["plan", "try", "--local"]).ended_with(0);
    for text in ["~ rds db  started", "~ rds db  storage 20 -> 30 GiB"] {
        assert!(plan.stderr.contains(text), "the plan does not say {text}:\n{}", plan.stderr);
    }
    assert_eq!(project.changes_on_the_wire(), before, "a plan changes nothing");
    let ran =
        run(&project, &larger).ended_with(0).says("~ rds db  started").says("~ rds db  storage 20 -> 30 GiB");
    assert_eq!(ran.stdout, "up\n");
    run(&project, &larger).ended_with(0).says("==> 0 changes");
    // Who only looks does not start it, and is told.
    run(&project, &stop).ended_with(0);
    let wait = format!(
        "{STATUS}retry(#{{ times: 600, pause_s: 1 }}, || if status() != \"stopped\" {{ throw status(); }});"
    );
    run(&project, &wait).ended_with(0);
    run(&project, "print(rds::find_instance(\"db\").endpoint);")
        .ended_with(1)
        .says("the database s-db is stopped")
        .says("`rds::ensure_instance` does");
    run(&project, "rds::find_instance(\"db\").ensure_snapshot(\"late\");")
        .ended_with(1)
        .says("takes no snapshot of it");
    let ran = run(&project, "print(owned().things.filter(|it| it.key == \"rds:db\").map(|it| it.status));");
    assert_eq!(ran.ended_with(0).stdout, "[\"stopped\"]\n");
}

#[test]
fn a_full_database_is_said_to_be_full_and_is_not_waited_for() {
    let project = Project::empty();
    run(&project, ENSURE).ended_with(0);
    // As long as it was: the answer is changed on its way.
    let proxy = Proxy::start(&project.endpoint(), |call| {
        if call.operation == "DescribeDBInstances" {
            Fate::Says(
                "<DBInstanceStatus>available</DBInstanceStatus><MasterUsername>dbadmin</MasterUsername>",
                "<DBInstanceStatus>storage-full</DBInstanceStatus><MasterUsername>dbad</MasterUsername>",
            )
        } else {
            Fate::Passes
        }
    });
    write(&project, ENSURE);
    let ran = through(&proxy, &project, &["run", "try", "--yes"]).ended_with(1);
    for text in ["the database s-db is storage-full", "`allocated_storage_gib`"] {
        assert!(ran.stderr.contains(text), "stderr does not say {text:?}:\n{}", ran.stderr);
    }
}

#[test]
fn a_snapshot_is_taken_once_and_stays_when_the_stack_goes() {
    let project = Project::empty();
    let take = format!("{ENSURE}\nprint(db.ensure_snapshot(\"before\"));");
    write(&project, &take);
    project.ops(&["plan", "try", "--local"]).ended_with(0).says("+ rds db  snapshot s-db-before");
    assert_eq!(project.changes_on_the_wire(), 0, "a plan changes nothing");
    let ran = run(&project, &take).ended_with(0).says("+ rds db  snapshot s-db-before");
    assert_eq!(ran.stdout, "up\ns-db-before\n");
    assert_eq!(run(&project, &take).ended_with(0).says("==> 0 changes").stdout, "up\ns-db-before\n");
    let mut found = r#"
fn snapshots() {
    let found = aws::request("rds", "DescribeDBSnapshots", #{}).DBSnapshots.DBSnapshot;
    if type_of(found) == "map" { [found] } else { found }
}
"#
    .to_owned();
    let functions = found.clone();
    found += "for it in snapshots() { print([it.Status, it.TagList.Tag.filter(|tag| tag.Key == \"ops:stack\").map(|tag| tag.Value)]); }";
    assert_eq!(run(&project, &found).ended_with(0).stdout, "[\"available\", [\"s\"]]\n");
    // Of another database under the same name.
    let other = r#"
aws::request("rds", "RestoreDBInstanceFromDBSnapshot", #{ DBInstanceIdentifier: "other", DBSnapshotIdentifier: "s-db-before" });
retry(#{ times: 600, pause_s: 1 }, || aws::request("rds", "CreateDBSnapshot", #{ DBInstanceIdentifier: "other", DBSnapshotIdentifier: "s-db-taken" }));
rds::find_instance("db").ensure_snapshot("taken");"#;
    run(&project, other).ended_with(1).says("the snapshot s-db-taken is of other, and not of s-db");
    write(&project, "owned().delete();");
    project.run_local("try", &["--yes", "--delete-protected", "s"]).ended_with(0);
    let left = format!(
        "{functions}print(snapshots().map(|it| it.DBSnapshotIdentifier).filter(|it| it == \"s-db-before\"));"
    );
    assert_eq!(run(&project, &left).ended_with(0).stdout, "[\"s-db-before\"]\n");
}

#[test]
fn a_run_killed_around_a_snapshot_takes_one() {
    let project = Project::empty();
    run(&project, ENSURE).ended_with(0);
    let take = format!("{ENSURE}\nprint(db.ensure_snapshot(\"before\"));");
    for moment in [Fate::KilledBefore, Fate::KilledAfter, Fate::AnswerLost] {
        let name = format!("{moment:?}").to_lowercase();
        let take = take.replace("before", &name);
        let proxy = Proxy::start(&project.endpoint(), move |call| {
            if call.operation == "CreateDBSnapshot" { moment } else { Fate::Passes }
        });
        write(&project, &take);
        through(&proxy, &project, &["run", "try", "--yes"]);
        assert!(proxy.calls().iter().any(|(_, fate)| *fate == moment), "{moment:?} was not met");
        let ran = run(&project, &take).ended_with(0);
        assert_eq!(ran.stdout, format!("up\ns-db-{name}\n"), "{moment:?}");
        run(&project, &take).ended_with(0).says("==> 0 changes");
    }
}

#[test]
fn an_emulator_of_others_stops_starts_and_keeps_snapshots() {
    let moto = Moto::start();
    let project = Project::empty();
    let proxy = crate::faults::open(&moto);
    let run = |script: &str| {
        write(&project, script);
        through(&proxy, &project, &["run", "try", "--yes"])
    };
    let take = format!("{ENSURE}\nprint(db.ensure_snapshot(\"before\"));");
    assert_eq!(run(&take).ended_with(0).stdout, "up\ns-db-before\n");
    run(&take).ended_with(0).says("==> 0 changes");
    run("aws::request(\"rds\", \"StopDBInstance\", #{ DBInstanceIdentifier: \"s-db\" });").ended_with(0);
    let larger = ENSURE.replace("password });", "password, allocated_storage_gib: 30 });");
    run(&larger).ended_with(0).says("~ rds db  started").says("~ rds db  storage 20 -> 30 GiB");
    run(&larger).ended_with(0).says("==> 0 changes");
}
