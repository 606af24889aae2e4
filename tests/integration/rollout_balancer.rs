//! The balancer in a rollout that does not go well: whatever happens, its servers come back to it, and somebody is told what they run.

use std::process::{Child, Stdio};

use crate::docker::Answers;
use crate::harness::{finish, signal, until, wait};
use crate::rollout_stack::{Stack, ask};
use crate::sshd::may_be_root;

/// Starts a run, and comes back when the swap has begun.
fn begin(stack: &Stack, archive: &std::path::Path, more: &[&str]) -> Child {
    let image = stack.machines[0].folder.join("image");
    let before = std::fs::read_to_string(&image).expect("an image");
    let mut command = stack.command(archive, more);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("the new image is in its place", || {
        std::fs::read_to_string(&image).is_ok_and(|now| !now.is_empty() && now != before)
    });
    child
}

#[test]
fn a_rollout_that_is_killed_stopped_or_fails_leaves_no_server_out_of_the_balancer() {
    if !may_be_root("a Docker engine is started, and folders mounted") {
        return;
    }
    let stack = Stack::start(&["server"]);
    let second = stack.archive("second", Answers::Ready);
    let broken = stack.archive("broken", Answers::NotFound);

    // Killed, it leaves the swap to the server, and the balancer to the next run.
    let mut child = begin(&stack, &second, &[]);
    child.kill().expect("the run is killed");
    child.wait().expect("the run ends");
    until("the server has its new image", || {
        ask(&stack.machines[0].address).is_ok_and(|answer| answer == "second")
    });
    assert_eq!(stack.states(), "[]");
    let ran = stack.rollout(&second, &[]).ended_with(0);
    assert!(ran.stderr.contains("Health of music-app-server"), "{}", ran.stderr);
    stack.is_whole();
    assert_eq!(ask(&stack.address).expect("an answer"), "second");
    stack.rollout(&second, &[]).ended_with(0).says("==> 0 changes");
    stack.messages();

    // Stopped, it puts the server back at once.
    let child = begin(&stack, &broken, &["--wait", "1000"]);
    stack.machines[0].docker.was_asked();
    signal("-INT", i32::try_from(child.id()).expect("a process id"));
    wait(child).ended_with(130);
    assert_ne!(stack.states(), "[]");
    stack.is_whole();
    until("the previous image serves", || ask(&stack.address).is_ok_and(|answer| answer == "second"));

    // So does one that cannot see whether the connections have ended.
    let third = stack.archive("third", Answers::Ready);
    stack.login.project.fault("elasticloadbalancing", "DescribeTargetHealth", "AccessDenied");
    stack.rollout(&third, &[]).ended_with(1);
    stack.is_whole();
    assert_eq!(ask(&stack.address).expect("an answer"), "second");
    let messages = stack.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("failed: music-app-server keeps the image that it had. "), "{messages:?}");
}

#[test]
fn a_server_that_the_balancer_does_not_find_healthy_has_its_previous_image_back() {
    if !may_be_root("a Docker engine is started, and folders mounted") {
        return;
    }
    let stack = Stack::start(&["server"]);
    let second = stack.archive("second", Answers::Ready);
    // What only the first image can show the balancer.
    let stricter = "stack(\"music-app\"); elbv2::ensure_target_group(\"app\", #{ port: 8080, health_path: \"/first\" });";
    finish(stack.login.command(stricter, &["--local", "--yes"])).ended_with(0);

    let ran = stack.rollout(&second, &["--healthy-within", "1"]).ended_with(124);
    let ran = ran.says("One server: its clients are interrupted for 490 s at most: 300 s until their connections have ended, 70 s until");
    let ran = ran.says("130 s more where the previous image has to come back").says("unhealthy");
    assert!(ran.stderr.contains("Previous image on music-app-server"), "{}", ran.stderr);
    assert_eq!(ask(&stack.machines[0].address).expect("an answer"), "first");
    stack.is_whole();
    let messages = stack.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains(": music-app-server has its previous image back. "), "{messages:?}");

    // The next run does not take it for done.
    stack.rollout(&second, &["--dry-run"]).ended_with(0).says("run script `# start the new image`");
}

#[test]
fn the_notice_of_a_failure_says_which_server_runs_which_image() {
    if !may_be_root("Docker engines are started, and folders mounted") {
        return;
    }
    let stack = Stack::start(&["server", "server-2"]);
    let second = stack.archive("second", Answers::Ready);
    stack.machines[1].server.refuse();
    stack.rollout(&second, &[]).ended_with(1).says("music-app-server-2");
    for (machine, image) in stack.machines.iter().zip(["second", "first"]) {
        assert_eq!(ask(&machine.address).expect("an answer"), image);
    }
    let told =
        "failed: music-app-server runs the new image, music-app-server-2 keeps the image that it had. ";
    let messages = stack.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains(told), "{messages:?}");
}
