//! The way back to the previous image: from one that never answers, after Ctrl-C, over a broken line, and from half a swap.

use std::path::Path;
use std::process::Stdio;

use crate::docker::Answers;
use crate::harness::{signal, until, wait};
use crate::rollout::Place;
use crate::sshd::may_be_root;

impl Place {
    /// Starts a rollout of an image that accepts and never answers, and comes back when it is being asked whether it is ready.
    fn begin(&self, hanging: &Path, wait_s: &str) -> std::process::Child {
        let archive = hanging.display().to_string();
        let mut command = self.command(&["--archive", &archive], &["--wait", wait_s]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
        self.docker.was_asked();
        child
    }

    fn has_back(&self, name: &str) {
        until("the previous image is back", || self.answer() == name);
        until("the swap is over", || !self.login.project.path("service/image.back").exists());
    }
}

#[test]
fn an_image_that_never_answers_is_given_its_time_and_no_more_and_the_previous_one_is_back() {
    if !may_be_root("a Docker engine is started") {
        return;
    }
    let place = Place::start("", &[]);
    let first = place.docker.archive("first", Answers::Ready);
    let hanging = place.docker.archive("hanging", Answers::Never);
    place.rollout(&first, &[]).ended_with(0);

    let ran = place.rollout(&hanging, &["--wait", "10"]).ended_with(1);
    let ran = ran.says("is not ready after 10 s").says("went back to the previous image");
    // Each question takes 3 s and a pause of 1 s.
    let asked = ran.stderr.lines().filter(|line| line.ends_with("| asked")).count();
    assert!((1..=3).contains(&asked), "asked {asked} times in 10 s:\n{}", ran.stderr);
    assert_eq!(place.answer(), "first");
}

#[test]
fn whoever_stops_a_swap_or_loses_its_line_has_the_previous_image_back() {
    if !may_be_root("a Docker engine is started") {
        return;
    }
    let place = Place::start("", &[]);
    let archive = |name, answers| place.docker.archive(name, answers);
    let (first, second) = (archive("first", Answers::Ready), archive("second", Answers::Ready));
    let hanging = archive("hanging", Answers::Never);
    place.rollout(&first, &[]).ended_with(0);

    // Ctrl-C: at once, and the next run takes its turn behind the way back.
    let child = place.begin(&hanging, "1000");
    signal("-INT", i32::try_from(child.id()).expect("a process id"));
    wait(child).ended_with(130);
    place.rollout(&second, &[]).ended_with(0);
    assert_eq!(place.answer(), "second");
    let previous = place.login.project.read("service/image.previous");

    // A line that breaks, and a run that is killed, leave the swap to the server.
    let child = place.begin(&hanging, "15");
    place.server.cut();
    wait(child).ended_with(1);
    place.has_back("second");
    let mut child = place.begin(&hanging, "15");
    child.kill().expect("the run is killed");
    child.wait().expect("the run ends");
    place.has_back("second");
    assert_eq!(place.login.project.read("service/image.previous"), previous);

    // The server went down in the middle: what the file names was never seen to be ready.
    let service = |name: &str| place.login.project.path(&format!("service/{name}"));
    std::fs::copy(service("image"), service("image.back")).expect("a copy");
    std::fs::copy(service("image.previous"), service("image")).expect("a copy");
    place.docker.command(&["rm", "-f", "app-server"]).ended_with(0);
    let broken = archive("broken", Answers::NotFound);
    place.rollout(&broken, &["--wait", "15"]).ended_with(1).says("went back to the previous");
    assert_eq!(place.answer(), "second");
}
