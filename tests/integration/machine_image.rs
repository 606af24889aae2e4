//! Which image an instance gets, and images of the stack itself: looked up, made once, and given up with their snapshots.

use crate::harness::{Project, Ran};
use crate::interop::Moto;
use crate::proxy::{Fate, Proxy};

fn run(project: &Project, script: &str) -> Ran {
    project.write("playbooks/try.rhai", &format!("//! Tries.\nstack(\"s\");\n{script}\n"));
    project.run_local("try", &["--yes"])
}

/// The name of the image that an instance was launched from.
const IMAGE_OF: &str = r#"
fn image_of(instance) {
    let found = aws::request("ec2", "DescribeInstances", #{ InstanceId: [instance.id] }).reservationSet[0].instancesSet[0];
    aws::request("ec2", "DescribeImages", #{ ImageId: [found.imageId] }).imagesSet[0].name
}
"#;

#[test]
fn the_newest_image_of_a_release_is_for_the_processor_of_the_type() {
    let project = Project::empty();
    let script = format!(
        r#"{IMAGE_OF}
for asked in [["t3.micro", "al2023"], ["t4g.micro", "al2023"], ["t3.micro", "ubuntu-22.04"], ["t4g.micro", "ubuntu-24.04"]] {{
    let name = `i${{asked[0][1]}}-${{asked[1].len()}}-${{asked[1][asked[1].len() - 1]}}`;
    print(image_of(ec2::ensure_instance(name, #{{ instance_type: asked[0], image: asked[1] }})));
}}
print(image_of(ec2::ensure_instance("plain", #{{ instance_type: "t4g.small" }})));"#
    );
    let expected = "al2023-ami-2023.9.20251001.0-kernel-6.1-x86_64\n\
                    al2023-ami-2023.9.20251001.0-kernel-6.1-arm64\n\
                    ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20250712\n\
                    ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20250712\n\
                    al2023-ami-2023.9.20251001.0-kernel-6.1-arm64\n";
    assert_eq!(run(&project, &script).ended_with(0).stdout, expected);
    assert_eq!(run(&project, &script).ended_with(0).says("==> 0 changes").stdout, expected);
}

#[test]
fn an_image_that_does_not_fit_is_refused_before_anything_is_launched() {
    let project = Project::empty();
    let refused = |options: &str, expected: &[&str]| {
        let ran =
            run(&project, &format!("ec2::ensure_instance(\"server\", #{{ {options} }});")).ended_with(1);
        for text in expected {
            assert!(ran.stderr.contains(text), "{options} does not say {text:?}:\n{}", ran.stderr);
        }
    };
    let service = r#"service: #{ name: "web", image: "app-server", port: 8080 }"#;
    refused(
        &format!("image: \"ubuntu-24.04\", {service}"),
        &["AWS CLI, and Ubuntu has neither", "Amazon Linux 2023"],
    );
    refused(
        "image: \"ubuntu-12.04\"",
        &["publishes no image of Ubuntu 12.04 for x86_64 in us-east-1", "099720109477"],
    );
    refused("image: \"debian-12\"", &["`debian-12` is no machine image", "`ubuntu-24.04`"]);
    refused("image: \"ami-00000000000000000\"", &["InvalidAMIID.NotFound"]);
    refused("instance_type: \"t3.huge\"", &["InvalidInstanceType", "t3.huge"]);
    refused("image: 7", &["a string or a machine image"]);
    assert_eq!(run(&project, "print(owned().keys);").ended_with(0).stdout, "[]\n");
    // The release of an instance that is there is no other one because a newer image was published, and Ubuntu is not Amazon Linux.
    run(&project, "ec2::ensure_instance(\"server\", #{ image: \"ubuntu-24.04\" });").ended_with(0);
    refused("image: \"ubuntu-22.04\"", &["ubuntu-noble-24.04", "`ubuntu-22.04` is asked for"]);
    refused("image: \"al2023\"", &["`al2023` is asked for"]);
    run(&project, "ec2::ensure_instance(\"server\", #{ image: \"ubuntu-24.04\" });")
        .ended_with(0)
        .says("==> 0 changes");
}

const GOLDEN: &str = r#"
let server = ec2::ensure_instance("server", #{ image: "ubuntu-24.04" });
let golden = server.ensure_image("golden");
let second = ec2::ensure_instance("second", #{ image: golden });
print(golden.id);"#;

#[test]
fn an_image_is_made_once_and_an_instance_starts_from_it() {
    let project = Project::empty();
    project.ops(&["local", "up"]).ended_with(0);
    project.write("playbooks/golden.rhai", &format!("//! Makes one.\nstack(\"s\");{GOLDEN}\n"));
    let plan = project.ops(&["plan", "golden", "--local"]).ended_with(0);
    let planned = ["+ ec2 server", "+ ec2 golden  machine image of s-server", "+ ec2 second"];
    for text in planned {
        assert!(plan.stderr.contains(text), "the plan does not say {text}:\n{}", plan.stderr);
    }
    assert_eq!(project.changes_on_the_wire(), 0, "a plan changes nothing");
    let image = run(&project, GOLDEN).ended_with(0).says("machine image golden: pending").stdout;
    let before = project.changes_on_the_wire();
    assert_eq!(run(&project, GOLDEN).ended_with(0).says("==> 0 changes").stdout, image);
    assert_eq!(project.changes_on_the_wire(), before);
    // Who logs in goes with the image, and so do the tags.
    let script = r#"
for name in ["server", "second"] {
    let found = aws::request("ec2", "DescribeInstances", #{ InstanceId: [ec2::find_instance(name).id] }).reservationSet[0].instancesSet[0];
    print(found.tagSet.filter(|tag| tag.key == "ops:login").map(|tag| tag.value));
}
print(owned().things.filter(|it| it.key == "ec2:image/golden").map(|it| it.status));"#;
    assert_eq!(run(&project, script).ended_with(0).stdout, "[\"ubuntu\"]\n[\"ubuntu\"]\n[\"available\"]\n");
    // Tags that somebody took away are put back.
    let untagged = format!(
        "aws::request(\"ec2\", \"DeleteTags\", #{{ ResourceId: [\"{}\"], Tag: [#{{ Key: \"Application\" }}] }});",
        image.trim()
    );
    run(&project, &untagged).ended_with(0);
    run(&project, GOLDEN).ended_with(0).says("~ ec2 golden  tags Application");
}

#[test]
fn an_image_goes_with_its_snapshots_also_after_a_clean_up_that_was_killed() {
    let project = Project::empty();
    let snapshots =
        r#"print(aws::request("ec2", "DescribeSnapshots", #{ Owner: ["self"] }).snapshotSet?.len() ?? 0);"#;
    let image = run(&project, GOLDEN).ended_with(0).stdout;
    assert_eq!(run(&project, snapshots).ended_with(0).stdout, "1\n");
    run(&project, "owned().only([\"ec2:image/golden\"]).delete();")
        .ended_with(0)
        .says("- ec2 golden  machine image")
        .says("- ec2 golden  snapshot of the machine image");
    assert_eq!(run(&project, snapshots).ended_with(0).stdout, "0\n");
    let another = run(
        &project,
        "print(ec2::find_instance(\"server\").ensure_image(\"golden\", #{ reboot: false }).id);",
    );
    assert_ne!(another.ended_with(0).stdout, image, "it was made anew");
    // As a clean-up leaves it that was killed behind the image.
    let orphan = "aws::request(\"ec2\", \"DeregisterImage\", #{ ImageId: ec2::find_image(\"golden\").id });\nprint(owned().keys);";
    let keys = run(&project, orphan).ended_with(0).stdout;
    assert_eq!(keys, "[\"ec2:second\", \"ec2:server\", \"ec2:snapshot/golden\"]\n");
    // A snapshot that is the stack's by its tags alone is somebody's backup.
    let backup = r#"
let found = aws::request("ec2", "DescribeInstances", #{ InstanceId: [ec2::find_instance("server").id] }).reservationSet[0].instancesSet[0];
let volume = found.blockDeviceMapping[0].ebs.volumeId;
let tags = [#{ ResourceType: "snapshot", Tag: [#{ Key: "ops:stack", Value: "s" }, #{ Key: "ops:name", Value: "server" }] }];
aws::request("ec2", "CreateSnapshot", #{ VolumeId: volume, TagSpecification: tags });
owned().delete();
print(owned().keys);"#;
    assert_eq!(run(&project, backup).ended_with(0).stdout, "[]\n");
    assert_eq!(run(&project, snapshots).ended_with(0).stdout, "1\n");
}

#[test]
fn an_image_that_ec2_could_not_make_is_an_error_that_says_what_to_do() {
    let project = Project::empty();
    project.ops(&["local", "up"]).ended_with(0);
    // As long as it was: the answer is changed on its way.
    let proxy = Proxy::start(&project.endpoint(), |call| {
        if call.operation == "DescribeImages" && call.body.contains("ImageId.1") {
            Fate::Says("<imageState>pending</imageState>", "<imageState>failed</imageState >")
        } else {
            Fate::Passes
        }
    });
    project.write("playbooks/golden.rhai", &format!("//! Makes one.\nstack(\"s\");{GOLDEN}\n"));
    let ran = crate::faults::through(&proxy, &project, &["run", "golden", "--yes"]).ended_with(1);
    let said = ["the machine image s-golden is failed", "owned().only([\"ec2:image/golden\"]).delete()"];
    for text in said {
        assert!(ran.stderr.contains(text), "stderr does not say {text:?}:\n{}", ran.stderr);
    }
}

#[test]
fn an_emulator_of_others_finds_images_and_gives_them_up() {
    let moto = Moto::start();
    let project = Project::new();
    // moto's catalogue ends with this release. It cannot tag the snapshots of an image in the request that makes it (AWS can), so the image
    // is made without them: it is found as one that is there.
    project.write(
        "golden.rhai",
        r#"stack("s");
let server = ec2::ensure_instance("server", #{ image: "ubuntu-16.04" });
if ec2::find_image("golden") == () {
    let tags = [["Name", "s-golden"], ["Application", "s"], ["ops:stack", "s"], ["ops:name", "golden"]].map(|tag| #{ Key: tag[0], Value: tag[1] });
    aws::request("ec2", "CreateImage", #{ InstanceId: server.id, Name: "s-golden", TagSpecification: [#{ ResourceType: "image", Tag: tags }] });
}
let golden = server.ensure_image("golden");
ec2::ensure_instance("second", #{ image: golden });
print(ec2::list_instance_types(["t3.micro"]).map(|it| [it.vcpus, it.memory_mib, it.burstable, it.zones.len() > 3]));
"#,
    );
    let proxy = crate::faults::open(&moto);
    let make = || crate::faults::through(&proxy, &project, &["run", "golden.rhai", "--yes"]).ended_with(0);
    assert_eq!(make().says("==> 3 changes").stdout, "[[2, 1024, true, true]]\n");
    make().says("==> 0 changes");
    let of = |operation: &str, field: &str| -> Vec<String> {
        let calls = proxy.calls();
        let fields = calls.iter().filter(|(call, _)| call.operation == operation);
        fields.filter_map(|(call, _)| call.field(field)).collect()
    };
    assert_eq!(of("RunInstances", "ImageId")[0], "ami-785db401", "moto's Ubuntu 16.04");
    assert!(of("DescribeImages", "Owner.1").contains(&"099720109477".to_owned()));
    project.write("all.rhai", "stack(\"s\");\nowned().delete();\nprint(owned().keys);\n");
    let gone = crate::faults::through(&proxy, &project, &["run", "all.rhai", "--yes"]).ended_with(0);
    assert_eq!(gone.stdout, "[]\n");
    assert_eq!(of("DeleteSnapshot", "SnapshotId").len(), 1);
}
