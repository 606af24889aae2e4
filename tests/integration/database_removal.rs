//! A database goes when RDS can take its last snapshot, and not before.

use crate::harness::Project;

#[test]
fn a_database_that_is_busy_for_a_moment_is_deleted_after_it() {
    let project = Project::new();
    project.write(
        "db.rhai",
        "stack(\"music-app\");\nprint(rds::ensure_instance(\"db\", #{ master_password: secrets::ensure(\"master\") }).endpoint);\n",
    );
    project.run_local("db.rhai", &["--yes"]).ended_with(0);
    project.fault("rds", "DeleteDBInstance", "InvalidDBInstanceState");
    project
        .run_local("cleanup", &["--delete-protected", "music-app", "--yes"])
        .ended_with(0)
        .says("database music-app-db: modifying")
        .says("its data stays in the snapshot music-app-db-final-");
    project.run_local("status", &[]).ended_with(0).says("There is nothing of the stack music-app.");
}

#[test]
fn an_image_that_an_instance_cannot_pull_is_refused_first() {
    let project = Project::empty();
    let image = "000000000000.dkr.ecr.eu-south-1.amazonaws.com/app@sha256:0";
    project
        .write("service.rhai", &format!("service(#{{ name: \"app\", image: \"{image}\", port: 8080 }});\n"));
    project
        .run_local("service.rhai", &[])
        .ended_with(1)
        .says("is in ECR")
        .says("ops run rollout --archive FILE");
}
